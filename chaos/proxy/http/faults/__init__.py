"""Faults on requests, one file each; `http_fault_kinds()` finds them all."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from chaos.proxy.http.faults.fault import BadFaultError, HttpFault, HttpFaultSpec, Parameter, registered

__all__ = ["BadFaultError", "HttpFault", "HttpFaultSpec", "Parameter", "http_fault_kinds"]


def http_fault_kinds() -> Mapping[str, type[HttpFault]]:
    """Every type by name; importing a file of this package is what registers it."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(registered().items()))
