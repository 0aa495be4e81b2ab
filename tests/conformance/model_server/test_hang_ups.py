"""A caller who hangs up costs nothing more: the place is free at once, whether it ran or waited.

Each answer here would take more than ten seconds; a second is what the service's breaker and the experiments
count on. The negative control of each wait is the check before it: the places were taken.
"""

from __future__ import annotations

import time
from dataclasses import replace

import httpx
import pytest

from tests.conformance.model_server.live import CHAT, LONG, MAX_NUM_SEQS, Live, a_question, eventually
from tests.scenario.deaf_relay import deaf_relay

FREE_WITHIN_S = 3.0


def free_within(server: Live, running: int, waiting: int = 0) -> None:
    """The places are free long before the answers could have come to their end."""
    begun_s = time.monotonic()
    eventually(lambda: (server.running, server.waiting) == (running, waiting), "free")
    assert time.monotonic() - begun_s < FREE_WITHIN_S


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_who_hangs_up_frees_the_place(server: Live, path: str, stream: bool) -> None:
    """Streamed or not: nobody computes an answer that nobody reads."""
    with server.callers(2, path, stream=stream):
        eventually(lambda: server.running == 2, "running")
    free_within(server, 0)


def test_who_hangs_up_while_waiting_leaves_the_queue(server: Live) -> None:
    """The running ones go on; those who waited are gone."""
    with server.callers(MAX_NUM_SEQS):
        eventually(lambda: server.running == MAX_NUM_SEQS, "full")
        with server.callers(3):
            eventually(lambda: server.waiting == 3, "queueing")
        free_within(server, MAX_NUM_SEQS)


def test_a_freed_place_goes_to_who_waits(server: Live) -> None:
    """One hangs up, the next begins."""
    with server.callers(MAX_NUM_SEQS + 1) as held:
        eventually(lambda: (server.running, server.waiting) == (MAX_NUM_SEQS, 1), "one too many")
        held[0].close()
        free_within(server, MAX_NUM_SEQS)


def test_no_token_is_made_for_nobody(server: Live) -> None:
    """The count of generated tokens moves while they listen, and stands still when they have gone."""
    before = server.metric("generation_tokens_total")
    with server.callers(2):
        eventually(lambda: server.metric("generation_tokens_total") > before + 10, "generating")
    free_within(server, 0)
    after = server.metric("generation_tokens_total")
    time.sleep(0.5)
    assert server.metric("generation_tokens_total") == after
    assert after - before < 2 * LONG


def test_an_answer_that_was_given_up_is_no_success(server: Live) -> None:
    """It has had its first token and never comes to an end: the difference is how many were aborted."""
    begun = server.metric("time_to_first_token_seconds_count")
    ended = server.metric("request_success_total", finished_reason="length")
    whole = server.metric("e2e_request_latency_seconds_count")
    tokens = server.metric("generation_tokens_total")
    with server.callers(2):
        eventually(lambda: server.metric("generation_tokens_total") > tokens + 10, "begun")
    free_within(server, 0)
    assert server.metric("time_to_first_token_seconds_count") == begun + 2
    assert server.metric("request_success_total", finished_reason="length") == ended
    assert server.metric("e2e_request_latency_seconds_count") == whole


def test_a_hang_up_that_does_not_arrive_frees_nothing(server: Live) -> None:
    """The negative control: behind a relay that keeps the line open, answers are computed to their end."""
    ended = server.metric("request_success_total", finished_reason="length")
    url = server.client.base_url
    with deaf_relay(url.host, url.port or 0) as address, httpx.Client(base_url=f"http://{address}") as client:
        with replace(server, client=client).callers(2, max_tokens=600):
            eventually(lambda: server.running == 2, "running")
        eventually(lambda: server.running == 0, "at their end")
    assert server.metric("request_success_total", finished_reason="length") == ended + 2


def test_the_cache_is_given_back(server: Live) -> None:
    """KV blocks are taken while answers run, and given back with them."""
    with server.callers(2):
        eventually(lambda: server.metric("kv_cache_usage_perc") > 0, "in use")
    free_within(server, 0)
    eventually(lambda: server.metric("kv_cache_usage_perc") == 0, "given back")


def test_a_caller_who_has_heard_enough(server: Live) -> None:
    """Hanging up after the first tokens is the same as before them."""
    asked = server.body(CHAT, a_question(), stream=True, max_tokens=LONG, ignore_eos=True)
    with server.client.stream("POST", CHAT, json=asked) as answer:
        lines = answer.iter_lines()
        for _ in range(10):
            next(lines)
        assert server.running == 1
    free_within(server, 0)
