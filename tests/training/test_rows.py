from contextlib import suppress

import pyarrow
import pyarrow.parquet
import pytest

from storage.errors import TrainingFault, UserMistake
from storage.home import Home
from storage.records import Example
from storage.shards import Shards
from tasks.training.recipe import Recipe
from tasks.training.rows import read_rows
from tasks.training.spec import TrainingSpec
from tests.training.conftest import sums, write_examples, write_members


def test_rows_come_in_the_order_of_their_positions_and_may_repeat_an_example(tmp_path):
    first, second = sums(2)
    examples = write_examples(tmp_path / "e.parquet", [first, second])
    members = write_members(tmp_path / "m.parquet", [first, second, first], positions=[2, 0, 1])
    rows = read_rows([examples], [members])
    assert [(row.position, row.example_id) for row in rows] == [
        (0, second.example_id), (1, first.example_id), (2, first.example_id)
    ]  # fmt: skip
    assert (rows[0].prompt, rows[0].completion) == (second.prompt, second.completion)


def test_rows_may_lie_in_several_shards(tmp_path):
    rows = sums(4)
    examples = [write_examples(tmp_path / f"e{index}.parquet", [row]) for index, row in enumerate(rows)]
    members = [
        write_members(tmp_path / "m0.parquet", rows[:2]),
        write_members(tmp_path / "m1.parquet", rows[2:], positions=[2, 3]),
    ]
    assert [row.example_id for row in read_rows(examples, members)] == [row.example_id for row in rows]


def test_a_mix_that_is_not_whole_is_refused(tmp_path):
    rows = sums(3)
    examples = write_examples(tmp_path / "e.parquet", rows[:2])
    for members, sentence in (
        (write_members(tmp_path / "m0.parquet", []), "the training set is empty"),
        (
            write_members(tmp_path / "m1.parquet", rows[:2], positions=[0, 2]),
            "has position 2 where 1 should come",
        ),
        (write_members(tmp_path / "m2.parquet", rows[:2], positions=[0, 0]), "has position 0 where 1 should"),
        (
            write_members(tmp_path / "m3.parquet", rows),
            f"member 2 of the mix, exm_{rows[2].example_id}, is in none",
        ),
        (write_members(tmp_path / "m4.parquet", rows[:2], weights=[1.0, 0.5]), "member 1 .* has weight 0.5"),
        (str(tmp_path / "absent.parquet"), "absent.parquet cannot be read"),
    ):
        with pytest.raises(TrainingFault, match=sentence):
            read_rows([examples], [members])


def test_a_spec_survives_its_file(tmp_path, spec):
    plain = spec()
    assert TrainingSpec.read(plain.write(tmp_path / "spec.json")) == plain


def test_a_spec_needs_a_base_or_an_architecture_and_lora_needs_a_base(spec):
    with pytest.raises(UserMistake, match="either a base model folder or an architecture"):
        spec(architecture=None)
    with pytest.raises(UserMistake, match="either a base model folder or an architecture"):
        spec(base="folder")
    with pytest.raises(UserMistake, match="LoRA needs a base model"):
        spec(recipe=Recipe(steps=1, method="lora"))


def test_a_file_that_is_no_spec_is_refused(tmp_path):
    (tmp_path / "spec.json").write_text('{"recipe": {"steps": 1}}')
    with pytest.raises(TrainingFault, match=r"spec\.json is no training spec"):
        TrainingSpec.read(tmp_path / "spec.json")


def test_a_page_that_changed_on_the_disk_is_refused(tmp_path):
    """Also where the changed bytes still unpack: only the page's checksum tells."""
    shards = Shards(Home.open(tmp_path / "home"))
    manifest = shards.write("example", [Example.of(f"{n}+1=", str(n + 1)) for n in range(50)])
    path = shards.paths(manifest)[0]
    members = [write_members(tmp_path / "members.parquet", shards.read(manifest, Example))]
    sound, good = path.read_bytes(), read_rows([str(path)], members)
    for place in range(len(sound) // 3, len(sound)):  # where the completions are
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with suppress(OSError, pyarrow.ArrowException):
            if pyarrow.parquet.ParquetFile(path).read(["completion"])["completion"].to_pylist() != [
                row.completion for row in good
            ]:
                break
    else:
        raise AssertionError("no changed byte went unnoticed without the checksums; the test shows nothing")
    with pytest.raises(TrainingFault, match="cannot be read"):
        read_rows([str(path)], members)
