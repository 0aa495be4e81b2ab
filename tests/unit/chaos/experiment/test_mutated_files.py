"""Thousands of broken experiment files: each is read, or refused in words with exit 2.

The catalogue's own files are mutated, as text (what a slip of the hand does) and as data (what a
misunderstanding does). `RAGQUAKE_MUTATIONS` changes how many; 5,000 take less than a minute.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chaos.cli.ending import told_of
from chaos.exit_codes import ExitCode
from chaos.experiment import BUNDLED, AbstractExperimentError, load_experiment
from chaos.experiment.loading import load_document
from slo.documents import Document, DocumentError, read_document

MUTATIONS = int(os.environ.get("RAGQUAKE_MUTATIONS", "5000"))
SLIPS = MUTATIONS * 3 // 10
"""Fewer, because reading YAML is most of the work, and a misunderstanding needs none."""
AT_ONCE = 10
FILES = {path.stem: path.read_text() for path in sorted(BUNDLED.glob("*.yaml"))}
DOCUMENTS = {name: read_document(BUNDLED / f"{name}.yaml") for name in FILES}
LEAKED = re.compile(
    r"Traceback|pydantic|ruamel|<class|object at 0x|\btuple\b|\bdict\b|dictionary|NoneType|nput should"
)

SNIPPETS = [
    *"\t:{}[],%'\"\x00\ufeff\u2028🔥#@`=~!|&", "&a", "*a", "!!python/object/apply:os.system ['touch pwned']",
    "---", "...", "<<: *a", "? ", "| ", "> ", "${", "${x}", "\r\n", "- ", "!!binary aGk=", "!!set {a}",
    "9" * 5000,
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 10**30, -0.5, 1e308, "", " ", "x", "nan", ".nan", "inf", "-5s", "0s", "10",
    "99999999h", "1e999s", "0x", "-3x", "1e308x", "nanx", "4", "4/y", "200%", "-1%", "50", "a" * 5000, "${x}",
    "${", "../x", "/etc/passwd", "spike", "latency", "vector_db", "journey", "p95", "\x00", "🔥", "\u202e",
    [], {}, [None], [[]], {"": ""}, {"a": 1}, [1, 2, 3], ["1x", "2x"], {"uniform": ["1s"]},
    {"ramp": ["1x", "2x"]}, {"ramp": "1x"}, {"steps": []}, {"sine": ["1x"], "period": "1s"},
    {"burst": ["1x", "2x"], "every": "1s", "lasting": "2s"},
]  # fmt: skip

files = st.sampled_from(sorted(FILES))


@st.composite
def slips(draw: st.DrawFn) -> str:
    """A file of the catalogue after some slips of the hand."""
    text = FILES[draw(files)]
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        number = draw(st.integers(0, len(lines) - 1))
        at, length = draw(st.integers(0, len(text))), draw(st.integers(1, 8))
        match draw(st.sampled_from(["cut", "put", "twice", "drop", "swap", "indent", "end", "word"])):
            case "cut":
                text = text[:at] + text[at + length :]
            case "put":
                text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at:]
            case "twice":
                text = "".join([*lines[: number + 1], *lines[number:]])
            case "drop":
                text = "".join(lines[:number] + lines[number + 1 :])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[number], lines[other] = lines[other], lines[number]
                text = "".join(lines)
            case "indent":
                lines[number] = draw(st.sampled_from([" ", "  ", "\t", "    "])) + lines[number]
                text = "".join(lines)
            case "end":
                text = text[:at]
            case "word":
                words = list(re.finditer(r"[\w./%]+", text))
                word = words[draw(st.integers(0, len(words) - 1))] if words else None
                new = str(draw(st.sampled_from(VALUES)))
                text = text[: word.start()] + new + text[word.end() :] if word else text
    return text


@st.composite
def misunderstandings(draw: st.DrawFn) -> Document:
    """A file of the catalogue that is good YAML and says something else, as it comes from the reader."""
    original = DOCUMENTS[draw(files)]
    data = copy.deepcopy(original.data)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(data))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["set", "drop", "rename", "wrap", "copy", "nest"])):
            case "set":
                holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                at = draw(st.integers(0, len(key)))
                holder[key[:at] + draw(st.sampled_from(["", "x", "-", "A", " "])) + key[at + 1 :]] = (
                    holder.pop(key)
                )
            case "copy":
                other, other_key = places[draw(st.integers(0, len(places) - 1))]
                with suppress(KeyError, IndexError):  # the renaming or dropping above took it
                    holder[key] = copy.deepcopy(other[other_key])
            case "nest":
                for _ in range(draw(st.integers(1, 40))):
                    holder[key] = [holder[key]]
            case _:
                holder[key] = [holder[key]] if draw(st.booleans()) else {"x": holder[key]}
    return Document(original.path, data, dict(original.marks))


def _places(data: Any) -> Any:
    """Each value with what holds it."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        yield from _places(data[key])


def refused(load: Callable[[], object], path: Path) -> tuple[str, ...]:
    """The complaints about a file, checked to be fit for a person; none where it is valid."""
    try:
        load()
    except AbstractExperimentError:
        return ()
    except DocumentError as error:
        told = told_of(error)
        assert told is not None and told.code == ExitCode.USAGE
        assert error.problems
        for problem in error.problems:
            assert str(path.parent) in problem or "/etc/passwd" in problem, problem
            assert len(problem) < 1500, problem
            assert not LEAKED.search(problem), problem
        return error.problems
    return ()


def so_many(mutations: int) -> settings:
    """Hypothesis only draws: a counter-example is told as it is, and the next run draws others."""
    return settings(
        max_examples=max(1, mutations // AT_ONCE),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def test_a_slip_of_the_hand_is_read_or_refused_in_words(tmp_path: Path) -> None:
    """Characters lost, put in, lines moved, words replaced; most of it is a mistake, and is told."""
    path, counts = tmp_path / "slip.yaml", Counter[bool]()

    @given(st.lists(slips(), min_size=AT_ONCE, max_size=AT_ONCE))
    @so_many(SLIPS)
    def mutate(texts: list[str]) -> None:
        for text in texts:
            path.write_text(text, encoding="utf-8", newline="")
            counts[bool(refused(lambda: load_experiment(path), path))] += 1

    mutate()
    assert counts.total() >= SLIPS and counts[True] > 0.5 * counts.total(), counts


def test_a_misunderstanding_is_read_or_refused_in_words() -> None:
    """Values of another kind, keys misspelt or missing, things in the wrong place; most of it is told."""
    counts = Counter[bool]()

    @given(st.lists(misunderstandings(), min_size=AT_ONCE, max_size=AT_ONCE))
    @so_many(MUTATIONS - SLIPS)
    def mutate(documents: list[Document]) -> None:
        for document in documents:
            told = refused(lambda document=document: load_document(document), document.path)  # type: ignore[misc]
            counts[bool(told)] += 1

    mutate()
    assert counts.total() >= MUTATIONS - SLIPS and counts[True] > 0.5 * counts.total(), counts
