"""A server that loads its model: it answers, but only that it is not ready yet.

A replica that was started anew does so for as long as its weights take to load. llama.cpp's server says 503
with "Loading model" to everything, its health check included, and this copies it. vLLM does not listen at all
until it is ready: for that, start the simulator with `--startup 20s`.
"""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import Delay, Fault, register
from rag_service.model_server.openai_errors import ApiError, unavailable


@register
class SlowStartup(Fault):
    """503 to every request, `/health` and `/v1/models` included, for `for_s` seconds."""

    kind: Literal["slow_startup"]
    for_s: Delay

    def refusal(self) -> ApiError:
        return unavailable("Loading model")

    def health(self) -> ApiError:
        return self.refusal()
