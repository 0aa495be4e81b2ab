"""Whether two questions that lie near each other also ask the same.

Similarity cannot say so. MiniLM, measured (docs/explanation/degradation.md): "convert an int to a str" and
"convert a str to an int" have 0.997, "can be caught" and "cannot be caught" 0.975, raising and lowering
a limit 0.955; real paraphrases lie between 0.80 and 0.99. So a kept answer is given again only when nothing
that turns a meaning differs: negations, numbers, identifiers, opposites, the order of the words both share,
whether it is asked how, why, when or if at all.
The guards are strict on purpose: a miss costs a worse answer that says so, a false hit is a
wrong answer that looks right.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TOKEN = re.compile(r"[^\W_][\w.'’/+#-]*[\w+#]|--?\w[\w-]*|__?\w+|\w|[^\w\s]", re.UNICODE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = _set_of(
    "no not never neither nor nothing nobody nowhere without cannot except unless instead hardly"
)
_NUMBER_WORDS = _set_of(
    "zero one two three four five six seven eight nine ten eleven twelve hundred thousand million "
    "half once twice double triple second third"
)
_FUNCTION_WORDS = _set_of(
    "a an the of in on at for with by as and or is are was be been being do does did can could "
    "should would will may might must how what which who when where why i me my you your it its this that "
    "these those there please tell some any all every each way best python using use"
)
#: After these `to` begins an infinitive; elsewhere it is a direction.
_BEFORE_INFINITIVE = _set_of(
    "how way ways possible safe need needs want wants like able easy easiest hard have has try where when"
)
_INTO = _set_of("to into onto")
#: Of each pair a question may have both or none; the one here and the other there are two questions.
_ALTERNATIVES = (("to", "from"), ("and", "or"))
_POLITE = re.compile(r"(?:(?:can|could|would|will)\s+you\s+)?(?:please\s+)?(?:(?:tell|show|help)\s+me\s+)?")
_ASKING = {
    "how": "how",
    "what": "how",
    "which": "how",
    "why": "why",
    "when": "when",
    "where": "where",
    "who": "who",
}
_AMOUNT = _set_of("many much long often far large big fast old")
_WHETHER = _set_of("is are was were do does did can could should would will may might must has have am")
_PROSE = re.compile(r"[a-z]+|[,;:]")
#: Each line is one pair of opposites; words of one side mean the same here.
_OPPOSITES = tuple(
    tuple(_set_of(side) for side in line.split(" | "))
    for line in """\
enable activate | disable deactivate off
add insert append install | remove delete drop uninstall
start begin launch | stop end finish
open | close shut
allow permit accept grant | forbid deny reject refuse block prevent revoke
show display | hide
read load | write save dump store
get find obtain retrieve | set assign
send upload | receive download
push | pop pull
first start | last end
before | after
above over | below under
more most higher highest larger largest | less least fewer lower lowest smaller smallest fewest
old older oldest | new newer newest
fast faster fastest | slow slower slowest
min minimum | max maximum
up upper | down lower
left | right
true success succeed pass | false failure fail
lock acquire | unlock release
parent | child
key | value
client | server
local | remote utc global
public | private
row | column
width | height
input stdin | output stdout stderr
source | target destination
raise throw | catch suppress ignore
join merge | split
ascending | descending
absolute | relative
encrypt encode | decrypt decode
copy | move
shallow | deep
forward | backward reverse
same equal | different unequal
all every each both | any some either""".splitlines()
)
_SWITCHED_ON = re.compile(r"\b(?:turn|switch)(?:s|ed|ing)?\s+on\b", re.IGNORECASE)
_SUFFIXES = ("ing", "ed", "es", "s", "e")
_RHYME = 4


def _stem(word: str) -> str:
    """Enough to see `closing`, `closed` and `closes` as one word; never read by anybody."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


_SIDES = tuple(tuple(frozenset(map(_stem, side)) for side in pair) for pair in _OPPOSITES)


@dataclass(frozen=True, slots=True)
class _Sense:
    """What of a question turns its meaning."""

    negations: int
    numbers: tuple[str, ...]
    identifiers: frozenset[str]
    sides: tuple[tuple[bool, bool], ...]
    alternatives: tuple[tuple[bool, bool], ...]
    words: tuple[str, ...]
    asked: str


@lru_cache(maxsize=2048)
def _sense(question: str) -> _Sense:
    negations = 0
    identifiers: set[str] = set()
    words: list[str] = []
    before = ""
    for n, token in enumerate(_TOKEN.findall(_SWITCHED_ON.sub("enable", question))):
        low = token.lower().replace("’", "'")
        if low in _NEGATION or low.endswith("n't"):
            negations += 1
        elif _is_identifier(token, opens=n == 0):
            identifiers.add(token)
            words.append(token)
        elif low[0].isalnum():
            words.extend(_direction(part, before) for part in re.split(r"[-/']", low) if part)
        before = low
    stems = frozenset(map(_stem, words))
    return _Sense(
        negations=negations,
        numbers=tuple(
            sorted(_NUMBER.findall(question)) + sorted(word for word in words if word in _NUMBER_WORDS)
        ),
        identifiers=frozenset(identifiers),
        sides=tuple((bool(one & stems), bool(other & stems)) for one, other in _SIDES),
        alternatives=tuple((one in words, other in words) for one, other in _ALTERNATIVES),
        words=tuple(_stem(word) for word in words if word not in _FUNCTION_WORDS),
        asked=_asked(question),
    )


def _direction(word: str, before: str) -> str:
    """`into` is `to`, and the `to` of an infinitive is nothing: `how` stands for any word without meaning."""
    if word == "to" and before in _BEFORE_INFINITIVE:
        return "how"
    return "to" if word in _INTO else word


def _asked(question: str) -> str:
    """What kind of answer is wanted: how (what, which), how much, why, when, where, who, or whether."""
    text = question.lower().lstrip()
    words = _PROSE.findall(_POLITE.sub("", text, count=1))
    opens = True
    for word, after in pairwise([*words, ""]):
        if word == "how" and after in _AMOUNT:
            return "how much"
        if word in _ASKING:
            return _ASKING[word]
        if opens and {word, word.removesuffix("n")} & _WHETHER:  # `isn't` too
            return "whether"
        opens = word in ",;:"
    return "how"


def _is_identifier(token: str, *, opens: bool) -> bool:
    """A name of code, a flag, an abbreviation, a sign: anything that is not a word of prose."""
    if not token[0].isalnum():
        return token not in "?!.,;:'\"()`’“”"
    if any(mark in token for mark in "_.+#") or any(c.isdigit() for c in token):
        return True
    rest = token[1:]
    return rest != rest.lower() or (token[0].isupper() and not opens and len(token) > 1)


def difference(one: str, other: str) -> str | None:
    """What makes the two questions ask different things, or None where no guard sees anything."""
    a, b = _sense(one), _sense(other)
    if a.negations != b.negations:
        return "negation"
    if a.numbers != b.numbers:
        return "number"
    if a.identifiers != b.identifiers:
        return "identifier"
    if a.sides != b.sides or _rhyme(a, b):
        return "opposite"
    if _alternate(a, b):
        return "opposite"
    if _shared(a, b) != _shared(b, a):
        return "word order"
    return "question" if a.asked != b.asked else None


def _alternate(a: _Sense, b: _Sense) -> bool:
    return any(
        {x, y} == {(True, False), (False, True)} for x, y in zip(a.alternatives, b.alternatives, strict=True)
    )


def _shared(one: _Sense, other: _Sense) -> list[str]:
    """The words that both have as often, in the order of `one`: `int` to `str` is not `str` to `int`."""
    common = Counter(one.words) & Counter(other.words)
    return [word for word in one.words if word in common]


def _rhyme(a: _Sense, b: _Sense) -> bool:
    """`pickle` and `unpickle`, `increase` and `decrease`: opposites differ at the front and end alike."""
    only_a, only_b = set(a.words) - set(b.words), set(b.words) - set(a.words)
    return any(_end_alike(x, y) for x in only_a for y in only_b)


def _end_alike(x: str, y: str) -> bool:
    shorter = min(len(x), len(y))
    return shorter >= _RHYME and x[-min(_RHYME, shorter) :] == y[-min(_RHYME, shorter) :]
