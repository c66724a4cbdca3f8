r"""A number as people write it, exactly: `1,080`, `$18.00`, `-3/4`, `1\frac{4}{5}`, `15\mbox{ cm}^2`, `50 %`, `1.5 \times 10^3`, `１８`.

    >>> read(r"\$32,\!348 per year")
    Quantity(value=Fraction(32348, 1), unit='dollar', percent=False)

Nothing is guessed: a thousands comma must stand where one belongs, superscripts are no digits, and what is not understood
to the last character is None. Not covered: number words (`eighteen`), decimal commas, Roman and other numerals.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 400
"""Characters beyond which nothing is read as a number."""

LARGEST_POWER = 400

UNITS = {
    "degree": ("°", "º", "^\\circ", "^{\\circ}", "degree", "degrees", "deg"),
    "dollar": ("$", "dollar", "dollars", "usd", "bucks"),
    "cent": ("¢", "cent", "cents"),
    "euro": ("€", "euro", "euros", "eur"),
    "pound sterling": ("£", "gbp"),
    "second": ("second", "seconds", "sec", "secs", "s"),
    "minute": ("minute", "minutes", "min", "mins"),
    "hour": ("hour", "hours", "hr", "hrs", "h"),
    "day": ("day", "days"),
    "week": ("week", "weeks"),
    "month": ("month", "months"),
    "year": ("year", "years", "yr", "yrs"),
    "millimetre": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "centimetre": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "metre": ("m", "meter", "meters", "metre", "metres"),
    "kilometre": ("km", "kilometer", "kilometers", "kilometre", "kilometres"),
    "inch": ("inch", "inches"),
    "foot": ("foot", "feet", "ft"),
    "yard": ("yard", "yards"),
    "mile": ("mile", "miles", "mi"),
    "gram": ("g", "gram", "grams"),
    "kilogram": ("kg", "kilogram", "kilograms"),
    "ounce": ("ounce", "ounces", "oz"),
    "pound": ("pound", "pounds", "lb", "lbs"),
    "litre": ("l", "liter", "liters", "litre", "litres"),
    "millilitre": ("ml", "milliliter", "milliliters", "millilitre", "millilitres"),
    "gallon": ("gallon", "gallons"),
}
"""What a unit is called, and how it is written. Two that are known and differ make two numbers differ."""

_UNIT = {written: name for name, ways in UNITS.items() for written in ways}

_LONG = {way: name for name, ways in UNITS.items() for way in ways if len(way) == 1 and way.isalpha()}
"""A letter is a unit where LaTeX says that it is a text, and else a variable: `2m` is no number."""

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d+)?|\.\d+)"
_POWER = r"(?:\s*(?:\\times|\\cdot|×|\*|x)\s*10\s*\^\s*(?:\{\s*(?P<braced>[+-]?\d+)\s*\}|(?P<power>[+-]?\d+))|[eE](?P<exponent>[+-]?\d+))"
_FRACTION = (
    rf"\\frac\s*(?:\{{\s*(?P<top>[+-]?{_DIGITS})\s*\}}|(?P<top1>\d))\s*(?:\{{\s*(?P<bottom>{_DIGITS})\s*\}}|(?P<bottom1>\d))"
    rf"|(?P<over>{_DIGITS})\s*/\s*(?P<under>{_DIGITS})"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+-])?\s*(?P<currency>[$€£])?\s*(?P<inner>-)?"
    rf"(?:(?P<whole>{_DIGITS})\s+(?=\d+\s*/|\\frac)(?:{_FRACTION.replace('?P<', '?P<mixed_')})"
    rf"|(?P<joined>{_DIGITS})(?=\\frac)(?:{_FRACTION.replace('?P<', '?P<joined_')})"
    rf"|{_FRACTION}|(?P<decimal>{_DECIMAL})\.?{_POWER}?)"
)
_TAIL = re.compile(r"\s*(?P<percent>\\?%|percent\b|per cent\b|pct\b)?\s*(?P<unit>.*)", re.DOTALL | re.IGNORECASE)
_TEXT = re.compile(r"\\(?:text|mbox|textbf|mathrm|textrm|mathbf|textit|operatorname)\s*\{([^{}]*)\}")
_PLAIN_UNIT = re.compile(r"(?:(?:\^\s*\{?\\circ\}?|[°º$€£¢²³]|\^\s*\{?[23]\}?|[A-Za-z]+|[-/.']|\s)\s*)*")
_WORD = re.compile(r"\^\s*\{?\\circ\}?|[°º$€£¢]|[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Quantity:
    """`value` as written, a percentage as the number before its sign; `unit` '' where none is known."""

    value: Fraction
    unit: str = ""
    percent: bool = False

    def equals(self, other: "Quantity") -> bool:
        """The same amount. A percentage equals its share, and (as people write both) the bare number of per cent."""
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.percent == other.percent:
            return self.value == other.value
        share, plain = (self, other) if self.percent else (other, self)
        if plain.unit:
            return False
        return plain.value == share.value or (plain.value == share.value / 100 and abs(plain.value) < 10)


def read(text: str, *, letters: bool = False) -> Quantity | None:
    """The one number that `text` is, with nothing but a unit around it; None for anything else.

    `letters`: where nobody writes variables, a letter may be a unit (`10m`).
    """
    found = leading(text)
    return found.quantity if found is not None and is_unit(found.rest, letters=letters) else None


@dataclass(frozen=True, slots=True)
class Leading:
    """The number a text begins with, and what follows it (its unit among that)."""

    quantity: Quantity
    rest: str


def leading(text: str) -> Leading | None:
    """The number at the beginning of a text, currency and sign included; None if it does not begin with one."""
    plain = simplified(text[: 4 * LONGEST])
    match = _NUMBER.match(plain)
    if match is None or match.end() > LONGEST:
        return None
    end = match.end()
    if plain[end : end + 1].isdigit() or re.match(r",\d|\.\d", plain[end:]):  # such as 1,0800 or 1.2.3
        return None
    value = _value(match)
    if value is None:
        return None
    tail = _TAIL.match(plain, end)
    assert tail is not None
    rest = plain[end : tail.start("unit")].replace(tail["percent"] or "\0", "") + tail["unit"]
    unit = _UNIT.get(match["currency"] or "", "") or _unit(rest)
    return Leading(Quantity(value, unit, tail["percent"] is not None), rest)


def simplified(text: str) -> str:
    """Every digit as ASCII (those of any script, not superscripts), one minus sign, and LaTeX's spacing and styles gone."""
    text = re.sub(rf"(?<=\d)(?=[{_FRACTIONS}])", " ", text)
    characters = [
        str(unicodedata.decimal(c)) if not c.isascii() and unicodedata.decimal(c, None) is not None else _SAME.get(c, c)
        for c in text
    ]
    plain = _TEXT.sub(lambda found: f" {_LONG.get(found[1].strip(), found[1])} ", "".join(characters))
    plain = re.sub(r",\\!\s*", ",", plain)
    plain = re.sub(r"\\[dtc]frac", r"\\frac", plain)
    plain = re.sub(r"\\[!,;:> ]|\{,\}|~", lambda found: "," if found[0] == "{,}" else " ", plain)
    return plain.replace("\\left", "").replace("\\right", "").replace("\\$", "$").strip()


_FRACTIONS = "¼½¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚"
_SAME = {"−": "-", "–": "-", "﹣": "-", "－": "-", "\u00a0": " ", "\u202f": " ", "，": ",", "％": "%", "＄": "$"} | {
    c: f"{n.numerator}/{n.denominator}"
    for c in _FRACTIONS
    for n in [Fraction(unicodedata.numeric(c)).limit_denominator(10)]
}


def _value(match: re.Match[str]) -> Fraction | None:
    groups = match.groupdict()
    if groups["sign"] and groups["inner"] and not groups["currency"]:
        return None
    negative = (groups["sign"] == "-") != (groups["inner"] == "-")
    if groups["decimal"] is not None:
        power = groups["braced"] or groups["power"] or groups["exponent"] or "0"
        if len(power) > 4 or abs(int(power)) > LARGEST_POWER:
            return None
        size = Fraction(groups["decimal"].replace(",", "")) * Fraction(10) ** int(power)
    else:
        prefix = "mixed_" if groups["whole"] else "joined_" if groups["joined"] else ""
        top = groups[f"{prefix}top"] or groups[f"{prefix}top1"] or groups[f"{prefix}over"]
        bottom = groups[f"{prefix}bottom"] or groups[f"{prefix}bottom1"] or groups[f"{prefix}under"]
        if int(bottom.replace(",", "")) == 0:
            return None
        whole = groups["whole"] or groups["joined"] or "0"
        size = Fraction(int(whole.replace(",", ""))) + Fraction(int(top.replace(",", "")), int(bottom.replace(",", "")))
    return -size if negative else size


def is_unit(rest: str, *, letters: bool = False) -> bool:
    """Whether what follows a number can be its unit: a few words, and no other number or operator."""
    words = rest.rstrip(" .!,;\n")
    if len(words.split()) > 5 or _PLAIN_UNIT.fullmatch(words) is None or _OTHER.search(words):
        return False
    first = re.match(r"\s*([A-Za-z]+)", words)
    if first is None:
        return not re.match(r"\s*\^\s*\{?[23]|\s*[²³]", words)
    if len(first[1]) == 1:
        return letters and first[1] in _UNIT
    return words[0].isspace() or first[1].lower() in _UNIT


_OTHER = re.compile(r"\b(or|and|to|not|but|plus|minus|times|if|than|about|maybe|perhaps)\b", re.IGNORECASE)


def _unit(rest: str) -> str:
    """The known unit that follows a number, squared and cubed ones told apart."""
    first = _WORD.search(rest)
    if first is None or rest[: first.start()].strip():
        return ""
    word = re.sub(r"[\s{}]", "", first[0])
    after = rest[first.end() :]
    square = ""
    if word.lower() in ("square", "sq", "cubic", "cu"):
        square = "square " if word.lower().startswith("s") else "cubic "
        second = _WORD.search(after)
        word = second[0] if second else ""
    elif power := re.match(r"\s*(?:\^\s*\{?([23])\}?|([²³]))", after):
        square = "square " if (power[1] or power[2]) in "2²" else "cubic "
    name = _UNIT.get(word) or _UNIT.get(word.lower(), "")
    return square + name if name else ""
