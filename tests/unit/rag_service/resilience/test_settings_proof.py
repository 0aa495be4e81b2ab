"""The sum of all that may be tried fits the deadline, whatever is set: else the service refuses to start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rag_service.settings import (
    EmbedSettings,
    GenerateSettings,
    RetrySettings,
    SearchSettings,
    Settings,
)


def worst_case_s(settings):
    """Every attempt to its limit, every retry, every hedge at its latest, and then the fallback: by hand."""
    search = settings.search
    hedge_wait_s = search.attempt_s if search.hedge_p95 else search.hedge_after_s
    return (
        settings.embed.attempt_s
        + search.attempts * (search.attempt_s + hedge_wait_s)
        + (search.attempts - 1) * settings.retry.max_wait_s
        + settings.generate.attempts * settings.generate.first_token_s
        + (settings.generate.attempts - 1) * settings.retry.max_wait_s
        + settings.fallback_reserve_s
    )


@given(
    deadline_s=st.floats(0.5, 30.0),
    embed_s=st.floats(0.1, 5.0),
    search_s=st.floats(0.05, 5.0),
    search_attempts=st.integers(1, 5),
    hedge_ratio_of_attempt=st.sampled_from([0.0, 0.2, 0.9]),
    p95=st.booleans(),
    first_token_s=st.floats(0.1, 10.0),
    generate_attempts=st.integers(1, 5),
    reserve_s=st.floats(0.01, 2.0),
)
def test_settings_that_load_leave_the_fallback_its_time(
    deadline_s,
    embed_s,
    search_s,
    search_attempts,
    hedge_ratio_of_attempt,
    p95,
    first_token_s,
    generate_attempts,
    reserve_s,
):
    """They load exactly when the worst case fits; there is no third way."""
    hedge_after_s = hedge_ratio_of_attempt * search_s
    parts = {
        "deadline_s": deadline_s,
        "fallback_reserve_s": reserve_s,
        "embed": EmbedSettings(attempt_s=embed_s),
        "search": SearchSettings(
            attempt_s=search_s,
            attempts=search_attempts,
            hedge_after_s=hedge_after_s,
            hedge_p95=p95 and hedge_after_s > 0.0,
        ),
        "generate": GenerateSettings(first_token_s=first_token_s, attempts=generate_attempts),
    }
    roomy = Settings.model_construct(**{**parts, "retry": RetrySettings()})
    worst_s = worst_case_s(roomy)
    if abs(worst_s - deadline_s) < 1e-9:
        return
    if worst_s > deadline_s:
        with pytest.raises(ValidationError, match="a fallback could be late"):
            Settings(**parts)
    else:
        assert worst_case_s(Settings(**parts)) <= deadline_s


def test_a_hedge_makes_a_search_longer():
    """A second attempt has a whole attempt's time from when it starts; the sum knows that."""
    tight = {"deadline_s": 5.45}
    assert Settings(**tight).search.hedge_after_s == 0.0
    with pytest.raises(ValidationError, match=r"add up to 5\.65 s, but deadline_s is 5\.45 s"):
        Settings(**tight, search=SearchSettings(hedge_after_s=0.1))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"hedge_after_s": 0.3}, r"hedge_after_s 0\.3 is not below search\.attempt_s 0\.3"),
        ({"hedge_p95": True}, "hedge_p95 is set but search.hedge_after_s is 0"),
    ],
)
def test_a_hedge_that_could_never_start_is_refused(search, message):
    """A setting without an effect is a mistake, and the message says what to change."""
    with pytest.raises(ValidationError, match=message):
        Settings(search=SearchSettings(**search))
