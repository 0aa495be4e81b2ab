"""Identity: one attempt, one trace id, the same in every process."""

import re
from dataclasses import replace
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from journeys.identity import Identity

PLACE = Identity("run-7", "ask", arrival=3, step=1, attempt=1)
places = st.builds(
    Identity, st.text(min_size=1), st.text(min_size=1), st.integers(1), st.integers(1, 9), st.integers(1, 9)
)


def test_ids_do_not_change_between_versions() -> None:
    """Stored bundles keep joining: these ids are fixed for good."""
    assert PLACE.trace_id == "e29600cce63ed584e8599d401f1bca32"
    assert PLACE.span_id == "4eed7ad54100bfba"


def test_every_part_of_the_place_matters() -> None:
    """Changing any one part gives another trace."""
    others = [
        replace(PLACE, run_id="run-8"),
        replace(PLACE, journey="follow_up"),
        replace(PLACE, arrival=4),
        replace(PLACE, step=2),
        replace(PLACE, attempt=2),
        replace(PLACE, arrival=31, step=1),
    ]
    assert len({one.trace_id for one in [PLACE, *others]}) == 7


@given(places)
def test_traceparent_is_w3c_and_sampled(place: Identity) -> None:
    """The header has version 00, both ids, and the sampled flag."""
    assert place.traceparent == f"00-{place.trace_id}-{place.span_id}-01"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", place.traceparent)


@given(places)
def test_baggage_survives_any_name(place: Identity) -> None:
    """Commas, spaces and the like in a run id cannot forge or break a baggage member."""
    header = place.baggage("base,line=1")
    assert header.isascii() and header.isprintable() and " " not in header
    members = dict(part.split("=") for part in header.split(","))
    assert unquote(members["ragquake.run"]) == place.run_id
    assert unquote(members["ragquake.phase"]) == "base,line=1"
    assert members["ragquake.attempt"] == f"{place.arrival}.{place.step}.{place.attempt}"


def test_outside_every_phase_baggage_names_none() -> None:
    """A visit that drains after the last phase claims no phase."""
    assert "ragquake.phase" not in PLACE.baggage(None)
    assert "ragquake.phase=spike" in PLACE.baggage("spike")


def test_a_session_spans_the_steps_of_one_user_only() -> None:
    """Two steps share a session; two users do not."""
    assert PLACE.session_id == replace(PLACE, step=2).session_id
    assert PLACE.session_id != replace(PLACE, arrival=4).session_id
