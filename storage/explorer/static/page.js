"use strict";
// Keys, and the offer of a newer snapshot. Every page works without this.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const typing = (element) => element && (element.matches("input, textarea, select") || element.isContentEditable);

  const rows = [...document.querySelectorAll("[data-rows] tbody tr, ul[data-rows] > li")].filter((row) => row.querySelector("a"));
  let current = -1;
  const mark = (place) => {
    if (!rows.length) return;
    rows[current]?.classList.remove("current");
    current = Math.max(0, Math.min(rows.length - 1, place));
    rows[current].classList.add("current");
    const link = rows[current].querySelector("th a, a");
    link.focus({ preventScroll: true });
    rows[current].scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "q") {
      event.preventDefault();
      $("#ask").requestSubmit();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const actions = {
      "/": () => ($("#find") || $("#q") || $("#go")).focus(),
      g: () => $("#go").focus(),
      j: () => mark(current + 1),
      k: () => mark(current - 1),
      n: () => $("#next")?.click(),
      "?": () => $("#keys").showModal(),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  $("#help").addEventListener("click", () => $("#keys").showModal());

  // A graph opens with what it is about in its middle.
  const graph = $(".graph"), focus = $(".graph .focus rect");
  if (graph && focus) {
    const box = focus.getBoundingClientRect(), frame = graph.getBoundingClientRect();
    graph.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
  }

  const narrow = $("#narrow");
  narrow?.addEventListener("input", () => {
    const wanted = narrow.value.toLowerCase();
    for (const chapter of document.querySelectorAll(".sql aside details")) {
      let any = false;
      for (const item of chapter.querySelectorAll("li")) {
        item.hidden = !item.textContent.toLowerCase().includes(wanted);
        any ||= !item.hidden;
      }
      chapter.hidden = !any;
      if (wanted) chapter.open = any;
    }
  });

  const newer = $("#newer");
  const look = async () => {
    if (document.hidden || !newer.hidden) return;
    try {
      const answer = await fetch("/fresh");
      if (answer.ok) newer.hidden = !(await answer.json()).newer;
    } catch {
      // The command has ended; the page stays readable.
    }
  };
  setInterval(look, 15000);
  document.addEventListener("visibilitychange", look);
})();
