"""Anyone's own problems, one JSON object a line: `jsonl:questions.jsonl,question=input,gold=answer`.

    {"question": "What is 2 + 2?", "gold": "4", "split": "train"}

Options after the path map our fields to the file's: question, gold, rationale, stratum, split; and name the prompt template,
the verifier and the licence. Without a split field the whole file is the split that `split_all` names (train by default). Rows keep the
file's order. A question may stand in one split only, white space and case aside.

Not covered: that two differently worded rows ask the same thing.
"""

import json
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.protocol import SPLITS, check_split

FIELDS = {"question": "question", "gold": "gold", "rationale": "rationale", "stratum": "stratum", "split": "split"}
SETTINGS = {"template": "plain", "verifier": "exact", "licence": "", "split_all": "train"}


def load(options: str) -> "JsonlProblems":
    """The set in a file, checked row by row; UserMistake names the row of the first one that does not fit."""
    path, *rest = options.split(",")
    fields, settings = dict(FIELDS), dict(SETTINGS)
    for option in rest:
        name, equals, value = option.partition("=")
        chosen = fields if name in fields else settings if name in settings else None
        if chosen is None or not equals:
            raise UserMistake(
                f"jsonl has no option {option!r}; it has: {', '.join([*FIELDS, *SETTINGS])}, each as name=value"
            )
        chosen[name] = value
    return JsonlProblems(Path(path), fields, settings, f"jsonl:{options}")


class JsonlProblems:
    """The problems of one file."""

    def __init__(self, path: Path, fields: dict[str, str], settings: dict[str, str], name: str) -> None:
        check_split(settings["split_all"])
        self.name, self.licence = name, settings["licence"]
        self.template, self.verifier = settings["template"], settings["verifier"]
        self._splits: dict[str, list[Problem]] = {split: [] for split in SPLITS}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as mistake:
            raise UserMistake(f"{path} cannot be read: {mistake}") from mistake
        split_of: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            problem = self._problem(f"{path} row {number}", line, fields, settings)
            key = " ".join(problem.question.lower().split())
            if split_of.setdefault(key, problem.split) != problem.split:
                raise UserMistake(
                    f"{path} row {number}: this question is already in {split_of[key]}; a question belongs to one split"
                )
            self._splits[problem.split].append(problem)
        if not split_of:
            raise UserMistake(f"{path} holds no problems; give one JSON object a line")

    def size(self, split: str) -> int:
        check_split(split)
        return len(self._splits[split])

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        check_split(split)
        return self._splits[split][start : start + count]

    def corpus(self, start: int, count: int) -> list[Problem]:
        """The train problems that came with a worked solution."""
        return [problem for problem in self._splits["train"] if problem.rationale is not None][start : start + count]

    def _problem(self, where: str, line: str, fields: dict[str, str], settings: dict[str, str]) -> Problem:
        try:
            row = json.loads(line)
        except ValueError as mistake:
            raise UserMistake(f"{where} is no JSON: {mistake}") from mistake
        if not isinstance(row, dict):
            raise UserMistake(f"{where} is a {type(row).__name__}; give an object")
        question = row.get(fields["question"])
        if not isinstance(question, str) or not question.strip():
            raise UserMistake(
                f"{where} has no text under {fields['question']!r}; it has: {', '.join(row) or 'nothing'}"
            )
        split = row.get(fields["split"], settings["split_all"])
        if split not in SPLITS:
            raise UserMistake(f"{where}: {split!r} is no split; give one of: {', '.join(SPLITS)}")
        texts = {name: _text(where, fields[name], row.get(fields[name])) for name in ("gold", "rationale", "stratum")}
        info = {key: value for key, value in row.items() if key not in fields.values()}
        return Problem.of(
            self.name, split, question, texts["gold"], rationale=texts["rationale"], stratum=texts["stratum"] or "",
            info=info, licence=self.licence,
        )  # fmt: skip


def _text(where: str, field: str, value: Any) -> str | None:
    """A field as text; numbers as JSON writes them."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise UserMistake(f"{where}: {field!r} is a {type(value).__name__}; give a text or a number")
