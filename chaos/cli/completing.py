"""What a shell offers at the Tab key: experiments, suites, kinds of faults, bundles.

Asked for at a keystroke, so nothing heavy is imported: names come from files and folders alone, and a kind of
fault is read from the line that declares it. A test holds them to what the catalogue says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

Offer = tuple[str, str]
"""A word, and what a shell that can show it says of it."""

_PACKAGE = Path(__file__).parents[1]
_KIND = re.compile(r'^    kind: Literal\["([a-z_]+)"\]', re.MULTILINE)
_CLASS_DOC = re.compile(r'^class \w+\(.*?\):\n    """(.+)$', re.MULTILINE)
_TITLE = re.compile(r"^title: *(.+)$", re.MULTILINE)
_ABSTRACT = re.compile(r"^abstract: *true\b", re.MULTILINE)
_MOST_BUNDLES = 30


def experiments(incomplete: str) -> list[Offer]:
    """The bundled experiments and those in ./chaos/experiments; not those that are only a base of others."""
    return _starting_with(incomplete, _titled("experiments"))


def suites(incomplete: str) -> list[Offer]:
    """The suites."""
    return _starting_with(incomplete, _titled("suites"))


def fault_kinds(incomplete: str) -> list[Offer]:
    """The kinds of faults."""
    return _starting_with(incomplete, _declared_kinds())


def explainable(incomplete: str) -> list[Offer]:
    """What `ragquake explain` knows."""
    return [*experiments(incomplete), *fault_kinds(incomplete)]


def bundles(incomplete: str) -> list[str]:
    """The newest bundles below ./runs."""
    found = sorted((path.parent for path in Path("runs").glob("[0-9]*/journal.jsonl")), reverse=True)
    names = ["runs/latest", *(str(bundle) for bundle in found[:_MOST_BUNDLES])] if found else []
    return [name for name in names if name.startswith(incomplete)]


def lists(incomplete: str) -> list[str]:
    """What `ragquake list` lists."""
    return [name for name in ("experiments", "faults", "suites") if name.startswith(incomplete)]


def stacks(incomplete: str) -> list[Offer]:
    """The kinds of stacks; a shell offers files by itself."""
    return _starting_with(incomplete, (("local", "processes on this machine"), ("compose", "containers")))


def model_servers(incomplete: str) -> list[Offer]:
    """What `--llm` can be besides a URL."""
    return _starting_with(incomplete, (("simulator", "needs no model"), ("vllm", "set up by make vllm")))


def _starting_with(incomplete: str, offers: Iterable[Offer]) -> list[Offer]:
    return [offer for offer in offers if offer[0].startswith(incomplete)]


def _titled(folder: str) -> list[Offer]:
    files = {
        path.stem: path
        for where in (_PACKAGE / folder, Path("chaos") / folder)
        for path in where.glob("*.yaml")
    }
    offers = []
    for name, path in sorted(files.items()):
        text = path.read_text(encoding="utf-8", errors="replace")
        if not _ABSTRACT.search(text):
            title = _TITLE.search(text)
            offers.append((name, title[1].strip("\"' ") if title else ""))
    return offers


def _declared_kinds() -> Iterator[Offer]:
    for path in sorted((_PACKAGE / "faults").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for kind in _KIND.findall(text):
            doc = _CLASS_DOC.search(text)
            yield kind, doc[1].rstrip(".") if doc else ""
