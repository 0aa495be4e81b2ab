"""Settings: what is wrong ends the start, with the name, the value and what is allowed."""

from __future__ import annotations

import os

import pytest

from rag_service.settings import SettingsError, known_names, load


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("RAG_")]:
        monkeypatch.delenv(name)


def test_defaults_load():
    """Without any variable the service is protected and fits its own deadline."""
    settings = load()
    assert settings.protected
    assert settings.search.attempt_s == 0.3


def test_nested_names_are_joined_by_two_underscores(monkeypatch):
    """`--set service.search.attempt_s=0.2` arrives as RAG_SEARCH__ATTEMPT_S."""
    monkeypatch.setenv("RAG_SEARCH__ATTEMPT_S", "0.2")
    monkeypatch.setenv("RAG_RESILIENCE", "off")
    settings = load()
    assert settings.search.attempt_s == 0.2
    assert not settings.protected


def test_an_unknown_name_is_refused_with_the_nearest_known_one(monkeypatch):
    """A misspelt timeout must not silently keep its default."""
    monkeypatch.setenv("RAG_SEARCH__ATEMPT_S", "0.2")
    with pytest.raises(
        SettingsError, match="RAG_SEARCH__ATEMPT_S is not a setting; did you mean RAG_SEARCH__ATTEMPT_S"
    ):
        load()


def test_all_mistakes_are_named_at_once(monkeypatch):
    """Name, value and what is allowed, for each of them."""
    monkeypatch.setenv("RAG_PORT", "99999")
    monkeypatch.setenv("RAG_RESILIENCE", "maybe")
    monkeypatch.setenv("RAG_CONTEXT__MAX_DOCUMENTS", "0")
    with pytest.raises(SettingsError) as error:
        load()
    text = str(error.value)
    assert "RAG_PORT is '99999'" in text
    assert "RAG_RESILIENCE is 'maybe'" in text
    assert "'on' or 'off'" in text
    assert "RAG_CONTEXT__MAX_DOCUMENTS is '0'" in text


def test_limits_that_leave_a_fallback_no_time_are_refused(monkeypatch):
    """Attempt caps with retries and the reserve must fit into the deadline."""
    monkeypatch.setenv("RAG_GENERATE__FIRST_TOKEN_S", "5")
    with pytest.raises(SettingsError, match=r"add up to 11\.45 s, but deadline_s is 10\.00 s"):
        load()
    monkeypatch.setenv("RAG_DEADLINE_S", "12")
    assert load().deadline_s == 12.0


def test_a_batch_that_waits_longer_than_embedding_may_take_is_refused(monkeypatch):
    """Every embedding would be late, and each answer would lose its vector leg."""
    monkeypatch.setenv("RAG_EMBED__LINGER_S", "0.5")
    with pytest.raises(SettingsError, match=r"embed\.linger_s 0\.5 is not below embed\.attempt_s 0\.5"):
        load()
    monkeypatch.setenv("RAG_EMBED__LINGER_S", "0.49")
    assert load().embed.linger_s == 0.49


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_a_duration_is_a_positive_finite_number(monkeypatch, value):
    """A limit of nan or inf would never fire."""
    monkeypatch.setenv("RAG_SEARCH__ATTEMPT_S", value)
    with pytest.raises(SettingsError, match="RAG_SEARCH__ATTEMPT_S"):
        load()


def test_every_name_of_the_door_is_known():
    """Note 0001, §2 promises these to the runner."""
    door = {
        "HOST",
        "PORT",
        "INDEX_DIR",
        "VECTOR_DB_URL",
        "VECTOR_DB_ADDRESS",
        "LLM_URL",
        "LLM_ADDRESS",
        "LLM_MODEL",
    }
    assert {f"RAG_{name}" for name in door | {"RESILIENCE"}} <= known_names()
