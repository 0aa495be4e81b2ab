from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaos.faults import fault_kinds, parse_fault
from chaos.faults.fault import Label

LATENCY = {"on": "vector_db", "kind": "latency", "latency": "2s"}


def test_every_kind_registers_itself_and_explains_itself() -> None:
    """One file, one kind, called alike; its docstring shows how it is written."""
    kinds = fault_kinds()
    on_bytes = "bandwidth down latency limit_data reset slicer slow_close timeout"
    on_processes = "cpu_hog file_descriptors kill memory_pressure pause restart"
    on_the_model = "abort context_overflow cut malformed_chunk rate_limited slow_first_token slow_startup"
    on_the_model += " slow_tokens stall truncate unavailable"
    assert {*on_bytes.split(), *on_processes.split(), *on_the_model.split()} <= set(kinds)
    assert list(kinds) == [fault.__module__.rpartition(".")[2] for fault in kinds.values()] == sorted(kinds)
    for kind, fault in kinds.items():
        assert f"kind: {kind}" in (fault.__doc__ or "")


def test_every_kind_says_how_it_looks_how_it_shows_and_how_it_ends() -> None:
    """The three paragraphs that the catalogue quotes are there, each without the next one's words."""
    for kind, fault in fault_kinds().items():
        for label in get_args(Label):
            said = fault.told(label)
            assert said.endswith("."), f"{kind} does not say {label!r}"
            assert not any(f"{other}:" in said for other in get_args(Label))


def test_the_faults_in_the_docstrings_parse() -> None:
    """What `ragquake explain` shows can be copied into an experiment."""
    from ruamel.yaml import YAML

    for kind, fault in fault_kinds().items():
        example = next(line for line in (fault.__doc__ or "").splitlines() if "kind:" in line)
        [(name, raw)] = YAML(typ="safe").load(example).items()
        assert parse_fault(name, raw).kind == kind


def test_a_fault_reads_as_written() -> None:
    """Durations become seconds; what is not said has a default."""
    fault = parse_fault("slow", {**LATENCY, "jitter": "200ms"})
    assert fault.parameters() == {"latency_s": 2.0, "jitter_s": 0.2, "stream": "downstream"}
    assert fault.model_dump()["on"] == "vector_db"


@pytest.mark.parametrize(
    ("raw", "where", "message"),
    [
        ({"kind": "latncy"}, ("kind",), "did you mean 'latency'? allowed: abort, bandwidth"),
        ({"on": "llm"}, ("kind",), "kind is missing; allowed: abort, bandwidth"),
        ({"kind": ["latency"]}, ("kind",), "there is no fault of kind ['latency']"),
        ({**LATENCY, "jittr": "1s"}, ("jittr",), "did you mean 'jitter'? allowed: on, kind, stream, latency"),
        (
            {**LATENCY, "on": "vectordb"},
            ("on",),
            "'vectordb' is not a dependency (did you mean vector_db?); allowed: vector_db, llm",
        ),
        ({"on": "llm", "kind": "latency"}, ("latency",), "latency is missing (added to every answer"),
        ({**LATENCY, "latency": "2"}, ("latency",), "'2' is not a duration"),
        ({**LATENCY, "latency": "1h"}, ("latency",), "60 m is out of bounds; allowed is 1 ms to 10 m"),
        ({**LATENCY, "latency": "0s"}, ("latency",), "out of bounds"),
        (
            {**LATENCY, "latency": "1.5ms"},
            ("latency",),
            "too fine; fault proxies count in whole milliseconds",
        ),
        ({**LATENCY, "jitter": "3s"}, (), "jitter (3.0 s) is above latency (2.0 s)"),
        ({**LATENCY, "stream": "sideways"}, ("stream",), "not 'sideways'"),
        ({"on": "llm", "kind": "bandwidth", "rate": 0}, ("rate",), "not 0 (rate: KB/s"),
        ({"on": "llm", "kind": "http_error", "status": 200}, ("status",), "not 200 (status: 400 to 599)"),
        ({"on": "llm", "kind": "http_error", "status": "500"}, ("status",), "not '500' (status: 400 to 599)"),
        ({"on": "llm", "kind": "http_error", "count": True}, ("count",), "not True (count: on so many"),
        ({"on": "llm", "kind": "http_error", "path": "v1"}, ("path",), "'v1' does not fit (path: a glob"),
        ({"on": "llm", "kind": "http_error", "probability": "0%"}, ("probability",), "more than 0 %"),
        ({"on": "llm", "kind": "empty_results"}, ("on",), "not 'llm' (on: the vector DB"),
        ({"on": "proxy", "kind": "pause"}, ("on",), "'proxy' is not a part that faults on processes act on"),
        ({**LATENCY, "flap": {"on": "1s", "off": "x"}}, ("flap",), "flap.off: 'x' is not a duration"),
        (
            {"on": "llm", "kind": "slicer", "average_size": 5, "size_variation": 5},
            (),
            "size_variation (5) must be below average_size (5)",
        ),
    ],
)
def test_a_complaint_names_the_key_and_what_is_allowed(
    raw: dict[str, Any], where: tuple[str, ...], message: str
) -> None:
    """The location lets the reader of the file add its line; the message says what to write instead."""
    with pytest.raises(ValidationError) as caught:
        parse_fault("slow", raw)
    [line] = caught.value.errors()
    assert line["loc"] == where
    assert message in line["msg"]


@pytest.mark.parametrize("key", ["flap", "ramp", "jittr"])
def test_a_complaint_is_not_about_none(key: str) -> None:
    """The value that it is about goes with it: a reader of the file puts it in front."""
    with pytest.raises(ValidationError) as caught:
        parse_fault("slow", {**LATENCY, key: {"on": "1s"}})
    [line] = caught.value.errors()
    assert line["input"] is not None and line["msg"].count("None") == 0


@pytest.mark.parametrize("name", ["", "Slow", "a/b", "..", "a b", "x" * 65])
def test_a_name_that_cannot_be_a_toxic_is_refused(name: str) -> None:
    """The fault's name is the toxic's name, which has to be addressable."""
    with pytest.raises(ValueError, match="cannot name a fault"):
        parse_fault(name, LATENCY)


def test_a_fault_that_is_no_mapping_is_refused() -> None:
    """`faults: {slow: latency}` is told the form."""
    with pytest.raises(ValueError, match="a fault is a mapping, not 'latency'"):
        parse_fault("slow", "latency")  # type: ignore[arg-type]


@given(
    st.dictionaries(
        st.sampled_from(["on", "kind", "latency", "rate", "delay", "bytes", "timeout", "x"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.sampled_from(["llm", "latency", "down", "1s"]),
    )
)
def test_anything_is_a_fault_or_a_complaint(raw: dict[str, Any]) -> None:
    """No experiment, however odd, ends in another exception."""
    try:
        assert parse_fault("x", raw).kind == raw["kind"]
    except ValidationError as error:
        assert error.errors()
