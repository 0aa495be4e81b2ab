"""A server that is gone from one moment to the next, as after an out-of-memory kill: SIGKILL to itself.

Nothing is closed in order, and every other answer under way dies with this one. As the first process of a
container it is out of its own signals' reach; there it just ends, with the exit code of a kill.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

from rag_service.model_server.faults.fault import AfterTokens, Tokens, Wire, register


@register
class Crash(AfterTokens):
    """The process ends when the answer has `after_tokens` tokens (0: instead of its first)."""

    kind: Literal["crash"]
    after_tokens: Tokens = 0

    async def act(self, wire: Wire) -> None:  # noqa: ARG002
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(128 + signal.SIGKILL)
