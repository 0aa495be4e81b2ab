"""The stack: the processes under test and what they talk to, started, watched and stopped as one."""

from chaos.stack.opening import Stack, open_receiver, open_stack, require_available, require_kind

__all__ = ["Stack", "open_receiver", "open_stack", "require_available", "require_kind"]
