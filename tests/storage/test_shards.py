import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_loop import problem

from storage.columns import content_digest, schema, to_columns
from storage.errors import DamagedShard, StorageFault, UserMistake
from storage.home import Home
from storage.manifest import Manifest
from storage.records import Attempt, Example, Problem, Verdict
from storage.shards import Shards

HOSTILE = [
    "",
    "\0",
    "a\0b",
    "'; drop table attempt; --",
    "{{7*7}}",
    "\u202eabc",
    "🦉" * 3,
    "\r\n\t",
    "\uffff",
    "x" * 200_000,
]


def examples(count: int, start: int = 0) -> list[Example]:
    return [Example.of(f"{n}+1=", str(n + 1)) for n in range(start, start + count)]


def files(home: Home) -> list[Path]:
    return sorted(path for path in home.shards.rglob("*") if path.is_file())


def test_rows_come_back_as_they_were_written(shards: Shards):
    rows = [problem(1), problem(2, "dev")]
    assert shards.read(shards.write("problem", rows), Problem) == rows


def test_writing_the_same_rows_again_writes_nothing(home: Home, shards: Shards):
    first = shards.write("example", examples(10))
    before = [(path, path.stat().st_ino) for path in files(home)]
    assert shards.write("example", iter(examples(10))) == first
    assert [(path, path.stat().st_ino) for path in files(home)] == before
    assert len(before) == 1


def test_a_digest_is_the_same_on_every_machine_and_version():
    rows = [
        Verdict("0" * 31 + "1", "ab" * 16, "sums", "cd" * 16, "", True, 0.5, "4", None),
        Verdict("0" * 31 + "2", "ab" * 16, "sums", "cd" * 16, "steps", None, None, None, "timeout ✓"),
    ]
    assert content_digest("verdict", to_columns("verdict", rows)) == "307ca1d69ad8cb7a8fbcb15c961e5bd5"


def test_a_digest_does_not_depend_on_chunks_or_slices():
    rows = [verdict_of(n) for n in range(40)]
    whole = to_columns("verdict", rows)
    pieces = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 0), whole.slice(3, 30), whole.slice(33)])
    inside = to_columns("verdict", [verdict_of(99), *rows, verdict_of(98)]).slice(1, 40)
    digest = content_digest("verdict", whole)
    assert content_digest("verdict", pieces) == digest
    assert content_digest("verdict", inside) == digest
    assert content_digest("verdict", pa.concat_tables([whole.slice(20), whole.slice(0, 20)])) != digest


def verdict_of(n: int) -> Verdict:
    passed = (True, False, None)[n % 3]
    return Verdict.of(
        f"{n:032x}", "sums", "cd" * 16, passed, score=n / 7 if n % 2 else None, answer="é" * n if n % 5 else None
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Example("1" * 32, "ab", "c"), Example("1" * 32, "a", "bc")),
        (Example("1" * 32, "", "c"), Example("1" * 32, "c", "")),
    ],
)
def test_a_digest_tells_texts_apart_that_join_to_the_same(one: Example, other: Example):
    assert content_digest("example", to_columns("example", [one])) != content_digest(
        "example", to_columns("example", [other])
    )


def test_a_digest_tells_empty_from_nothing():
    def digest(answer: str | None) -> str:
        return content_digest(
            "verdict", to_columns("verdict", [Verdict("1" * 32, "2" * 32, "v", "3" * 32, "", None, None, answer, None)])
        )

    assert digest("") != digest(None)


def test_rows_are_streamed_into_shards_and_read_by_place(shards: Shards):
    rows = examples(25)
    manifest = shards.write("example", iter(rows), rows_per_shard=10)
    assert [shards.rows("example", digest) for digest in manifest.shards] == [10, 10, 5]
    assert manifest.rows == 25
    assert shards.read(manifest, Example) == rows
    assert shards.read(manifest, Example, 8, 21) == rows[8:21]
    assert shards.read(manifest, Example, 20) == rows[20:]
    assert shards.read(manifest, Example, 25) == []


def test_no_rows_are_no_shards(home: Home, shards: Shards):
    assert shards.write("example", []) == Manifest("example", (), 0)
    assert files(home) == []


def test_columns_and_rows_of_the_same_content_are_one_shard(shards: Shards):
    rows = examples(5)
    columns = to_columns("example", rows)
    raw = columns.set_column(0, "example_id", pa.array([bytes.fromhex(row.example_id) for row in rows], pa.binary(16)))
    assert shards.write_columns("example", raw.select(["completion", "example_id", "prompt"])) == shards.write(
        "example", rows
    )


def test_hostile_text_comes_back_unchanged(shards: Shards):
    rows = [Example.of(text, text) for text in HOSTILE]
    assert shards.read(shards.write("example", rows), Example) == rows


def test_half_a_character_is_refused_and_nothing_is_written(home: Home, shards: Shards):
    with pytest.raises(StorageFault, match=r"example\.prompt holds '\\ud800', half of a character"):
        shards.write("example", [Example("1" * 32, "a\ud800b", "")])
    assert files(home) == []


def test_an_id_that_is_none_is_refused_by_name(shards: Shards):
    with pytest.raises(ValueError, match=r"example\.example_id holds 'zz'"):
        shards.write("example", [Example("zz", "", "")])
    with pytest.raises(ValueError, match="a shard of example holds Example rows, not Problem"):
        shards.write("example", [problem(1)])
    with pytest.raises(ValueError, match="holds no Attempt rows"):
        shards.read(shards.write("example", examples(1)), Attempt)


def test_a_missing_shard_is_not_there_and_says_so(shards: Shards):
    manifest = shards.write("example", examples(3))
    path = shards.path("example", manifest.shards[0])
    assert shards.exists(manifest)
    path.unlink()
    assert not shards.exists(manifest)
    with pytest.raises(DamagedShard, match="is missing"):
        shards.read(manifest, Example)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.95])
def test_a_damaged_shard_is_found_and_written_again(shards: Shards, place: float):
    rows = examples(200)
    manifest = shards.write("example", rows)
    path = shards.path("example", manifest.shards[0])
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DamagedShard, match=manifest.shards[0]):
        shards.verify(manifest.shards[0])
    assert shards.write("example", rows) == manifest
    shards.verify(manifest.shards[0])


def test_a_shard_under_another_name_is_found(shards: Shards):
    one, other = shards.write("example", examples(3)), shards.write("example", examples(3, 50))
    shutil.copy(shards.path("example", one.shards[0]), shards.path("example", other.shards[0]))
    with pytest.raises(DamagedShard, match=f"holds rows with the digest {one.shards[0]}"):
        shards.verify(other.shards[0])


def test_a_cut_off_shard_is_found(shards: Shards):
    manifest = shards.write("example", examples(100))
    path = shards.path("example", manifest.shards[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedShard, match="cannot be read"):
        shards.read(manifest, Example)


def test_every_table_has_a_schema_with_its_ids_as_uuids():
    assert schema("attempt").field("checkpoint_id").type == pa.uuid()
    assert schema("verdict").field("verifier_digest").type == pa.uuid()
    assert schema("attempt").field("logprob").nullable
    assert not schema("attempt").field("text").nullable


WRITE_MUCH = """
import sys
from pathlib import Path
from storage.errors import StorageFull
from storage.home import Home
from storage.records import Example
from storage.shards import Shards
import random
random.seed(1)
shards = Shards(Home.open(Path(sys.argv[1])))
kept = shards.write("example", [Example.of("1+1=", "2")])
rows = [Example.of(random.randbytes(2000).hex(), str(n)) for n in range(2000)]
try:
    shards.write("example", rows)
except StorageFull as full:
    print(full)
else:
    raise SystemExit("nothing was raised")
left = [path for path in shards.home.shards.rglob("*") if path.is_file()]
assert [path.stem for path in left] == list(kept.shards), left
shards.verify(kept.shards[0])
"""


def run(
    script: str, *arguments: object, prefix: tuple[str, ...] = (), limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [*prefix, sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": root}, cwd=root, preexec_fn=limited,
    )  # fmt: skip


def test_a_shard_beyond_the_file_size_limit_leaves_nothing(tmp_path: Path):
    done = run(WRITE_MUCH, tmp_path / "home", limit=500_000)
    assert done.returncode == 0, done.stderr
    assert "no space to write" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path):
    mounted = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=600k tmpfs "$0" && exec "$@"', str(tmp_path))
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], capture_output=True).returncode:
        pytest.skip("no user namespace with a mount of its own here")
    done = run(WRITE_MUCH, tmp_path / "home", prefix=mounted)
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout


def test_a_home_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserMistake, match="cannot be written") as error:
        Home.open(tmp_path / "file" / "home")
    assert "STARLOOP_HOME" in str(error.value)


def test_the_home_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STARLOOP_HOME", str(tmp_path / "elsewhere"))
    assert Home.open().root == tmp_path / "elsewhere"
    assert Home.open(tmp_path / "here").root == tmp_path / "here"


def test_a_page_that_changed_on_the_disk_is_damage_and_not_another_row(home: Home, shards: Shards):
    """Also where the changed bytes still unpack: only the page's checksum tells."""
    manifest = shards.write("example", examples(50))
    (path,) = files(home)
    sound, good = path.read_bytes(), shards.table(manifest.shards[0])
    silent = 0
    for place in range(4, len(sound) // 2):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        try:
            unchecked = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowException):
            continue
        if not unchecked.equals(good):
            silent += 1
            with pytest.raises(DamagedShard):
                shards.table(manifest.shards[0])
        if silent == 3:
            break
    assert silent == 3
