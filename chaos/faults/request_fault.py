"""What a fault on requests is: one of the built-in proxy's faults, on one dependency's requests.

Each kind is a file beside this one: a subclass of `RequestFault` with the proxy's name for it as `kind`, its
parameters, and `attributes()` where they are called otherwise there.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from chaos.control.builtin_proxy import HttpFaultSpec
from chaos.faults.fault import Fault, Need
from chaos.faults.quantities import Count, Probability
from chaos.faults.request_place import RequestPlace

if TYPE_CHECKING:
    from chaos.control.controls import Controls

Path = Annotated[str, Field(pattern=r"^[/*][^\x00-\x20\x7f]{0,1999}$")]
Method = Annotated[str, Field(pattern=r"^(\*|[A-Z]{1,32})$")]

_COMMON = ("on", "kind", "path", "method", "probability", "count")


class RequestFault(Fault, ABC):
    """A fault that the built-in proxy commits on requests or on their answers."""

    needs: ClassVar[Need] = "requests"

    path: Path = Field(
        "*",
        description="a glob over the path without its query: begins with `/` or `*`, has no space",
    )
    method: Method = Field("*", description="`*`, or one method in capitals")
    probability: Probability = Field(1.0, description="for each request; more than 0 %, at most 100 %")
    count: Count | None = Field(None, description="on so many requests at most; 1 to 1000000")

    def attributes(self) -> dict[str, Any]:
        """The fault's own parameters as the proxy calls them; those that are not set are left out."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in _COMMON}
        return {name: value for name, value in own.items() if value is not None}

    def http_fault(self, name: str) -> HttpFaultSpec:
        """The fault that this is on the proxy."""
        return HttpFaultSpec(
            name=name,
            type=self.kind,
            attributes=self.attributes(),
            path=self.path,
            method=self.method,
            probability=self.probability,
            count=self.count,
        )

    def check(self, at: Controls) -> None:
        RequestPlace.at(at, self.on, self.kind)

    def inject(self, at: Controls, name: str) -> None:
        RequestPlace.at(at, self.on, name).put(self.http_fault(name))

    def remove(self, at: Controls, name: str) -> Mapping[str, Any] | None:
        """On how many requests it acted, as the proxy counted."""
        return RequestPlace.at(at, self.on, name).remove()

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        return RequestPlace.at(at, self.on, name).read_back(self.http_fault(name))

    def is_gone(self, at: Controls, name: str) -> bool:
        return RequestPlace.at(at, self.on, name).is_gone()

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        return RequestPlace.at(at, self.on, name).undo()

    def expects(self) -> Mapping[str, Any] | None:
        """What it does to a span depends on the caller; the proxy counts on how many requests it acted."""
        return {"segment": self.segment, "hits": True}

    def parameters(self) -> dict[str, float | int | str]:
        narrowed = {name: value for name in ("path", "method") if (value := getattr(self, name)) != "*"}
        counted = {} if self.count is None else {"count": self.count}
        return {**self.attributes(), **narrowed, "probability": self.probability, **counted}
