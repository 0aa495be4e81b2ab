"""The processes that faults may touch: parts of a stack that ragquake itself started, and hogs."""

from chaos.processes.errors import ProcessFaultError
from chaos.processes.processes import Absence, Processes

__all__ = ["Absence", "ProcessFaultError", "Processes"]
