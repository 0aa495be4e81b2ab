"""From a file to one plain document: with what it extends, what `--set` changed, and its variables put in.

What comes out is what the bundle keeps: it says everything itself and needs no other file to be read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.experiment.extending import OWN, with_bases
from chaos.experiment.model import Experiment
from chaos.experiment.overrides import apply_override
from chaos.experiment.variables import substitute
from slo.documents import Document, DocumentError

KEYS = frozenset(field.alias or name for name, field in Experiment.model_fields.items())


@dataclass(frozen=True, slots=True)
class Resolved:
    """A document of an experiment's own keys, and whether it is only a base for others."""

    document: Document
    is_abstract: bool


def resolve(own: Document, overrides: Sequence[str] = ()) -> Resolved:
    """A file's document, made whole. Raises DocumentError with every problem."""
    document = with_bases(own)
    for override in overrides:
        apply_override(document, override, KEYS)
    is_abstract = document.data.get("abstract", False)
    if not isinstance(is_abstract, bool):
        raise DocumentError([document.problem(("abstract",), f"{is_abstract!r} is neither true nor false")])
    whole = substitute(document, KEYS, may_be_unused=is_abstract)
    data = {key: value for key, value in whole.data.items() if key not in OWN}
    return Resolved(Document(own.path, data, whole.marks), is_abstract)
