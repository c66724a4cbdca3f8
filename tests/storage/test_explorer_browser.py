"""The explorer in a real browser: Debian's Chromium, driven by Playwright; nothing is downloaded."""

import os
import shutil
import socket
import threading
import time

import pytest
import uvicorn
from hostile_loop import LONG, tell_hostile

from flows.cli.explore import listening
from storage.explorer.application import open_explorer
from storage.home import Home
from storage.ledger import Ledger

pytestmark = pytest.mark.slow

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
TOKEN = "b" * 32


class Canary:
    """Counts who calls it: hostile text would."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.calls.append(connection.recv(1000))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def canary():
    canary = Canary()
    yield canary
    canary.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory, canary):
    """The explorer as the command serves it, on a ledger of hostile texts: its address and the story."""
    home = Home.open(tmp_path_factory.mktemp("site") / "home")
    ledger = Ledger(home)
    story = tell_hostile(home, ledger, canary.port)
    ledger.publish(force=True)
    ledger.close()
    listener = listening(0)
    port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(open_explorer(home, TOKEN, port), lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}", story
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install 'starloop[browser]'"
    )
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt install chromium, or name one with CHROMIUM=/path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site):
    """A page that was let in; whatever it complains about fails the test."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{site[0]}/?token={TOKEN}")
    yield page
    context.close()
    assert complaints == []


def test_search_open_and_walk_with_the_mouse(page, site):
    _, story = site
    page.get_by_role("link", name="Attempts", exact=True).click()
    page.get_by_label("Verdict").select_option("passed")
    page.get_by_label("Run", exact=True).select_option(story.ids["good run"])
    page.get_by_label("Step").select_option("rationalize")
    page.get_by_role("button", name="Search").click()
    rows = page.locator("table.list tbody tr")
    assert rows.count() == 2
    rows.first.get_by_role("link").first.click()
    assert "attempt" in page.title()
    graph = page.get_by_role("region", name="Lineage graph, scrolls sideways")
    graph.get_by_role("link", name=f"example exm_{story.ids['mended'][:8]}").click()
    assert page.url.endswith(f"/example/{story.ids['mended']}")
    graph.get_by_role("link", name=f"checkpoint ckp_{story.ids['model 1'][:8]}").first.click()
    assert page.url.endswith(f"/checkpoint/{story.ids['model 1']}")
    graph.get_by_role("link", name=f"checkpoint ckp_{story.ids['base'][:8]}").first.click()
    assert page.url.endswith(f"/checkpoint/{story.ids['base']}")


def test_the_list_says_what_the_graph_shows(page, site):
    address, story = site
    page.goto(f"{address}/example/{story.ids['mended']}")
    drawn = set(page.locator(".graph a").evaluate_all("links => links.map(link => link.getAttribute('href'))"))
    page.get_by_text("The same as a list").click()
    listed = set(page.locator(".aslist a").evaluate_all("links => links.map(link => link.getAttribute('href'))"))
    assert (
        listed - {f"/example/{story.ids['mended']}"} == drawn
    )  # its own training set led to a later attempt that is evidence for it
    assert len(drawn) > 8


def test_everything_is_done_with_the_keyboard(page, site):
    address, story = site
    page.goto(f"{address}/attempts?run={story.ids['good run']}&verdict=undecided")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("?")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=*")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    first = page.locator("table.list tbody tr").first
    assert "current" in (first.get_attribute("class") or "")
    page.keyboard.press("Enter")
    page.wait_for_url("**/attempt/*")
    page.keyboard.press("g")
    page.keyboard.type(f"exm_{story.ids['mended'][:10]}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/example/{story.ids['mended']}")
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0


def test_sql_by_hand_and_from_the_cookbook(page, site):
    address, _ = site
    page.goto(f"{address}/sql")
    page.get_by_label("Narrow the list").fill("each iteration keep")
    page.get_by_role("link", name="How much did each iteration keep?").click()
    assert page.get_by_role("heading", name="How much did each iteration keep?").is_visible()
    assert page.locator("table.result tbody tr").count() == 3
    page.get_by_label("One SELECT in DuckDB's SQL").fill("select 6 * 7 as answer, '<b>' as text")
    page.get_by_label("One SELECT in DuckDB's SQL").press("Control+Enter")
    page.wait_for_url("**q=select+6*")
    assert page.locator("table.result tbody td").all_inner_texts() == ["42", "<b>"]
    page.goto(f"{address}/attempts")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_text_stays_text(page, site, canary, scheme):
    address, story = site
    page.emulate_media(color_scheme=scheme)
    for place in ("/", "/attempts", "/examples", "/flips", f"/rejected?run={story.ids['hostile run']}", f"/attempt/{story.ids['script']}",
                  f"/attempt/{story.ids['marks']}", f"/example/{story.ids['hostile example']}", f"/problem/{story.ids['hostile problem']}",
                  f"/run/{story.ids['hostile run']}", f"/rationales?run={story.ids['hostile run']}",
                  "/sql?q=select+text,+question+from+attempt+join+problem+using+(problem_id)"):  # fmt: skip
        page.goto(address + place)
        assert page.title().endswith("starloop explorer"), place
        assert (
            page.evaluate("document.querySelectorAll('script, iframe, object, embed, [onerror], [onload]').length") == 1
        ), place
        assert page.evaluate("[...document.images].length") == 0, place
        assert page.evaluate("[...document.links].every(link => link.origin === location.origin)"), place
    assert "fetch('http://127.0.0.1" in page.locator("table.result").inner_text()
    time.sleep(0.2)
    assert canary.calls == []


def test_a_million_characters_do_not_hold_up_the_page(page, site):
    address, story = site
    began = time.monotonic()
    page.goto(f"{address}/attempt/{story.ids['long']}")
    page.get_by_role("link", name="Show all of it").first.click()
    assert f"of {len(LONG):,}" in page.locator("main").inner_text()
    page.get_by_role("link", name="After").first.click()
    assert "Characters 50,001 to 100,000" in page.locator("main").inner_text()
    assert time.monotonic() - began < 10


def test_every_field_has_a_name_and_every_page_a_heading(page, site):
    address, story = site
    unnamed = (
        "[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button')]"
        ".filter(one => !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim() && one.matches('button'))).length"
    )
    for place in ("/", "/attempts", "/examples", "/sql", "/compare", "/rejected", "/rationales", "/flips", f"/run/{story.ids['good run']}",
                  f"/attempt/{story.ids['right 1']}", f"/checkpoint/{story.ids['base']}"):  # fmt: skip
        page.goto(address + place)
        assert page.evaluate(unnamed) == 0, place
        assert page.locator("h1").count() == 1, place
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
