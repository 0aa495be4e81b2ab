"""The arms that must fail: the same experiment with one mechanism switched off.

An experiment that passes with and without the mechanism it is about has proved nothing about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from chaos.experiment.part import Part, Scalar


class NegativeControl(Part):
    """One arm that must fail, and why it must."""

    mechanism: Annotated[str, Field(min_length=1, max_length=60)] = Field(
        description="what is switched off, in words; unique among the controls"
    )
    service: dict[str, Scalar] = Field(
        min_length=1,
        description="settings of the service that switch it off, on top of the experiment's own",
    )
    expect: Literal["fail"] = Field(description="`fail`: with another verdict the control has not worked")
    because: tuple[str, ...] = Field(
        (),
        description="objectives or assertions of which at least one must have failed; "
        "without it any failure will do",
    )

    @model_validator(mode="before")
    @classmethod
    def _resilience_is_short_for_a_mechanism(cls, raw: Any) -> Any:
        """`{resilience: "off", expect: fail}` switches everything off at once."""
        if not isinstance(raw, Mapping) or "resilience" not in raw:
            return raw
        if raw["resilience"] != "off":
            raise ValueError(f'resilience is {raw["resilience"]!r}; allowed in a negative control is "off"')
        if "service" in raw or "mechanism" in raw:
            raise ValueError(
                "resilience stands beside mechanism or service; write {resilience: off, expect: fail}, "
                "or mechanism and service"
            )
        rest = {key: value for key, value in raw.items() if key != "resilience"}
        return {"mechanism": "resilience", "service": {"resilience": "off"}} | rest


def _one_or_more(raw: Any) -> Any:
    return [raw] if isinstance(raw, Mapping) else raw


NegativeControls = Annotated[
    tuple[NegativeControl, ...],
    BeforeValidator(_one_or_more),
    Field(max_length=20),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "array"}]}),
]
"""One mapping, or a list of them."""
