"""Which faults are in is exact, validated and replaced as a whole; who may say so is decided before."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from rag_service.model_server.admin import Gate
from rag_service.model_server.fault_set import MAX_FAULTS, FaultSet, parse_fault, parse_faults
from rag_service.model_server.faults import fault_kinds
from rag_service.model_server.openai_errors import ApiError

KINDS = {
    "abort": {"after_tokens": 3},
    "context_overflow": {},
    "crash": {},
    "cut": {"after_tokens": 3},
    "malformed_chunk": {"after_tokens": 3},
    "rate_limited": {"retry_after_s": 1.5},
    "slow_first_token": {"delay_s": 2},
    "slow_startup": {"for_s": 20},
    "slow_tokens": {"delay_s": 0.5},
    "stall": {"after_tokens": 0, "ping_s": 0.1},
    "truncate": {"after_tokens": 3},
    "unavailable": {},
}


def _faults(*faults: Any) -> dict[str, Any]:
    return {"faults": list(faults)}


def test_named_faults_come_and_go_beside_the_others() -> None:
    """Each with a count of its own, which another one's coming or going leaves alone."""
    faults = FaultSet(Random(1))
    faults.replace(parse_faults(_faults({"kind": "slow_tokens", "delay_s": 1})))
    faults.put("silent", parse_fault({"kind": "stall", "after_tokens": 3}))
    faults.draw()
    faults.put("late", parse_fault({"kind": "slow_first_token", "delay_s": 1}))
    assert [(one.name, one.hits) for one in faults.armed] == [(None, 1), ("silent", 1), ("late", 0)]
    faults.put("silent", parse_fault({"kind": "cut", "after_tokens": 3}))
    assert (faults.get("silent").fault.kind, faults.get("silent").hits) == ("cut", 0)
    faults.draw()
    assert faults.take("silent").hits == 1
    assert [one.name for one in faults.armed] == [None, "late"]
    for call in (faults.get, faults.take):
        with pytest.raises(ApiError, match="no fault is called 'silent'; there are: late"):
            call("silent")


def test_there_is_no_room_for_endless_faults() -> None:
    """As many as a whole set may have; one of a name that is there takes no further room."""
    faults = FaultSet(Random(1))
    for number in range(MAX_FAULTS):
        faults.put(str(number), parse_fault({"kind": "unavailable"}))
    faults.put("0", parse_fault({"kind": "unavailable"}))
    with pytest.raises(ApiError, match="at most"):
        faults.put("more", parse_fault({"kind": "unavailable"}))


def test_the_kinds_are_those_that_the_plan_names() -> None:
    """Each file of the package has registered itself, and there is no other."""
    assert list(fault_kinds()) == sorted(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_read_back_as_it_was_written(kind: str) -> None:
    """Parameters, probability and count survive; nothing is converted in silence."""
    written = {"kind": kind, "probability": 0.25, "count": 3, "for_s": 2.5, **KINDS[kind]}
    (fault,) = parse_faults(_faults(written))
    assert {key: value for key, value in fault.model_dump().items() if key in written} == written


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"kind": "stal", "after_tokens": 5}, ("faults[0].kind", "'stal'", "stall")),
        ({"after_tokens": 5}, ("faults[0].kind", "missing")),
        ({"kind": "stall"}, ("faults[0].after_tokens", "missing")),
        ({"kind": "stall", "after_token": 5, "after_tokens": 5}, ("after_token", "not a key", "ping_s")),
        ({"kind": "stall", "after_tokens": -1}, ("faults[0].after_tokens", "-1", "0")),
        ({"kind": "stall", "after_tokens": "5"}, ("faults[0].after_tokens", "'5'", "integer")),
        ({"kind": "slow_tokens", "delay_s": 601}, ("delay_s", "601", "600")),
        ({"kind": "slow_tokens", "delay_s": float("nan")}, ("delay_s", "nan")),
        ({"kind": "unavailable", "probability": 0}, ("probability", "0")),
        ({"kind": "unavailable", "probability": 1.01}, ("probability", "1.01", "1")),
        ({"kind": "unavailable", "count": 0}, ("count", "0", "1")),
        ({"kind": "unavailable", "for_s": 0}, ("for_s", "0")),
        ({"kind": "slow_startup"}, ("faults[0].for_s", "missing")),
        ("stall", ("faults[0]", "'stall'", "object")),
    ],
)
def test_a_wrong_fault_is_refused_with_its_key_its_value_and_what_is_allowed(
    fault: Any, named: tuple[str, ...]
) -> None:
    """A misspelt fault that is ignored would make a test of nothing."""
    with pytest.raises(ApiError) as refused:
        parse_faults(_faults(fault))
    assert refused.value.code == 400
    assert all(word in str(refused.value) for word in named), str(refused.value)


@pytest.mark.parametrize(
    "body", [None, [], {}, {"faults": {}}, {"faults": [], "fault": 1}, {"faults": [{}] * 33}]
)
def test_a_body_of_another_shape_is_refused(body: Any) -> None:
    """One key, a list, at most 32 faults."""
    assert MAX_FAULTS == 32
    with pytest.raises(ApiError):
        parse_faults(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_body_whatever_ends_in_anything_but_faults_or_a_400(body: Any) -> None:
    """The parser is total."""
    try:
        parse_faults(body)
    except ApiError as error:
        assert error.code == 400


def test_a_count_says_on_how_many_requests_a_fault_acts() -> None:
    """The third request after a count of two is left in peace, and a replacement counts anew."""
    faults = FaultSet(Random(1))
    two = parse_faults(_faults({"kind": "unavailable", "count": 2}))
    faults.replace(two)
    assert [len(faults.draw()) for _ in range(4)] == [1, 1, 0, 0]
    assert faults.armed[0].hits == 2
    faults.replace(two)
    assert len(faults.draw()) == 1


def test_a_refusal_acts_alone() -> None:
    """Of two only the first answers a request, and a stall has nothing to stall: neither is used up by it."""
    faults = FaultSet(Random(1))
    stall = {"kind": "stall", "after_tokens": 1, "count": 1}
    once = {"kind": "rate_limited", "count": 1}
    faults.replace(parse_faults(_faults(stall, once, {"kind": "unavailable", "count": 1})))
    assert [[fault.kind for fault in faults.draw()] for _ in range(4)] == [
        ["rate_limited"],
        ["unavailable"],
        ["stall"],
        [],
    ]
    assert [armed.hits for armed in faults.armed] == [1, 1, 1]


def test_a_crash_ends_even_the_first_process_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps the process 1 of a container from killing itself; it has to end by itself."""

    class Ended(BaseException):
        pass

    class Wire:
        async def write(self, event: bytes) -> None: ...

    def end(code: int) -> NoReturn:
        assert code == 137
        raise Ended

    monkeypatch.setattr("os.kill", lambda *_: None)
    monkeypatch.setattr("os._exit", end)
    (crash,) = parse_faults(_faults({"kind": "crash"}))
    with pytest.raises(Ended):
        asyncio.run(crash.before_token(0, Wire()))


def test_a_fault_is_over_after_its_time() -> None:
    """No fault outlives what was said of it, whoever forgot to take it out."""
    now_s = 50.0
    faults = FaultSet(Random(1), lambda: now_s)
    slow, slower = {"kind": "slow_first_token", "delay_s": 1}, {"kind": "slow_tokens", "delay_s": 1}
    faults.replace(parse_faults(_faults(slow | {"for_s": 2}, slower)))
    assert [fault.kind for fault in faults.draw()] == ["slow_first_token", "slow_tokens"]
    now_s = 52.0
    assert [fault.kind for fault in faults.draw()] == ["slow_tokens"]


def test_a_server_that_starts_up_says_so_to_health_checks_until_it_is_ready() -> None:
    """Other faults leave health checks alone, and a health check is no hit."""
    now_s = 50.0
    faults = FaultSet(Random(1), lambda: now_s)
    faults.replace(parse_faults(_faults({"kind": "unavailable"}, {"kind": "slow_startup", "for_s": 2})))
    refusal = faults.health()
    assert refusal is not None
    assert refusal.code == 503
    assert [armed.hits for armed in faults.armed] == [0, 0]
    now_s = 52.0
    assert faults.health() is None


def test_a_probability_is_drawn_for_each_request_from_the_seed() -> None:
    """Near its share over many requests, and the same requests again with the same seed."""

    def hits(seed: int) -> list[int]:
        faults = FaultSet(Random(seed))
        faults.replace(parse_faults(_faults({"kind": "unavailable", "probability": 0.3})))
        return [len(faults.draw()) for _ in range(2000)]

    assert hits(1) == hits(1) != hits(2)
    assert 0.25 < sum(hits(1)) / 2000 < 0.35


def test_a_refused_replacement_leaves_what_was_in() -> None:
    """Parsing comes first, so a set is never half replaced."""
    faults = FaultSet(Random(1))
    faults.replace(parse_faults(_faults({"kind": "crash"})))
    with pytest.raises(ApiError):
        faults.replace(parse_faults(_faults({"kind": "unavailable"}, {"kind": "nothing"})))
    assert [armed.fault.kind for armed in faults.armed] == ["crash"]


def _request(client: str | None, **headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    address = (client, 5000) if client else None
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "client": address})


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        (_request("127.0.0.1", host="127.0.0.1:8000"), True),
        (_request("::1", host="[::1]:8000"), True),
        (_request("127.0.0.1", host="localhost"), True),
        (_request("127.0.0.1", host="127.0.0.1:8000", origin="http://localhost:3000"), True),
        (_request("::ffff:127.0.0.1", host="127.0.0.1:8000"), True),
        (_request("::ffff:10.0.0.7", host="127.0.0.1:8000"), False),
        (_request("10.0.0.7", host="127.0.0.1:8000"), False),
        (_request(None, host="127.0.0.1:8000"), False),
        (_request("127.0.0.1", host="rebound.example:8000"), False),
        (_request("127.0.0.1"), False),
        (_request("127.0.0.1", host="127.0.0.1", origin="http://elsewhere.example"), False),
    ],
)
def test_without_a_token_only_this_machine_under_a_loopback_name_may(
    request_: Request, allowed: bool
) -> None:
    """A page that resolves its own name to loopback comes from loopback too; its Host and Origin tell."""
    if allowed:
        Gate().check(request_)
        return
    with pytest.raises(ApiError) as refused:
        Gate().check(request_)
    assert refused.value.code == 403


def test_a_token_may_have_any_characters() -> None:
    """It travels as UTF-8, which the server's headers show as Latin-1."""
    gate = Gate("geheim·ß")
    gate.check(_request("10.0.0.7", authorization="Bearer geheim·ß"))
    with pytest.raises(ApiError):
        gate.check(_request("10.0.0.7", authorization="Bearer geheim·s"))


def test_with_a_token_everybody_must_present_it_and_anybody_who_does_may() -> None:
    """Loopback is no longer enough, another address is no longer wrong."""
    gate = Gate("secret")
    gate.check(_request("10.0.0.7", host="models.example", authorization="Bearer secret"))
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
        with pytest.raises(ApiError) as refused:
            gate.check(_request("127.0.0.1", host="127.0.0.1", **headers))
        assert refused.value.code == 401
