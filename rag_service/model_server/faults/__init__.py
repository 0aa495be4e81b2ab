"""What the simulator can be told to do wrong. Every module of this package registers its own kind."""

from __future__ import annotations

import importlib
import pkgutil

from rag_service.model_server.faults.fault import EndAnswer, Ending, Fault, Wire, registered

__all__ = ["EndAnswer", "Ending", "Fault", "Wire", "fault_kinds"]


def fault_kinds() -> dict[str, type[Fault]]:
    """Every kind by name; importing a module of the package is what registers it."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(registered().items()))
