"""The quantities that objectives may bound. Every module of this package registers its own."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from slo.indicators.indicator import Estimate, Indicator, register, registered

__all__ = ["Estimate", "Indicator", "all_indicators", "register"]


def all_indicators() -> dict[str, Indicator]:
    """Every indicator by name; importing a module of the package is what registers it."""
    _import_modules()
    return registered()


@cache
def _import_modules() -> None:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
