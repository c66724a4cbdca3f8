"""What the documentation says is run: commands exist, presets parse, queries answer."""

import re
import shlex
from pathlib import Path

import pytest

from flows.cli.main import COMMANDS, HELP
from flows.resolving import PRESETS, presets, resolve
from storage.home import Home
from storage.lineage import Lineage

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND_LINES = sorted(
    {
        line.split("  #")[0].strip()
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("starloop ")
    }
)
QUERIES = [query for page in PAGES for query in re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_parses_and_says_what_it_is(name):
    preset = presets()[name]
    assert preset["about"]
    assert resolve(preset["method"], name, {}).expanded()
    assert (PRESETS / f"{name}.toml").is_file()


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_documented_command_can_be_parsed(line):
    from flows.cli.main import app

    words = shlex.split(line)[1:]
    assert words[0] in COMMANDS
    app.parse_args(words, exit_on_error=False)


def test_every_command_has_a_line_of_help():
    assert set(HELP) == set(COMMANDS)


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) <= targets


def test_every_page_that_is_linked_exists():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES)
def test_every_documented_query_answers(query, small_run):
    with Lineage.open(Home(small_run[0])) as lineage:
        assert lineage.query(query).columns
