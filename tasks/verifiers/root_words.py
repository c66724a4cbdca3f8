"""What an instruction asks for, as a verb and its object: `Write a short poem about rain.` → write, poem.

By simple rules and no tagger, for counting how varied instructions are: the verb is the first word that is neither an
opening (`please`, `can you`, `given …,`) nor a question word; the object is the last word of the run after it, up to the
next preposition, conjunction, or mark. About as good as a count needs, and wrong on single sentences: `List five large cities` gives
list, cities; `Make it shorter` gives make, shorter.
"""

import re
from dataclasses import dataclass

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*|[.,;:?!()\"]")
_OPENING = re.compile(
    r"^\s*(please|kindly|now|(can|could|would|will) you( please)?|i want you to|you (should|must|need to|have to|are asked to)|"
    r"your (task|job) is to|(given|in|for|from|based on|using|with|if)\b[^,]*,)\s+",
    re.IGNORECASE,
)
_QUESTION = frozenset(
    ["what", "which", "who", "whom", "whose", "when", "where", "why", "how", "is", "are", "was", "were", "do", "does", "did", "can",
     "could", "should", "would", "will", "has", "have"]
)  # fmt: skip
_SKIPPED = frozenset(
    ["a", "an", "the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their", "some", "any", "all", "each",
     "every", "me", "us", "you", "one", "two", "three", "four", "five", "ten", "at", "least", "of"]
)  # fmt: skip
_END = frozenset(
    ["about", "above", "after", "against", "and", "as", "at", "based", "because", "before", "below", "between", "but", "by", "describing",
     "during", "for", "from", "given", "how", "if", "in", "into", "is", "like", "of", "on", "or", "over", "so", "such", "than", "that", "then",
     "through", "to", "under", "using", "what", "when", "where", "whether", "which", "while", "who", "why", "with", "within", "without"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Root:
    """Lower case; None where the rules find none, as in a question."""

    verb: str | None
    noun: str | None


def root_of(instruction: str) -> Root:
    """The verb and the object of an instruction."""
    rest, before = instruction, ""
    while rest != before:
        before, rest = rest, _OPENING.sub("", rest, count=1)
    found = [word.lower() for word in _WORD.findall(rest)]
    if not found or not found[0][0].isalpha() or found[0] in _QUESTION:
        return Root(None, None)
    verb, following = found[0], found[1:]
    while following and following[0] in _SKIPPED:
        following = following[1:]
    noun = None
    for word in following:
        if not word[0].isalpha() or word in _END:
            break
        noun = word
    return Root(verb, noun)
