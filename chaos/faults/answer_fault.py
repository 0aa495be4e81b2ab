"""What a fault of a model server's answer is: one kind, two places.

Where the simulator answers, it commits the fault itself, which holds a place in its batch as the real thing
does. Before vLLM or a server at a URL, the built-in proxy does the same to the answer on its way. Which it
is, `Controls` says.
"""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from chaos.control.builtin_proxy import HttpFaultSpec
from chaos.faults.fault import Need
from chaos.faults.quantities import PositiveDuration, Tokens
from chaos.faults.request_place import RequestPlace
from chaos.faults.simulator_fault import SimulatorFault

if TYPE_CHECKING:
    from chaos.control.controls import Controls

COMPLETIONS = "/v1/*completions"
"""What a model refuses; its health check and its list of models it does not."""


class AnswerFault(SimulatorFault, ABC):
    """A fault of one answer, at the simulator or at the proxy before another model server."""

    needs: ClassVar[Need] = "answers"
    path: ClassVar[str] = "*"
    http_type: ClassVar[str] = ""
    """The proxy's name for it; where it is empty, the kind."""

    def attributes(self) -> dict[str, Any]:
        """The parameters as the proxy calls them: mostly as the simulator does."""
        return self.body()

    def http_fault(self, name: str) -> HttpFaultSpec:
        """The fault that this is on the proxy."""
        return HttpFaultSpec(
            name=name,
            type=self.http_type or self.kind,
            attributes=self.attributes(),
            path=self.path,
            probability=self.probability,
            count=self.count,
        )

    def check(self, at: Controls) -> None:
        if at.simulator is None:
            RequestPlace.at(at, self.on, self.kind)

    def inject(self, at: Controls, name: str) -> None:
        if at.simulator is None:
            RequestPlace.at(at, self.on, name).put(self.http_fault(name))
        else:
            super().inject(at, name)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any] | None:
        """On how many answers it acted, as the simulator or the proxy counted."""
        if at.simulator is None:
            return RequestPlace.at(at, self.on, name).remove()
        return super().remove(at, name)

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        if at.simulator is None:
            return RequestPlace.at(at, self.on, name).read_back(self.http_fault(name))
        return super().read_back(at, name)

    def is_gone(self, at: Controls, name: str) -> bool:
        if at.simulator is None:
            return RequestPlace.at(at, self.on, name).is_gone()
        return super().is_gone(at, name)

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        if at.simulator is None:
            return RequestPlace.at(at, self.on, name).undo()
        return super().undo(at, name)


class AfterTokens(AnswerFault, ABC):
    """A fault in mid-answer."""

    after_tokens: Tokens = Field(description="tokens that come before it; 0 to 100000")


class Refusal(AnswerFault, ABC):
    """A fault that answers in the model's place, with an HTTP status and an error as vLLM words it."""

    http_type: ClassVar[str] = "http_error"
    path: ClassVar[str] = COMPLETIONS
    status: ClassVar[int]
    error_type: ClassVar[str]
    message: ClassVar[str]
    param: ClassVar[str | None] = None

    def attributes(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.error_type, "param": self.param, "code": self.status}
        return {"status": self.status, "body": json.dumps({"error": error}), **self.body()}


class TimedRefusal(Refusal, ABC):
    """A refusal that may say when to come back."""

    retry_after: PositiveDuration | None = Field(
        None, description="`Retry-After`, whole seconds, rounded up; 1 ms to 10 min"
    )

    def body(self) -> dict[str, Any]:
        return {} if self.retry_after is None else {"retry_after_s": self.retry_after}
