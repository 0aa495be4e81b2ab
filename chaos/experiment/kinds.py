"""The kinds of files that people write, and what each is for: one at the wrong door is shown the right one.

A file of another kind has next to no key in common with what was wanted, so its problems would be a page of
keys that are unknown or missing, and the one that matters would stand among them.
"""

from __future__ import annotations

from collections.abc import Mapping

from slo.documents import Document, DocumentError

USES: Mapping[str, str] = {
    "Experiment": "ragquake run {file} runs it",
    "Objectives": "an experiment names it: objectives: {file}",
    "Suite": "ragquake suite {file} runs it",
    "Target": "a run is told of it: ragquake run NAME --stack {file}",
}


def require_kind(document: Document, wanted: str) -> None:
    """Raises DocumentError for a file of another kind, or of none at all."""
    kind = document.data.get("kind")
    if isinstance(kind, str) and kind in USES and kind != wanted:
        use = USES[kind].format(file=document.path)
        raise DocumentError(
            [document.problem(("kind",), f"this is a file of kind {kind}, not {wanted}; {use}")]
        )
    if not {"apiVersion", "kind", "extends"} & set(document.data):
        begin = f"such a file begins with apiVersion: ragquake/v1 and kind: {wanted}"
        first = "; ragquake init writes a first one" if wanted == "Experiment" else ""
        raise DocumentError([document.problem((), f"this is no file of kind {wanted}: {begin}{first}")])
