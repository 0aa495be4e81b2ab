"""The documentation of the running Python's own standard library, as documents.

It is real text that every user's machine already has, so the first experiment needs no download. Python
3.11 gives about 3,800 documents; the same Python gives the same documents in the same order.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from rag_service.corpus.cutting import PARAGRAPH, cut
from rag_service.corpus.definitions import Definition
from rag_service.corpus.document import Document, checked
from rag_service.corpus.library import Library
from rag_service.corpus.scope import TWINS

SOURCE = "python-stdlib"

# A one-line docstring such as "Return the name." answers nothing by itself; a function's often does
# ("Generate a random UUID.").
MIN_CHARACTERS = {"module": 40, "class": 40, "function": 20, "method": 40}
# Long topics repeat whole paragraphs of short ones; shorter paragraphs than this may repeat by chance.
_MIN_REPEATED = 80
# An embedding reads a few dozen word pieces: a long signature must not push the first sentence out of them.
_MAX_SIGNATURE = 40


def stdlib_documents(library: Library | None = None) -> tuple[Document, ...]:
    """All documents: modules, their public functions, classes and methods, then the language's topics."""
    found = [*_module_documents(library or Library()), *_topic_documents()]
    return checked(found, "the standard library's documentation")


def _module_documents(library: Library) -> Iterator[Document]:
    chosen: dict[str, tuple[str, Definition]] = {}
    modules: dict[str, Definition] = {}
    for name in library.module_names():
        module = library.module(name)
        if module is None:
            continue
        modules[name] = Definition(name, "module", "", module.doc)
        prefix = "" if name == "builtins" else f"{name}."
        for key in sorted(module.public):
            definition = module.names[key]
            if definition.kind == "method":  # `random.randint` is a bound method, but people call a function
                definition = replace(definition, kind="function")
            _offer(chosen, prefix + key, definition)
            members = {} if prefix + key in TWINS else definition.members
            for member_key, member in members.items():
                _offer(chosen, f"{prefix}{key}.{member_key}", member)
    definitions = dict(chosen.values())
    told: set[str] = set()
    for public_id, definition in sorted({**definitions, **modules}.items()):
        if definition.kind != "method" or definition.doc not in told:
            yield from _documents_of(public_id, definition)
        told.add(definition.doc)


def _offer(chosen: dict[str, tuple[str, Definition]], public_id: str, definition: Definition) -> None:
    """Keep the best of the public names that lead to one definition: its own name, then the shortest."""
    known = chosen.get(definition.origin)
    if known is None or _order(public_id, definition.origin) < _order(known[0], definition.origin):
        chosen[definition.origin] = (public_id, definition)


def _order(public_id: str, origin: str) -> tuple[bool, int, int, str]:
    is_alias = public_id.rpartition(".")[2] != origin.rpartition(".")[2]
    return is_alias, public_id.count("."), len(public_id), public_id


def _documents_of(public_id: str, definition: Definition) -> Iterator[Document]:
    if len(definition.doc) < MIN_CHARACTERS[definition.kind]:
        return
    title = public_id + _shortened(definition.signature)
    text = definition.doc
    if not title.endswith(definition.signature):
        text += f"\n\nSignature: {public_id}{definition.signature}"
    if definition.kind in ("module", "class"):
        title = f"{definition.kind} {title}"
    yield from _parts(public_id, title, text)


def _shortened(signature: str) -> str:
    if len(signature) <= _MAX_SIGNATURE:
        return signature
    return (
        signature[:_MAX_SIGNATURE].rpartition(",")[0] + ", …)" if "," in signature[:_MAX_SIGNATURE] else "(…)"
    )


def _topic_documents() -> Iterator[Document]:
    topics: Mapping[str, str] = importlib.import_module("pydoc_data.topics").topics
    told: set[str] = set()
    for key in sorted(topics, key=lambda key: (len(topics[key]), key)):
        text = topics[key].strip()
        title = text.partition("\n")[0].strip() or key
        paragraphs = [item for item in PARAGRAPH.split(text) if item not in told]
        told.update(item for item in paragraphs if len(item) >= _MIN_REPEATED)
        yield from _parts(f"language.{key}", title, "\n\n".join(paragraphs))


def _parts(public_id: str, title: str, text: str) -> Iterator[Document]:
    for number, part in enumerate(cut(text), start=1):
        suffix = "" if number == 1 else f"/{number}"
        yield Document(public_id + suffix, title if number == 1 else f"{title}, part {number}", part)
