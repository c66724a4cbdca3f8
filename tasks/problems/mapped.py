"""Anyone's own rows as problems, by a field map: what `jsonl`, `parquet` and `hub` share.

    question=input,gold=answer,split=part,verifier=math,licence=MIT,require_gold=yes

Options name the row's field for each of ours: question, gold, rationale, stratum, split (dots go inside: `question=task.text`); and
template, verifier, licence. Without a split field every row belongs to the split that `split_all` names (train by default). With
`require_gold=yes` a row without an answer is a mistake; otherwise its attempts stay undecided. Every other field goes into `info`, for
templates and verifiers (tests, choices). Rows keep their order. A question may stand in one split only, white space and case aside.

Not covered: that two differently worded rows ask the same thing.
"""

import json
from collections.abc import Iterable
from typing import Any

from storage.errors import UserMistake
from storage.identity import canonical_json
from storage.records import Problem
from tasks.problems.protocol import SPLITS, check_split
from tasks.problems.source import Numbered

FIELDS = {"question": "question", "gold": "gold", "rationale": "rationale", "stratum": "stratum", "split": "split"}
SETTINGS = {"template": "plain", "verifier": "exact", "licence": "", "split_all": "train", "require_gold": "no"}


class Mapping:
    """A field map with its settings, as the options of a ref give them."""

    def __init__(self, kind: str, options: list[str], more: dict[str, str] | None = None) -> None:
        self.fields, self.settings = dict(FIELDS), SETTINGS | (more or {})
        for option in options:
            name, equals, value = option.partition("=")
            chosen = self.fields if name in self.fields else self.settings if name in self.settings else None
            if chosen is None or not equals:
                known = ", ".join([*self.fields, *self.settings])
                raise UserMistake(f"{kind} has no option {option!r}; it has: {known}, each as name=value")
            chosen[name] = value
        check_split(self.settings["split_all"])
        if self.settings["require_gold"] not in {"yes", "no"}:
            raise UserMistake(f"require_gold = {self.settings['require_gold']!r} does not fit; give yes or no")


class MappedProblems:
    """The problems that rows are under a mapping; every row is checked when the set is made."""

    def __init__(self, name: str, what: str, rows: Iterable[Numbered], mapping: Mapping) -> None:
        """`what` names the rows' place where there are none. UserMistake names the row of the first one that does not fit."""
        settings = mapping.settings
        self.name, self.licence = name, settings["licence"]
        self.template, self.verifier = settings["template"], settings["verifier"]
        self._splits: dict[str, list[Problem]] = {split: [] for split in SPLITS}
        split_of: dict[str, str] = {}
        for numbered in rows:
            problem = self._problem(numbered, mapping)
            key = " ".join(problem.question.lower().split())
            if split_of.setdefault(key, problem.split) != problem.split:
                raise UserMistake(
                    f"{numbered.where}: this question is already in {split_of[key]}; a question belongs to one split"
                )
            self._splits[problem.split].append(problem)
        if not split_of:
            raise UserMistake(f"{what} holds no problems; give one row a problem")

    def size(self, split: str) -> int:
        check_split(split)
        return len(self._splits[split])

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        check_split(split)
        return self._splits[split][start : start + count]

    def corpus(self, start: int, count: int) -> list[Problem]:
        """The train problems that came with a worked solution."""
        return [problem for problem in self._splits["train"] if problem.rationale is not None][start : start + count]

    def _problem(self, numbered: Numbered, mapping: Mapping) -> Problem:
        fields, settings, where, row = mapping.fields, mapping.settings, numbered.where, numbered.row
        question = _at(row, fields["question"])
        if not isinstance(question, str) or not question.strip():
            raise UserMistake(
                f"{where} has no text under {fields['question']!r}; it has: {', '.join(row) or 'nothing'}"
            )
        split = _at(row, fields["split"])
        split = settings["split_all"] if split is None else split
        if split not in SPLITS:
            raise UserMistake(f"{where}: {split!r} is no split; give one of: {', '.join(SPLITS)}")
        texts = {name: _text(where, fields[name], _at(row, fields[name])) for name in ("gold", "rationale", "stratum")}
        if settings["require_gold"] == "yes" and not (texts["gold"] or "").strip():
            raise UserMistake(
                f"{where} has no answer under {fields['gold']!r}; it has: {', '.join(row)}; name the field with gold=…"
            )
        info = {key: value for key, value in row.items() if key not in fields.values()}
        try:
            canonical_json(info)
        except (TypeError, ValueError) as mistake:
            raise UserMistake(f"{where} holds something that is no JSON: {mistake}") from mistake
        return Problem.of(
            self.name, split, question, texts["gold"], rationale=texts["rationale"], stratum=texts["stratum"] or "",
            info=info, licence=self.licence,
        )  # fmt: skip


def _at(row: dict[str, Any], field: str) -> Any:
    """The value of a field, or of one inside it where the name has dots; None where there is none."""
    if field in row or "." not in field:
        return row.get(field)
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(where: str, field: str, value: Any) -> str | None:
    """A field as text; numbers as JSON writes them."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise UserMistake(f"{where}: {field!r} is a {type(value).__name__}; give a text or a number")
