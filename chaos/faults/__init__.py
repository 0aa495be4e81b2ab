"""Faults: what can be done to a dependency, one file for each kind."""

from chaos.faults.fault import Fault
from chaos.faults.parsing import fault_kinds, parse_fault

__all__ = ["Fault", "fault_kinds", "parse_fault"]
