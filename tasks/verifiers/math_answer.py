r"""A mathematical answer, number or formula: equal in value to the gold one, as the `math-verify` package sees it.

    >>> verify(r"... so the sum is $\boxed{\tfrac{28}{6}}$.", problem)      # problem.gold == r"\frac{14}{3}"
    Judgement(passed=True, answer='\\tfrac{28}{6}')

Which part of the text is its answer is decided here, strictly (see `final_answer`), and so are plain numbers (exactly, with
their units) and words. Formulas are math-verify's: parsed by latex2sympy2_extended, compared by SymPy, which may
take for ever, so this verifier belongs in a worker process (`tasks.verifier_pool`); math-verify's own time limit is off,
since it rests on a signal that only a main thread may use.

Not an answer, though of equal value: the formula that the question asks about, and a sum or product that is left to be worked
out where the gold answer is a number. Not covered: number words, and whether a formula has the form that was asked for.
"""

import logging
import re
import unicodedata
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

from storage.records import Problem
from tasks.verifiers.final_answer import CONDITIONAL, cleaned, decide, prose, statements
from tasks.verifiers.numeric import another_number, number_in
from tasks.verifiers.protocol import Judgement
from tasks.verifiers.quantity import Quantity, read

LONGEST = 1000
"""Characters of a formula that is compared."""

_FORMULA = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$((?:\\.|[^$\\])+)(?<!\\)\$", re.DOTALL)
_LISTED = re.compile(r"[\s,;.]*(?:\\text\{)?(?:and|or|,|;)?\}?[\s,;]*(?:or|and)?\s*", re.IGNORECASE)
_STYLE = re.compile(r"(?<!\\)\\(?:left|right|displaystyle|textstyle|limits|big|Big|bigg|Bigg|quad|qquad|[!,;: ])|~")
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf|textit|operatorname|textrm|mathit)\s*\{([^{}]*)\}")
_LEFT_TO_DO = re.compile(r"[\d)}]\s*(?:\+|-|\*|×|÷|\\times|\\cdot|\\div)\s*[\d(\\]")
_SCIENTIFIC = re.compile(r"[\d.,]+\s*(?:\\times|\\cdot|×|\*)\s*10\s*\^\s*\{?-?\d+\}?")
_BASED = re.compile(r"\(?([0-9A-Fa-f]+)\)?_\{?(?:\\text\{)?(\d+)\}?\}?")
_ORDER = r"(?:<|>|≤|≥|\\leq?|\\geq?|\\lt|\\gt)"
_SOLVED = re.compile(rf"[^A-Za-z<>]*(?:\\infty|\\pi)?{_ORDER}[A-Za-z]{_ORDER}[^A-Za-z<>]*|[A-Za-z]{_ORDER}[^A-Za-z<>]*")
"""An inequality that is solved: one variable, alone, between or beside numbers."""

_MEMBER = re.compile(r"^\s*\(?\s*[A-Za-z]\s*\\in\s*")


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when the final answer equals the gold one; undecided without a gold answer, or with one that cannot be read."""
    if problem.gold is None:
        return Judgement(None, reason="the problem has no gold answer")
    gold = _gold(problem.gold)
    whole = text.strip()[: LONGEST + 1]
    if len(whole) <= LONGEST and cleaned(whole) and squeezed(cleaned(whole)) == squeezed(cleaned(problem.gold)):
        return Judgement(True, answer=whole[:200])
    final = decide(text, formula_in, _names_another, problem.question, same=_same)
    if final.value is None:
        return Judgement(False, reason=final.why)
    answer = final.value
    said = answer[:200]
    if len(answer) > LONGEST:
        return Judgement(False, answer=said, reason="the answer is too long to be one")
    if squeezed(answer) == squeezed(gold):
        return Judgement(True, answer=said)
    wanted, given = read(gold), read(answer)
    if wanted is not None and given is not None:
        same = wanted.equals(given) or rounds_to(answer, given, wanted)
        return Judgement(same, answer=said, reason=None if same else "another number")
    if is_words(gold):
        if squeezed(answer).strip("()").lower() == squeezed(gold):
            return Judgement(True, answer=said)
        return Judgement(False, answer=said, reason="other words")
    if based(gold) or based(answer):
        same = based(gold) is not None and based(gold) == based(answer)
        return Judgement(same, answer=said, reason=None if same else "another number, or another base")
    if asked_about(answer, problem.question):
        return Judgement(False, answer=said, reason="the answer is the formula that the question asks about")
    if wanted is not None and _LEFT_TO_DO.search(_SCIENTIFIC.sub("", without_text(answer))) and not variables(answer):
        return Judgement(False, answer=said, reason="the answer is not worked out")
    if {_brackets(gold), _brackets(answer)} == {"()", "{}"}:
        return Judgement(False, answer=said, reason="a pair is no set")
    if variables(answer) != variables(gold) and {v.lower() for v in variables(answer)} == {
        v.lower() for v in variables(gold)
    }:
        return Judgement(False, answer=said, reason="another variable: a capital is not its small letter")
    expected = parsed(gold)
    if not expected:
        return Judgement(None, answer=said, reason=f"the gold answer {gold!r:.80} cannot be read")
    found = parsed(answer)
    if not found:
        return Judgement(False, answer=said, reason="the answer cannot be read as a formula")
    same = equal(expected, found, solved=_SOLVED.fullmatch(squeezed(answer)) is not None)
    return Judgement(same, answer=said, reason=None if same else "another answer")


def _gold(gold: str) -> str:
    """A gold answer without what some sets put around it: formula signs, a box with words before it."""
    boxed = statements(gold) if "\\boxed" in gold else []
    gold = boxed[-1].words if boxed and boxed[-1].words else gold
    return gold.strip().removeprefix("$").removesuffix("$") if gold.count("$") == 2 else gold


def rounds_to(written: str, given: Quantity, wanted: Quantity) -> bool:
    """Whether a decimal of six places or more is what a fraction without end comes to."""
    places = re.fullmatch(r"-?\d*\.(\d{6,})", written.strip().strip("$"))
    if places is None or given.unit or given.percent or 10 ** len(places[1]) % wanted.value.denominator == 0:
        return False
    return abs(given.value - wanted.value) <= Fraction(1, 10 ** len(places[1]))


def _brackets(formula: str) -> str:
    """The brackets around the whole of a list: "()", "{}", or "" for others and none."""
    plain = squeezed(formula).replace("\\{", "{").replace("\\}", "}")
    return plain[0] + plain[-1] if "," in plain and plain[:1] in "({" and plain[-1] in ")}" else ""


def warm() -> None:
    """Loads math-verify's grammar: the first formulas would take a second and more."""
    for formula in (r"\left(3,\frac{\pi}{2}\right)", r"1 \pm \sqrt{19}", r"\begin{pmatrix} -2 \\ 1/3 \end{pmatrix}",
                    r"(-\infty, 2) \cup [3, 5)", "y = 2x^{3} - 5", r"\{1, 2\}", "x < 2", "3+2i"):  # fmt: skip
        equal(parsed(formula), parsed(f" {formula}"))
    equal(parsed("(a+b)^2"), parsed("a^2+2ab+b^2"))
    equal(parsed(r"\sqrt{50}"), parsed(r"5\sqrt{2}"))


def formula_in(words: str) -> str | None:
    """The one answer that words state, as a formula or as words; None where they state none, or several."""
    words = cleaned(words)
    if not words or CONDITIONAL.search(words):
        return None
    groups = [found for found in _FORMULA.finditer(words) if not _is_money(found)]
    if groups:
        return _of_groups(words, groups)
    if read(words) is not None:
        return words
    words_of_prose = prose(without_commands(words))
    if "\\" in words or len(words_of_prose) <= 3:
        return _last_of_chain(words)
    number = number_in(words)
    return None if number is None else _written(number)


def _is_money(group: re.Match[str]) -> bool:
    """Whether the dollar signs are two prices with words between them."""
    inside = group[4]
    return inside is not None and re.match(r"\s*\d", inside) is not None and len(prose(without_commands(inside))) >= 1


def _of_groups(words: str, groups: list[re.Match[str]]) -> str | None:
    """The formulas of a statement as one: the only one, or a list whose members nothing but commas and `and` part."""
    inner = [next(part for part in one.groups() if part is not None).strip() for one in groups]
    if len({squeezed(one) for one in inner}) == 1:
        around = words[: groups[0].start()] + words[groups[-1].end() :]
        if re.match(r"\s*(?:\\?%|percent\b|pct\b)", words[groups[0].end() :]):
            return f"{inner[0]}\\%"
        if re.search(r"\b(?:or|either|not)\b", around):
            return None
        if re.search(r"\d", around):  # `the volume of $ABC$ is 120`
            number = None if re.search(r"\d", inner[0]) else number_in(around)
            return None if number is None else _written(number)
        return _last_of_chain(inner[0])
    between = [words[a.end() : b.start()] for a, b in pairwise(groups)]
    if all(_LISTED.fullmatch(one) and one.strip() for one in between):
        return ", ".join(inner)
    return None


def _last_of_chain(words: str) -> str:
    """What a chain of equations comes to: `9 * 2 = 18` is 18; a lone equation `y = 2x + 3` stays what it is."""
    exact, *rounded = re.split(r"\\approx|≈", words)
    words = rounded[0] if rounded and re.fullmatch(r"\s*[A-Za-z]?\s*", exact) else exact
    parts = re.split(r"(?<![<>!:=\\&])=(?!=)", words)
    if len(parts) > 1 and "," not in words and ";" not in words:
        first = parts[0].strip()
        if len(parts) > 2 or _LEFT_TO_DO.search(first) or read(first) is not None:
            return parts[-1].strip()
    return words.strip()


def _written(number: Quantity) -> str:
    value = number.value
    text = str(value.numerator) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    return f"{text}\\%" if number.percent else text


def _names_another(words: str, value: str) -> bool:
    number = read(value)
    if number is not None:
        return another_number(words, number)
    return any(squeezed(found[0].strip("$")) != squeezed(value) for found in _FORMULA.finditer(words))


def _same(one: str, other: str) -> bool:
    first, second = read(one), read(other)
    return squeezed(one) == squeezed(other) or (first is not None and second is not None and first.equals(second))


def squeezed(formula: str) -> str:
    """A formula without what does not change its meaning: spacing, styles, brackets that only group."""
    plain = simplified_words(formula)
    plain = re.sub(r"\\[dtc]frac", r"\\frac", plain)
    plain = re.sub(r"(?<=\d)\s+(?=\d)", "_", plain)  # 1 2 is not 12
    plain = re.sub(r"\s+|\\!|\$", "", plain)
    while plain.startswith("{") and plain.endswith("}"):
        plain = plain[1:-1]
    return plain.rstrip(".").strip("()").lower() if is_words(formula) else plain.rstrip(".")


def simplified_words(formula: str) -> str:
    return _TEXT.sub(lambda found: found[1], _STYLE.sub(" ", formula))


def without_text(formula: str) -> str:
    return _TEXT.sub(" ", _STYLE.sub(" ", formula))


def without_commands(words: str) -> str:
    return re.sub(r"\\[A-Za-z]+", " ", without_text(words))


def is_words(formula: str) -> bool:
    """Whether an answer is words (`\\text{east}`, `(C)`) and no formula."""
    plain = simplified_words(formula).strip()
    return bool(re.fullmatch(r"\(?[A-Z]\)", plain)) or (
        bool(re.fullmatch(r"[A-Za-z][A-Za-z '-]*[A-Za-z]\.?", plain)) and len(max(plain.split(), key=len)) >= 3
    )


def based(formula: str) -> tuple[int, int] | None:
    """A number written with its base, as its value and base: `52_8`."""
    match = _BASED.fullmatch(re.sub(r"[\s$]", "", formula))
    if match is None or not 2 <= int(match[2][:3]) <= 36 or len(match[1]) > 60:
        return None
    try:
        return int(match[1], int(match[2])), int(match[2])
    except ValueError:
        return None


def asked_about(answer: str, question: str) -> bool:
    """Whether a formula, not just a number or a name, stands in the question as it is."""
    plain = squeezed(answer)
    return (
        len(plain) >= 3
        and bool(re.search(r"[-+*/^=(\\]", plain))
        and plain in squeezed(question)
        and read(answer) is None
        and not _is_point(plain)
    )


def _is_point(plain: str) -> bool:
    return bool(re.fullmatch(r"[\[(][^()\[\]]*,[^()\[\]]*[\])]|-?\w+", plain))


def variables(formula: str) -> set[str]:
    """The letters that stand for something in a formula."""
    return set(re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", without_commands(formula)))


def parsed(formula: str) -> list[Any]:
    """What math-verify reads in a formula; empty where it cannot."""
    return list(_parsed(_for_math_verify(formula)))


@lru_cache(maxsize=2048)
def _parsed(formula: str) -> tuple[Any, ...]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # its warning that nobody limits its time
    targets = [LatexExtractionConfig(), ExprExtractionConfig()]
    found = parse(f"${formula}$", targets, fallback_mode="no_fallback", parsing_timeout=None)  # pyright: ignore[reportArgumentType]
    return tuple(found)


def equal(expected: list[Any], found: list[Any], *, solved: bool = False) -> bool:
    """Whether math-verify finds one of the expected in what was found; `solved`: an inequality counts as the interval it names."""
    from math_verify import verify as compare

    if plainly_unequal(expected, found):
        return False
    return bool(compare(expected, found, timeout_seconds=None, allow_set_relation_comp=solved))


def plainly_unequal(expected: list[Any], found: list[Any]) -> bool:
    """Whether two formulas differ in value at a point, or one is a number and the other several: no algebra is needed to see that."""
    from sympy import Expr, Interval, MatrixBase, MatrixExpr, Rational, Tuple, UnevaluatedExpr
    from sympy.core.relational import Relational
    from sympy.sets.sets import FiniteSet

    if len(expected) != 1 or len(found) != 1:
        return False
    one, other = expected[0], found[0]
    several = (Interval, MatrixBase, Tuple)
    for single, more in ((one, other), (other, one)):
        if isinstance(single, Expr) and not isinstance(single, MatrixExpr) and not single.free_symbols and (
            isinstance(more, several) or (isinstance(more, FiniteSet) and len(more) > 1)
        ):  # fmt: skip
            return True
    if not (isinstance(one, Expr) and isinstance(other, Expr)) or isinstance(
        one, Relational | UnevaluatedExpr | MatrixBase
    ):
        return False
    if isinstance(other, Relational | UnevaluatedExpr | MatrixBase):
        return False
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    point: Any = {symbol: Rational(7 + 4 * place, 5 + place) for place, symbol in enumerate(symbols)}
    try:
        values = [complex(formula.subs(point).evalf(20)) for formula in (one, other)]
    except (TypeError, ValueError, OverflowError, ArithmeticError, AttributeError):
        return False
    if not all(abs(value) < 1e12 for value in values):  # an infinity, a nan, or too large to say
        return False
    return abs(values[0] - values[1]) > 1e-4 * max(1.0, *map(abs, values))


def _for_math_verify(formula: str) -> str:
    """A formula as LaTeX: plain notation (`2**(1/4)`, `sqrt(3)`) translated, membership reduced to its set."""
    plain = _MEMBER.sub("", _STYLE.sub(" ", formula.replace("\\$", "").replace("$", "")))
    if "\\" not in plain:
        plain = plain.replace("**", "^").replace("*", r" \cdot ")
        plain = re.sub(r"\bsqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", plain)
        plain = re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", plain)
        plain = re.sub(r"√\s*\(([^()]*)\)|√\s*(\w+)", lambda f: f"\\sqrt{{{f[1] or f[2]}}}", plain)
        plain = re.sub(r"\b(pi|infty|sin|cos|tan|cot|log|ln)\b", r"\\\1 ", plain)
    plain = re.sub(r"[⁰¹²³⁴-⁹]+", lambda f: "^{" + "".join(str(unicodedata.digit(c)) for c in f[0]) + "}", plain)
    return plain.replace("π", r"\pi ").replace("∞", r"\infty ").replace("≤", r"\le ").replace("≥", r"\ge ").strip()
