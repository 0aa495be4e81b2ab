"""The processes that faults may touch: parts of a stack that ragquake itself started, and hogs."""

from chaos.processes.processes import NoProcesses, Processes, ProcessFaultError

__all__ = ["NoProcesses", "ProcessFaultError", "Processes"]
