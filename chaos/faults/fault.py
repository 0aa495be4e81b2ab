"""What a fault is: something done to one dependency, that can be read back, seen on the traces and undone.

A kind of fault is one file in this package: a subclass of `Fault` (or of `ToxicFault`, when it is one
toxic on the dependency's proxy) with its parameters, their bounds and a docstring that
`ragquake explain KIND` shows. Subclassing registers it; no other code changes. The docstring ends with
three paragraphs that the catalogue quotes: `Looks like:` (to the service), `Bit when:` (how to tell),
`Undone:` (how).

A fault carries no name: the experiment names it, and that name is the toxic's name on the proxy, so
that a person looking at the proxy sees the experiment's own words.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, WithJsonSchema

from chaos.control.fault_proxy import FaultProxyError, ProxyMissingError, Stream, Toxic
from chaos.faults.over_time import OverTime
from slo.documents import did_you_mean

if TYPE_CHECKING:
    from chaos.control.controls import Controls

SEGMENT_BEHIND: Mapping[str, str] = {"vector_db": "search", "llm": "generate"}
"""The dependencies that a fault can act on, each with the segment whose spans show it."""

_KINDS: dict[str, type[Fault]] = {}


def _known_dependency(name: str) -> str:
    if name not in SEGMENT_BEHIND:
        hint = did_you_mean(name, SEGMENT_BEHIND)
        raise ValueError(f"{name!r} is not a dependency{hint}; allowed: {', '.join(SEGMENT_BEHIND)}")
    return name


Need = Literal["bytes", "requests", "answers", "processes", "simulator"]
"""What a fault acts on: any fault proxy's bytes, the built-in proxy's requests, a model server's answers (the
simulator does it itself, the built-in proxy before another one), our processes, or the simulator alone."""

Label = Literal["Looks like", "Bit when", "Undone"]
"""What each docstring tells: how the service sees it, how one knows that it bit, how it is undone."""

Dependency = Annotated[
    str,
    AfterValidator(_known_dependency),
    WithJsonSchema({"type": "string", "enum": list(SEGMENT_BEHIND)}),
]


class Fault(BaseModel, ABC):
    """Something done to one dependency."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    needs: ClassVar[Need] = "bytes"
    ramps: ClassVar[tuple[str, ...]] = ()
    """The parameters that can be changed while it is in without anything else happening."""
    ramps_from_zero: ClassVar[tuple[str, ...]] = ()
    """Those of them whose ramp may begin or end at 0, where the fault does nothing."""

    on: Dependency = Field(description=f"the dependency it is done to: {', '.join(SEGMENT_BEHIND)}")
    kind: str
    _over_time: OverTime | None = PrivateAttr(None)

    @property
    def over_time(self) -> OverTime | None:
        """Its ramp and flapping; `None` for a fault that stays what it is."""
        return self._over_time

    def over(self, over_time: OverTime) -> Self:
        """The same fault, changing over time."""
        copy = self.model_copy()
        copy._over_time = over_time
        return copy

    def at_step(self, step: int) -> Self:
        """The fault as it is in one step of its ramp: both ends were checked, and so is all between them."""
        ramp = self._over_time.ramp if self._over_time is not None else None
        return self if ramp is None else self.model_copy(update={ramp.parameter: ramp.value(step)})

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class under the default of its `kind`; a class without one is only a base."""
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.model_fields["kind"].default
        if isinstance(kind, str):
            if kind in _KINDS and _KINDS[kind].__qualname__ != cls.__qualname__:
                raise TypeError(
                    f"fault kind {kind!r} is taken by {_KINDS[kind].__qualname__}; name it otherwise"
                )
            _KINDS[kind] = cls

    def check(self, at: Controls) -> None:
        """Refuse what cannot be done here; asked before the load begins, and again before it goes in.

        Raises `FaultProxyError` or `ProcessFaultError` with what to do.
        """
        del at

    def prepare(self, at: Controls, name: str) -> None:
        """Before the undo record: what the record must name is started here.

        Nothing of it may be felt: a runner that dies now has declared nothing.
        """
        del at, name

    @abstractmethod
    def inject(self, at: Controls, name: str) -> None:
        """Do it. The undo record must be in the journal by now."""

    def change(self, at: Controls, name: str) -> None:
        """Make what is in into this fault, which differs in a parameter of `ramps`."""
        del at
        raise FaultProxyError(f"change fault {name!r}", f"{self.kind} cannot be changed while it is in")

    @abstractmethod
    def remove(self, at: Controls, name: str) -> Mapping[str, Any] | None:
        """Take it away; returns what it was seen to have done, if that can be said (`bit`: felt or not)."""

    @abstractmethod
    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        """What is in, as the proxy or the kernel says it.

        Raises `FaultProxyError` or `ProcessFaultError` when that is not this fault.
        """

    @abstractmethod
    def is_gone(self, at: Controls, name: str) -> bool:
        """Whether the proxy or the kernel says that nothing of it is left."""

    @abstractmethod
    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        """Data enough for anyone to undo it: see `chaos.safety.undo`."""

    def expects(self) -> Mapping[str, Any] | None:
        """How to see on the traces that it bit; `None` when that cannot be said: no run passes on it then."""
        return None

    @abstractmethod
    def parameters(self) -> dict[str, float | int | str]:
        """Its size in plain numbers (durations in seconds), for the journal and the report."""

    @classmethod
    def told(cls, label: Label) -> str:
        """One of the three labelled paragraphs of the docstring, on one line; empty where it is missing."""
        text = inspect.getdoc(cls) or ""
        found = re.search(
            rf"^{label}: (.*?)(?=^(?:{'|'.join(get_args(Label))}): |^\s*$|\Z)", text, re.M | re.S
        )
        return " ".join(found[1].split()) if found else ""

    @property
    def segment(self) -> str:
        """The segment whose spans show what is done to this dependency."""
        return SEGMENT_BEHIND[self.on]


class ToxicFault(Fault, ABC):
    """A fault that is one toxic on the dependency's proxy."""

    toxic_type: ClassVar[str]

    stream: Stream = Field(
        "downstream", description="downstream: what the dependency answers; upstream: requests"
    )

    @abstractmethod
    def attributes(self) -> Mapping[str, int | str]:
        """The toxic's attributes in Toxiproxy's own units."""

    def toxic(self, name: str) -> Toxic:
        """The toxic that this fault is."""
        return Toxic(name, self.toxic_type, self.stream, 1.0, self.attributes())

    def inject(self, at: Controls, name: str) -> None:
        door = at.door(self.on)
        door.proxy.add_toxic(door.name, self.toxic(name))

    def change(self, at: Controls, name: str) -> None:
        door = at.door(self.on)
        door.proxy.update_toxic(door.name, self.toxic(name))

    def remove(self, at: Controls, name: str) -> Mapping[str, Any] | None:
        door = at.door(self.on)
        door.proxy.remove_toxic(door.name, name)
        return None

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        door = at.door(self.on)
        state = door.proxy.proxy(door.name)
        found = next((toxic for toxic in state.toxics if toxic.name == name), None)
        asked = f"read back fault {name!r} on {self.on!r}"
        if found is None:
            raise FaultProxyError(asked, "no such toxic is in")
        wanted = self.toxic(name)
        if (found.type, found.stream) != (wanted.type, wanted.stream) or any(
            found.attributes.get(key) != value for key, value in wanted.attributes.items()
        ):
            raise FaultProxyError(asked, f"in is {found}, not {wanted}")
        return {"toxic": found.type, "stream": found.stream, "toxicity": found.toxicity, **found.attributes}

    def is_gone(self, at: Controls, name: str) -> bool:
        door = at.door(self.on)
        try:
            return name not in door.proxy.toxics(door.name)
        except ProxyMissingError:
            return True

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        door = at.door(self.on)
        return {"do": "remove_toxic", "api": door.proxy.api, "proxy": door.name, "toxic": name}
