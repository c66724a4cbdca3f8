"""The explorer over HTTP: who may ask, what is found, what hostile text becomes."""

import os
import re
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import httpx2
import pytest
from hostile_loop import LONG, OTHER, tell_hostile
from starlette.testclient import TestClient

from flows.cli.explore import listening
from storage.errors import UserMistake
from storage.explorer.application import PAGES, open_explorer
from storage.explorer.batches import Batch, Range
from storage.explorer.filters import Filter
from storage.explorer.held import Held
from storage.explorer.paging import Hit, look_through
from storage.explorer.rendering import hinted
from storage.explorer.saved import cookbook
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage

TOKEN = "a" * 32
ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    home = Home.open(tmp_path_factory.mktemp("hostile") / "home")
    ledger = Ledger(home)
    story = tell_hostile(home, ledger)
    ledger.publish(force=True)
    yield story
    ledger.close()


@pytest.fixture(scope="module")
def gate(told):
    return open_explorer(told.home, TOKEN, 8420)


@pytest.fixture
def stranger(gate):
    return TestClient(gate, base_url="http://127.0.0.1:8420", follow_redirects=False)


@pytest.fixture(scope="module")
def client(gate):
    client = TestClient(gate, base_url="http://127.0.0.1:8420")
    assert client.get(f"/?token={TOKEN}").status_code == 200
    return client


@pytest.fixture(scope="module")
def truth(told):
    with Lineage.open(told.home) as lineage:
        yield lineage


def ids(page: str, kind: str = "attempt") -> list[str]:
    """The things of a list's rows, in order."""
    return re.findall(rf'<th scope="row"><a class="id" href="/{kind}/([0-9a-f]{{32}})"', page)


def test_nobody_gets_in_without_the_token(stranger):
    assert stranger.get("/").status_code == 403
    assert stranger.get("/?token=wrong").status_code == 403
    assert stranger.get("/", headers={"cookie": "starloop_explorer_8420=wrong"}).status_code == 403
    assert stranger.get("/static/page.js").status_code == 403


def test_the_token_is_traded_for_a_cookie_and_leaves_the_address(stranger):
    answer = stranger.get(f"/attempts?text=4&token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/attempts?text=4"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/attempts?text=4").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example:8420", "127.0.0.1", "127.0.0.1:1", "evil.example", "127.0.0.1:8420.evil.example"]
)
def test_another_host_name_is_refused_whatever_is_sent_with_it(stranger, host):
    assert stranger.get(f"/?token={TOKEN}", headers={"host": host}).status_code == 421


def test_a_token_in_a_path_that_names_another_host_leads_nowhere_else(stranger):
    answer = stranger.get(f"//evil.example/?token={TOKEN}")
    assert not answer.headers.get("location", "").startswith("//")


def test_only_reading_and_only_from_this_site(client):
    assert client.put("/").status_code == 405
    assert client.delete("/attempts").status_code == 405
    assert client.post("/reload").status_code == 403
    assert client.post("/reload", headers={"origin": "http://evil.example"}).status_code == 403
    kept = client.post("/reload?to=//evil.example", headers={"origin": "http://127.0.0.1:8420"}, follow_redirects=False)
    assert (kept.status_code, kept.headers["location"]) == (303, "/")


@pytest.mark.parametrize("address", ["/", "/nowhere", "/static/style.css", "/sql?q=nonsense"])
def test_every_answer_has_a_strict_policy(client, address):
    headers = client.get(address).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.slow
def test_every_link_of_every_page_leads_somewhere(client):
    seen, waiting, visited = {"/"}, ["/"], set()
    while waiting:
        address = waiting.pop()
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text[-2000:])
        visited.add(address.split("?")[0].split("/")[1])
        if not answer.headers["content-type"].startswith("text/html") or address.startswith("/sql?"):
            continue
        for link in {unescape(one) for one in re.findall(r'href="(/[^"]*)"', answer.text)}:
            place = link.split("#")[0]
            if place not in seen and len(seen) < 400:
                seen.add(place)
                waiting.append(place)
    assert visited >= {page.split("/")[1] for page in PAGES} - {"go", "sql.csv"}


FILTERS = {
    "": "true",
    "verdict=passed": "passed",
    "verdict=rejected": "not passed",
    "verdict=undecided": "verdict_id is not null and passed is null",
    "verdict=none": "verdict_id is null",
    "text=5": "contains(text, '5')",
    "text=RED": "contains(text, 'RED')",
    "text=red": "contains(lower(text), 'red')",
    "text=40&within=question": "contains(question, '40')",
    "reason=unparsable": "reason = 'unparsable'",
    "verdict=undecided&reason=failed": "passed is null and reason = 'failed'",
    "stratum=2": "stratum = '2'",
    "iteration=2": "iteration = 2",
    "origin=rationalize": "step = 'rationalize'",
    "origin=answer+dev&iteration=1": "step = 'answer dev' and iteration = 1",
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_search_finds_what_the_view_has(client, truth, told, query):
    for run in ("good run", "hostile run"):
        page = client.get(f"/attempts?{query}&run={told.ids[run]}").text
        rows = truth.rows(
            f"select attempt_id from v_attempt where run_id = ?::uuid and {FILTERS[query]}", [told.ids[run]]
        )
        assert sorted(ids(page)) == sorted(row[0] for row in rows)


def test_without_a_run_each_attempt_is_listed_once_with_the_run_that_made_it(client, truth):
    found = ids(client.get("/attempts").text)
    assert sorted(found) == sorted(row[0] for row in truth.rows("select attempt_id from attempt", []))


def test_a_search_by_id_takes_the_beginning_with_or_without_its_prefix(client, told):
    identity = told.ids["right 1"]
    assert ids(client.get(f"/attempts?id=att_{identity[:12]}").text) == [identity]
    assert ids(client.get(f"/attempts?id={identity}").text) == [identity]
    assert str(client.get(f"/go?id=att_{identity[:12]}").url).endswith(f"/attempt/{identity}")


@pytest.mark.parametrize(
    ("query", "which"),
    [
        ("", "select example_id from example"),
        ("origin=rationalized", "select example_id from example_evidence where origin = 'rationalized'"),
        ("iteration=1", "select example_id from mix_member join v_output on id = mix_id where iteration = 1"),
        ("verdict=passed", "select example_id from example_evidence join verdict using (verdict_id) where passed"),
        ("stratum=1", "select example_id from example_evidence join problem using (problem_id) where stratum = '1'"),
        ("text=198", "select example_id from example where contains(completion, '198')"),
    ],
)
def test_examples_are_found(client, truth, query, which):
    assert sorted(ids(client.get(f"/examples?{query}").text, "example")) == sorted(
        {row[0] for row in truth.rows(which, [])}
    )


def test_an_attempt_is_walked_up_to_the_base_and_down_to_the_checkpoints(client, told):
    page = client.get(f"/attempt/{told.ids['repaired 1']}").text
    for name in ("base", "model 1", "base mix", "model 1 mix"):
        assert told.ids[name] in page, name
    assert told.ids["mended"] in page
    assert "repairs" in page
    example = client.get(f"/example/{told.ids['mended']}").text
    assert {told.ids[name] for name in ("repaired 1", "repaired 2", "model 1", "model 2")} <= set(
        re.findall(r"[0-9a-f]{32}", example)
    )


def test_rejects_are_counted_by_reason(client, truth, told):
    page = client.get(f"/rejected?run={told.ids['good run']}").text
    counted = truth.rows(
        "select coalesce(reason, ''), count(*) from v_attempt where run_id = ?::uuid and verdict_id is not null and passed is not true group by 1",
        [told.ids["good run"]],
    )
    for reason, count in counted:
        cell = re.search(
            rf'href="/attempts\?[^"]*reason={reason}"[^>]*>{count}</a>' if reason else rf">{count}</a>", page
        )
        assert cell, (reason, count)


def test_two_iterations_are_compared(client, told):
    page = client.get(f"/compare?run={told.ids['good run']}&from=1&to=2&change=both").text
    assert "5+5=" in page
    assert re.search(r"solved by both <span class=\"n\">1<", page)
    assert re.search(r"undecided <span class=\"n\">1<", page)


def test_a_verdict_that_changed_is_a_flip(client, told):
    page = client.get("/flips").text
    assert told.ids["right 1"] in page
    assert f"sums@{OTHER[:8]}" in page


def test_a_rationale_stands_beside_its_failure(client, told):
    page = client.get(f"/rationales?run={told.ids['good run']}").text
    assert told.ids["repaired 2"] in page
    assert "<mark>!</mark>" in page  # the hint, as the small loop writes it


def test_what_the_hint_adds_is_marked():
    assert hinted("006921?01098+05823=", "01098+05823=") == "<mark>006921?</mark>01098+05823="
    assert hinted("Q: 1+1\n(It is 2.)\nA:", "Q: 1+1\nA:") == "Q: 1+1\n<mark>(It is 2.)\n</mark>A:"
    assert hinted("same", "same") == "same"


@pytest.mark.parametrize("address", ["/", "/attempts", "/examples", "/rejected?run={hostile run}", "/flips", "/run/{hostile run}", "/attempt/{script}",
                                     "/attempt/{marks}", "/attempt/{long}", "/example/{hostile example}", "/problem/{hostile problem}",
                                     "/rationales?run={hostile run}", "/attempts?text=%3Cscript%3E&reason=%22%3E%3Cscript%3Ealert(1)",
                                     "/sql?q=select+text,+text+as+%22%3Cscript%3E%22+from+attempt+union+all+select+%27%22%3E%3Cscript%3E%27,null",
                                     "/sql?q=%3C/textarea%3E%3Cscript%3E", "/go?id=%3Cscript%3E", "/nowhere%3Cscript%3E"])  # fmt: skip
def test_hostile_text_is_text(client, told, address):
    page = client.get(re.sub(r"\{(.*?)\}", lambda found: told.ids[found[1]], address)).text
    assert page.count("<script") == 1  # our own
    for piece in (
        "<img",
        "<iframe",
        "<svg onload",
        'onerror="',
        "javascript:document.title='owned'\"",
        "<b>&\n",
        "<u>",
    ):
        assert piece not in page, piece
    assert not set(page) & set("\x1b\x07\u202e\u202c\u200b\u2066\u2069\ufeff\x7f")


def test_control_characters_are_named(client, told):
    page = client.get(f"/attempt/{told.ids['marks']}").text
    for name in ("ESC", "BEL", "U+202E", "U+200B", "U+2066", "CR", "U+FEFF", "DEL"):
        assert f">{name}</span>" in page, name


def test_a_million_characters_are_shown_a_piece_at_a_time(client, told):
    page = client.get(f"/attempt/{told.ids['long']}").text
    assert len(page) < 200_000
    assert f"of {len(LONG):,} characters" in page
    address, whole = f"/text/attempt/{told.ids['long']}/text", ""
    while address:
        piece = client.get(address).text
        assert len(piece) < 200_000
        whole += unescape(re.search(r'<pre class="said"[^>]*>(.*?)</pre>', piece, re.DOTALL)[1])
        onward = re.search(r'href="([^"]*)">After<', piece)
        address = unescape(onward[1]) if onward else ""
    assert whole == LONG


def test_the_empty_text_is_a_page_too(client, truth):
    empty = truth.rows("select attempt_id from attempt where text = ''", [])[0][0]
    assert client.get(f"/attempt/{empty}").status_code == 200


def test_sql_answers_and_its_ids_are_links(client, told):
    page = client.get("/sql?q=select+run_id,+iteration,+kept+from+v_yield+order+by+all").text
    assert f'href="/run/{told.ids["good run"]}"' in page
    assert '<th scope="col" class="n">kept</th>' in page
    table = client.get("/sql.csv?q=select+42+as+answer")
    assert table.text.split() == ["answer", "42"]
    assert "attachment" in table.headers["content-disposition"]


@pytest.mark.parametrize("query", ["drop table run", "select 1; select 2", "from nothing_like_this", "select * from read_csv('/etc/passwd')",
                                   "attach 'x.db'", "set memory_limit='99GB'", "copy run to 'x.csv'", "select * from '/etc/passwd'"])  # fmt: skip
def test_sql_can_do_nothing_but_read_the_ledger(client, query):
    answer = client.get("/sql", params={"q": query})
    assert answer.status_code == 400
    assert 'class="mistake" role="alert"' in answer.text
    assert client.get("/sql.csv", params={"q": query}).status_code == 404


def test_the_cookbook_is_the_one_of_the_documentation(client):
    documented = re.findall(r"^### (.*?)\n(?:(?!^### ).*\n)*?```sql\n((?:.*\n)*?)```", DOCS, re.MULTILINE)
    assert [(one.name, one.sql) for one in cookbook()] == [(name, sql.strip()) for name, sql in documented]
    page = client.get("/sql").text
    for name, _ in documented:
        assert unescape(page).count(f">{name}</a>") == 1


def test_a_query_of_ones_own_is_saved_as_a_file(client, told):
    folder = told.home.root / "queries"
    folder.mkdir(exist_ok=True)
    (folder / "my_<b>_question.sql").write_text("select 7 * 6 as mine\n")
    page = client.get("/sql").text
    assert "my &lt;b&gt; question" in page
    assert "42" in client.get("/sql?q=select+7+*+6+as+mine").text


@pytest.mark.parametrize(
    "address",
    ["/attempt/12", "/attempt/" + "0" * 32, "/example/" + "f" * 32, "/checkpoint/" + "0" * 32, "/mix/" + "0" * 32, "/problem/zz", "/run/nothing",
     "/text/attempt/" + "0" * 32 + "/text", "/text/run/" + "0" * 32 + "/config", "/attempts?verdict=maybe", "/attempts?iteration=-1",
     "/attempts?id=xyz", "/attempts?after=99.9", "/attempts?after=x", "/compare?change=x", "/flips?after=1", "/nowhere",
     "/mix/{}?start=x", "/go?id=zz"],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(client, address):
    answer = client.get(address.format("0" * 32))
    assert answer.status_code == 404
    assert re.search(r'role="alert">\S.{10,}?</p>', answer.text, re.DOTALL)


def test_the_snapshot_is_kept_until_the_newer_one_is_asked_for(tmp_path, told):
    import shutil

    shutil.copytree(told.home.root, tmp_path / "home")
    home = Home.open(tmp_path / "home")
    client = TestClient(open_explorer(home, TOKEN, 8420), base_url="http://127.0.0.1:8420")
    client.get(f"/?token={TOKEN}")
    assert client.get("/fresh").json() == {"newer": False}
    ledger = Ledger(home)
    ledger.start_run("a later run", "star", None, {})
    ledger.publish(force=True)
    ledger.close()
    assert client.get("/fresh").json() == {"newer": True}
    before = client.get("/").text
    assert "a later run" not in before
    assert re.search(r'id="newer" class="newer" role="status">', before)
    after = client.post("/reload?to=/", headers={"origin": "http://127.0.0.1:8420"})
    assert "a later run" in after.text
    assert client.get("/fresh").json() == {"newer": False}


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/attempts",
        "/examples",
        "/rationales",
        "/compare",
        "/rejected",
        "/flips",
        "/sql",
        "/attempts?text=a&verdict=passed",
    ],
)
def test_a_home_where_nothing_has_run_has_every_page(home, address):
    client = TestClient(open_explorer(home, TOKEN, 8420), base_url="http://127.0.0.1:8420")
    client.get(f"/?token={TOKEN}")
    answer = client.get(address)
    assert answer.status_code == 200
    assert "<h1>" in answer.text


@pytest.mark.slow
def test_the_command_prints_the_address_serves_it_and_ends(told):
    command = [sys.executable, "-P", "-m", "flows.cli.main", "explore", "--port", "0", "--home", str(told.home.root)]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert served.stdout is not None
    address = next(line.strip() for line in served.stdout if "http://" in line)
    client = httpx2.Client()
    for _ in range(100):
        try:
            answer = client.get(address, follow_redirects=True)
            break
        except httpx2.TransportError:
            time.sleep(0.1)
    assert "starloop explorer" in answer.text
    assert "server" not in answer.headers
    client.close()
    served.send_signal(signal.SIGINT)
    assert served.wait(20) == 0
    served.stdout.close()


def test_each_row_has_one_owner_and_scattered_shards_have_all_their_rows(told, truth):
    catalogue = Held(told.home).catalogue
    for batches, table in ((catalogue.attempts, "attempt"), (catalogue.verdicts, "verdict")):
        covered = [row for one in batches.owned for row in range(one.rows.low, one.rows.high + 1)]
        assert covered == list(range(truth.rows(f"select count(*) from {table}", [])[0][0]))
        placed = {
            (one.run_id, one.iteration, one.step, row)
            for one in batches.placed
            for row in range(one.rows.low, one.rows.high + 1)
        }
        rows = truth.rows(
            f"select distinct o.run_id, o.iteration, o.step, t.rowid from v_output o join {table} t on t.{table}_id = o.id where o.table_name = ?",
            [table],
        )
        assert placed == set(rows)
    row = truth.rows("select rowid from attempt where attempt_id = ?::uuid", [told.ids["right 1"]])[0][0]
    assert {one.run_id for one in catalogue.attempts.holding(row)} == {told.ids["good run"], told.ids["hostile run"]}


@pytest.mark.parametrize("page", [1, 2, 7, 50])
def test_pages_together_have_every_row_once_in_order(page):
    batches = [Batch("r", 2, "s", Range(50, 99)), Batch("r", 1, "s", Range(0, 29)), Batch("q", 1, "s", Range(30, 49))]

    def look(pieces, count):
        hits = [
            Hit(n, row)
            for n, one in enumerate(pieces)
            for row in range(one.rows.high, one.rows.low - 1, -1)
            if row % 3 == 0
        ]
        return hits[:count]

    rows, after, pages = [], None, 0
    while True:
        found = look_through(batches, look, after, page=page)
        rows += [row for row, _ in found.rows]
        pages += 1
        if found.after is None:
            break
        assert len(found.rows) == page
        after = found.after
    assert rows == [row for one in batches for row in range(one.rows.high, one.rows.low - 1, -1) if row % 3 == 0]
    assert pages == -(-len(rows) // page)
    assert found.searched == found.total == 100


def test_a_search_that_takes_too_long_says_how_far_it_came_and_goes_on():
    batches = [Batch("r", 1, "s", Range(0, 299_999))]
    found = look_through(batches, lambda pieces, count: [], None, budget_s=0)
    assert (found.rows, found.searched, found.total) == ([], 30_000, 300_000)
    assert look_through(batches, lambda pieces, count: [], found.after).after is None


def test_a_filter_comes_back_as_it_was():
    given = {"text": " a&b=c ", "iteration": "3", "verdict": "rejected", "reason": "wrong answer", "id": "att_AB12"}
    wanted = Filter.of(given)
    assert (wanted.text, wanted.iteration, wanted.id, wanted.narrowed) == (" a&b=c ", 3, "ab12", 5)
    assert wanted.address() == "text=+a%26b%3Dc+&id=ab12&iteration=3&verdict=rejected&reason=wrong+answer"


def test_a_port_that_is_taken_is_said_to_be():
    with listening(0) as taken:
        taken.listen()
        with pytest.raises(UserMistake, match="give another with --port"):
            listening(taken.getsockname()[1])
    with pytest.raises(UserMistake):
        listening(99_999)
