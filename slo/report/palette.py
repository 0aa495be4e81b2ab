"""Every colour of the report, once, in a light and a dark version.

The page takes them as CSS variables; the charts are drawn with the light ones, and the page's script swaps
each for its dark twin when the reader's system is dark. So that this exchange is unambiguous, no two names
share a light colour. Hues stay apart for red-green blind readers (blue-green against vermilion), and no
meaning hangs on colour alone: words, marks and positions repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shade:
    """One colour for light and for dark surroundings."""

    light: str
    dark: str


SHADES: dict[str, Shade] = {
    "ground": Shade("#f6f7f9", "#0f1216"),
    "surface": Shade("#ffffff", "#171b21"),
    "ink": Shade("#1a1f27", "#e8eaee"),
    "muted": Shade("#5b6472", "#9aa4b2"),
    "line": Shade("#e2e5ea", "#2a303a"),
    "grid": Shade("#eceef2", "#232933"),
    "edge": Shade("#9aa2af", "#667080"),
    "band": Shade("#eef1f6", "#20262f"),
    "band-fault": Shade("#fbe3dc", "#47231c"),
    "bar-fault": Shade("#d9573a", "#c5533c"),
    "on-colour": Shade("#fffffe", "#fffefe"),
    "calm": Shade("#d3ebe3", "#1f4a3e"),
    "accent": Shade("#2458c5", "#7aa5ff"),
    "middle": Shade("#8aa9e6", "#44639f"),
    "pass": Shade("#0f7b53", "#43c08f"),
    "warn": Shade("#92600a", "#e2ab45"),
    "fail": Shade("#c0341d", "#ff8066"),
    "inconclusive": Shade("#59558f", "#aaa5ea"),
    "error": Shade("#8a1f5c", "#f08abf"),
    "full": Shade("#2f9e7d", "#35a583"),
    "half-open": Shade("#b98212", "#b98413"),
    "cached": Shade("#8fd0bb", "#7fcab2"),
    "degraded": Shade("#e0b44c", "#c79a35"),
    "refused": Shade("#8d93a1", "#7b8392"),
    "truncated": Shade("#c98bb9", "#b477a4"),
    "abandoned": Shade("#a58bc9", "#9379b8"),
    "timeout": Shade("#e07b4c", "#e07d50"),
    "failed": Shade("#c93a2b", "#e8594a"),
    "dropped": Shade("#4b5563", "#b9c0cb"),
}
OUTCOME_SHADES = {"error": "failed"}
"""An outcome named otherwise than its shade: the verdict `error` has the name already."""
BREAKER_SHADES = {"closed": "calm", "half_open": "half-open", "open": "failed"}


def outcome_shade(outcome: str) -> str:
    """The shade's name for an outcome; one that nobody knows is drawn in the colour of a refusal."""
    name = OUTCOME_SHADES.get(outcome, outcome)
    return name if name in SHADES else "refused"


def breaker_shade(state: str) -> str:
    """The shade's name for a breaker's state."""
    return BREAKER_SHADES.get(state.replace("-", "_").lower(), "refused")


def light(name: str) -> str:
    """The light version of a shade."""
    return SHADES[name].light


def swaps() -> dict[str, str]:
    """Light to dark, for the page's script."""
    return {shade.light: shade.dark for shade in SHADES.values()}
