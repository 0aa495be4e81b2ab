"""Everything that can be set, from the environment: `RAG_PORT=8080`, `RAG_SEARCH__ATTEMPT_S=0.3`.

A wrong setting must end the start, not an answer weeks later: unknown `RAG_` names are refused (a misspelt
timeout would silently keep its default), and so is a set of limits that leaves a fallback no time.
Outer and inner timeouts of the same length have made a fallback unreachable in public incidents.
Defaults are budgets for a service whose users wait: a search that takes 300 ms is not worth more waiting.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RAG_"

#: Libraries, the index, the event loop, telemetry.
_SPARE_FILES = 64

Seconds = Annotated[float, Field(gt=0.0, le=300.0)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Ratio = Annotated[float, Field(gt=0.0, le=1.0)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbedSettings(_Group):
    """The embedder's batches and its queue."""

    max_batch: Annotated[int, Field(ge=1, le=256)] = 32
    max_batch_characters: Count = 4096
    linger_s: Annotated[float, Field(ge=0.0, le=1.0)] = 0.004
    queue_deadline_s: Seconds = 0.1
    max_queue: Count = 64
    attempt_s: Seconds = 0.5
    threads: Annotated[int, Field(ge=1, le=256)] = 1


class SearchSettings(_Group):
    """Calls of the vector DB."""

    connect_s: Seconds = 0.25
    attempt_s: Seconds = 0.3
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    max_in_flight: Count = 32
    hedge_after_s: Annotated[float, Field(ge=0.0, le=300.0)] = 0.0
    hedge_p95: bool = False
    hedge_ratio: Ratio = 0.05


class ContextSettings(_Group):
    """What goes into the prompt."""

    max_documents: Annotated[int, Field(ge=1, le=20)] = 4
    max_tokens: Annotated[int, Field(ge=32, le=100_000)] = 1024
    brief_documents: Annotated[int, Field(ge=1, le=20)] = 2


class GenerateSettings(_Group):
    """Calls of the model server."""

    connect_s: Seconds = 0.25
    first_token_s: Seconds = 2.0
    token_gap_s: Seconds = 3.0
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 256
    brief_max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 96
    max_in_flight: Count = 64
    limiter: Literal["fixed", "aimd", "gradient2"] = "gradient2"


class BreakerSettings(_Group):
    """Both breakers; `slow_*` is what counts as a slow call of each dependency."""

    window_s: Seconds = 10.0
    min_calls: Count = 10
    failure_ratio: Ratio = 0.5
    slow_ratio: Ratio = 0.8
    slow_search_s: Seconds = 0.3
    slow_first_token_s: Seconds = 1.5
    open_s: Seconds = 5.0
    max_open_s: Seconds = 10.0
    probes: Annotated[int, Field(ge=1, le=100)] = 3


class RetrySettings(_Group):
    """The one retry loop of each path."""

    budget_ratio: Ratio = 0.1
    budget_minimum: Count = 3
    budget_window_s: Seconds = 10.0
    min_wait_s: Seconds = 0.02
    max_wait_s: Seconds = 0.05
    max_retry_after_s: Annotated[float, Field(ge=0.0, le=60.0)] = 2.0


class CacheSettings(_Group):
    """Full answers kept, to stand in when no better one can be made."""

    when: Literal["fallback", "always", "never"] = "fallback"
    max_entries: Count = 1000
    max_bytes: Annotated[int, Field(ge=4096, le=2**34)] = 2**24
    ttl_s: Annotated[float, Field(gt=0.0, le=7 * 86400.0)] = 3600.0
    min_similarity: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9


class AdmissionSettings(_Group):
    """How many answers are made at a time."""

    max_in_flight: Count = 128
    limiter: Literal["fixed", "aimd", "gradient2"] = "fixed"
    max_wait_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.03
    brief_above: Ratio = 0.75
    retry_after_s: Seconds = 1.0


class Settings(BaseSettings):
    """The service's settings. Load them with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=False
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    index_dir: Path = Path(".ragquake/index")
    corpus_poll_s: Seconds = 2.0
    vector_db_url: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] = "http://127.0.0.1:8091"
    vector_db_address: Annotated[str, Field(pattern=r"^.+:\d+$")] = "127.0.0.1:8091"
    llm_url: Annotated[str, Field(pattern=r"^https?://.+/v1/?$")] = "http://127.0.0.1:8092/v1"
    llm_address: Annotated[str, Field(pattern=r"^.+:\d+$")] = "127.0.0.1:8092"
    llm_model: Annotated[str, Field(min_length=1, max_length=200)] = "ragquake-simulator"
    resilience: Literal["on", "off"] = "on"
    deadline_s: Seconds = 10.0
    max_deadline_s: Seconds = 60.0
    fallback_reserve_s: Seconds = 0.25
    drain_s: Annotated[float, Field(ge=0.0, le=300.0)] = 4.0
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 10.0
    write_timeout_s: Seconds = 10.0
    max_connections: Count = 4096

    embed: EmbedSettings = EmbedSettings()
    search: SearchSettings = SearchSettings()
    context: ContextSettings = ContextSettings()
    generate: GenerateSettings = GenerateSettings()
    breaker: BreakerSettings = BreakerSettings()
    retry: RetrySettings = RetrySettings()
    admission: AdmissionSettings = AdmissionSettings()
    cache: CacheSettings = CacheSettings()

    @property
    def protected(self) -> bool:
        return self.resilience == "on"

    @property
    def open_files(self) -> int:
        """The most descriptors that callers and both pools may take, and some to spare."""
        pools = 2 * (self.search.max_in_flight + self.generate.max_in_flight)
        return self.max_connections + pools + _SPARE_FILES

    @model_validator(mode="after")
    def _fallback_is_reachable(self) -> Self:
        worst_s = (
            self.embed.attempt_s
            + self._all_attempts_s(self.search.attempt_s + self._hedge_wait_s(), self.search.attempts)
            + self._all_attempts_s(self.generate.first_token_s, self.generate.attempts)
            + self.fallback_reserve_s
        )
        if worst_s > self.deadline_s:
            raise ValueError(
                f"embed, search and first-token limits with their retries and fallback_reserve_s add up to "
                f"{worst_s:.2f} s, but deadline_s is {self.deadline_s:.2f} s, so a fallback could be late; "
                f"lower attempt limits or raise RAG_DEADLINE_S"
            )
        if self.embed.linger_s >= self.embed.attempt_s:
            raise ValueError(
                f"embed.linger_s {self.embed.linger_s:g} is not below embed.attempt_s "
                f"{self.embed.attempt_s:g}, so every embedding would be late; lower it"
            )
        if self.search.hedge_after_s >= self.search.attempt_s:
            raise ValueError(
                f"search.hedge_after_s {self.search.hedge_after_s:g} is not below search.attempt_s "
                f"{self.search.attempt_s:g}, so no hedge would ever start; lower it, or set 0 for no hedging"
            )
        if self.search.hedge_p95 and not self.search.hedge_after_s:
            raise ValueError(
                "search.hedge_p95 is set but search.hedge_after_s is 0, which means no hedging; "
                "set the shortest wait before a hedge"
            )
        if self.deadline_s > self.max_deadline_s:
            raise ValueError(
                f"deadline_s {self.deadline_s:g} is above max_deadline_s {self.max_deadline_s:g}"
            )
        if self.retry.min_wait_s > self.retry.max_wait_s:
            raise ValueError(
                f"retry.min_wait_s {self.retry.min_wait_s:g} is above max_wait_s {self.retry.max_wait_s:g}"
            )
        return self

    def _hedge_wait_s(self) -> float:
        """How much later than its first attempt a search may end: a hedge has a whole attempt's time."""
        return self.search.attempt_s if self.search.hedge_p95 else self.search.hedge_after_s

    def _all_attempts_s(self, attempt_s: float, attempts: int) -> float:
        return attempts * attempt_s + (attempts - 1) * self.retry.max_wait_s


class SettingsError(Exception):
    """One or more settings are wrong; each line names one, its value and what is allowed."""


def known_names() -> frozenset[str]:
    """All environment names that mean something."""
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, _Group):
            names.update(f"{PREFIX}{name}__{inner}".upper() for inner in group.model_fields)
        else:
            names.add(f"{PREFIX}{name}".upper())
    return frozenset(names)


def load() -> Settings:
    """The settings of this process, from its environment. Raises SettingsError with one line per mistake."""
    known = known_names()
    mistakes = []
    for name in sorted(name for name in os.environ if name.upper().startswith(PREFIX)):
        if name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), sorted(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            mistakes.append(f"{name} is not a setting{hint}")
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = (
                PREFIX + "__".join(str(part) for part in problem["loc"]).upper()
                if problem["loc"]
                else "settings"
            )
            value = f" is {problem['input']!r}" if problem["loc"] else ""
            lines.append(f"{where}{value}: {problem['msg']}")
        raise SettingsError("\n".join(lines)) from error
