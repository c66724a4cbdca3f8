"""The equations that a text writes down: what tells one way to an answer from another.

    >>> equations("She has 3 * 4 = <<3*4=12>>12 apples and 12 - 5 = 7 left.")
    ('3*4=12', '12-5=7')

As RFT does (Yuan et al. 2023, arXiv 2308.01825, section 3.3). Not covered: equations in words or in LaTeX commands.
"""

import re

from storage.identity import digest

_ANNOTATED = re.compile(r"<<[^<>]*>>")
_NUMBER = r"[$]?\d[\d,]*(?:\.\d+)?%?"
_EQUATION = re.compile(rf"\(*\s*{_NUMBER}\s*\)*(?:\s*[-+*/×÷x]\s*\(*\s*{_NUMBER}\s*\)*)+\s*=\s*{_NUMBER}")
_SIGNS = str.maketrans({"×": "*", "x": "*", "÷": "/", "$": None, ",": None, " ": None, "\t": None, "\n": None})


def equations(text: str) -> tuple[str, ...]:
    """Each `terms = result` of the text in order, each once, in one spelling. GSM8K's calculator notes (`<<3*4=12>>`) repeat what is written."""
    found = (match[0].translate(_SIGNS) for match in _EQUATION.finditer(_ANNOTATED.sub("", text)))
    return tuple(dict.fromkeys(found))


def path_of(text: str) -> str:
    """What two texts with the same equations in the same order have in common; a text without any is a path of its own."""
    found = equations(text)
    return digest("equations", list(found)) if found else digest("text", text)
