"""The ladder walked by the whole service: brief answers, kept answers, and the label on each."""

from __future__ import annotations

import asyncio
import json

import httpx
import numpy as np
import pytest

from rag_service.segments.documents import Documents
from rag_service.segments.live_corpus import Corpus

REFUSED = httpx.ConnectError("refused")


def token(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def ending(reason):
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def spans(service):
    return [dict(span.attributes) for span in service.finished("POST /v1/answers")]


def ask_then_lose_the_model(service, then="rename a file", **fields):
    """One answer while all is well, then one without the model; the second response."""

    async def both():
        first = await service.ask()
        assert first.json()["outcome"] == "full"
        service.up.answer = REFUSED
        return await service.ask(then, **fields)

    return both()


class TestKeptAnswers:
    """They stand in when the model cannot answer, and say so."""

    def test_the_same_question_is_answered_from_the_exact_cache(self, run, make_service):
        """Outcome, rung and loss in body, header and span; the text and citations are those of before."""
        service = make_service()
        response = run(ask_then_lose_the_model(service))
        body = response.json()
        assert (body["answer"], body["outcome"]) == ("Hello world", "cached")
        assert [citation["id"] for citation in body["citations"]] == ["a", "b"]
        assert body["degraded"] == [
            {"segment": "generate", "reason": "connect_error", "fallback": "exact_cache"}
        ]
        assert response.headers["x-rag-outcome"] == "cached"
        assert response.headers["x-rag-rung"] == "exact_cache"
        first, second = spans(service)
        assert (first["rag.degradation.rung"], second["rag.degradation.rung"]) == ("full", "exact_cache")
        assert (second["rag.outcome"], second["rag.cache.hit"]) == ("cached", "exact")
        assert "rag.cache.hit" not in first
        metrics = run(service.send("GET", "/metrics")).text
        assert "rag_cache_entries 1.0" in metrics

    def test_a_stream_is_kept_and_given_again(self, run, make_service):
        """One token event with the whole text, then done."""
        service = make_service()

        async def both():
            assert "event: done" in (await service.ask(stream=True)).text
            service.up.answer = REFUSED
            return await service.ask(stream=True)

        text = run(both()).text
        assert text.count("event: token") == text.count("event: done") == 1
        assert '"outcome":"cached"' in text
        assert "Hello world" in text

    def test_a_question_that_asks_the_same_is_answered_from_the_semantic_cache(self, run, make_service):
        """The scripted embedder knows one vector, so that only the guards decide."""
        service = make_service()
        response = run(ask_then_lose_the_model(service, "please rename a file"))
        assert response.json()["outcome"] == "cached"
        assert response.headers["x-rag-rung"] == "semantic_cache"
        assert spans(service)[1]["rag.cache.hit"] == "semantic"

    def test_the_opposite_question_is_not(self, run, make_service):
        """Same vector, other meaning: the passages answer, and say so."""
        service = make_service()
        body = run(ask_then_lose_the_model(service, "do not rename a file")).json()
        assert body["outcome"] == "degraded"
        assert body["degraded"][0]["fallback"] == "extractive"

    def test_without_an_embedding_only_the_same_question_hits(self, run, make_service):
        """Embedder and model are gone: exact hits still come, like ones do not."""
        service = make_service()

        async def ask():
            await service.ask()
            service.up.answer = REFUSED
            service.app.state.model.delay_s = 60.0
            return [await service.ask(), await service.ask("please rename a file")]

        same, alike = run(ask())
        assert same.json()["outcome"] == "cached"
        assert {loss["fallback"] for loss in same.json()["degraded"]} == {"exact_cache"}
        assert {loss["segment"] for loss in same.json()["degraded"]} == {"embed", "generate"}
        assert alike.headers["x-rag-rung"] == "extractive"

    def test_a_kept_answer_is_better_than_a_refusal(self, run, make_service):
        """No leg and no model: what was answered before is all there is."""
        service = make_service()
        service.up.search = ["a"]

        async def both():
            assert (await service.ask("zebra")).json()["outcome"] == "full"
            service.up.search = REFUSED
            return await service.ask("zebra"), await service.ask("gnu 2")

        again, other = run(both())
        assert again.headers["x-rag-rung"] == "exact_cache"
        assert other.status_code == 503

    def test_an_answer_that_ends_after_a_swap_of_the_corpus_is_not_kept(self, run, make_service):
        """It would push out every answer that was already kept of the new one."""
        service = make_service()
        live = service.app.state.live

        async def swapped():
            service.up.answer = [token("Old "), 1.0, token("answer"), ending("stop")]
            late = asyncio.ensure_future(service.ask("close a socket"))
            await asyncio.sleep(0.5)
            live.current = Corpus.of(Documents(live.current.documents.all, "new"))
            service.up.stamp = "new"
            service.up.answer = [token("New answer"), ending("stop")]
            assert (await service.ask()).json()["outcome"] == "full"
            assert (await late).json()["answer"] == "Old answer"
            service.up.answer = REFUSED
            return await service.ask(), await service.ask("close a socket")

        again, late_again = run(swapped())
        assert (again.headers["x-rag-rung"], again.json()["answer"]) == ("exact_cache", "New answer")
        assert late_again.headers["x-rag-rung"] == "extractive"

    def test_a_healthy_model_is_always_asked(self, run, make_service):
        """In front of it a cache would hide what an experiment measures."""
        service = make_service()

        async def twice():
            return [await service.ask(), await service.ask()]

        assert [response.json()["outcome"] for response in run(twice())] == ["full", "full"]
        assert service.up.generations == 2

    def test_always_means_before_anything_is_asked(self, run, make_service):
        """Labelled as cached, but nothing was lost: no search, no generation."""
        service = make_service(cache={"when": "always"})

        async def twice():
            return [await service.ask(), await service.ask()]

        again = run(twice())[1]
        assert (again.json()["outcome"], again.json()["degraded"]) == ("cached", [])
        assert again.headers["x-rag-rung"] == "exact_cache"
        assert (service.up.searches, service.up.generations) == (1, 1)
        assert spans(service)[1]["rag.cache.hit"] == "exact"

    @pytest.mark.parametrize("settings", [{"cache": {"when": "never"}}, {"resilience": "off"}])
    def test_never_and_resilience_off_keep_nothing(self, run, make_service, settings):
        """The negative control: the same steps, and no kept answer."""
        response = run(ask_then_lose_the_model(make_service(**settings)))
        assert response.json()["outcome"] in ("degraded", "error")

    def test_after_its_time_an_answer_is_forgotten(self, run, make_service):
        """The clock of the service is real, so the time to live is nothing here."""
        service = make_service(cache={"ttl_s": 1e-9})
        assert run(ask_then_lose_the_model(service)).headers["x-rag-rung"] == "extractive"

    @pytest.mark.parametrize(
        ("answer", "search"),
        [
            ([token("Half "), ending("length")], None),
            ([token("Half "), ending("abort")], None),
            ([token("Half ")], None),
            (None, REFUSED),
            (None, []),
        ],
    )
    def test_only_whole_full_answers_are_kept(self, run, make_service, answer, search):
        """Not what was cut at its length, aborted, broken off, or made without the vector leg."""
        service = make_service()
        service.up.answer = answer or service.up.answer
        service.up.search = service.up.search if search is None else search

        async def both():
            await service.ask(stream=True)
            service.up.answer = REFUSED
            return await service.ask()

        assert run(both()).headers["x-rag-rung"] == "extractive"

    def test_another_corpus_is_never_answered_from_the_old_one(self, run, make_service):
        """What was kept before an ingest names documents that may be gone."""
        service = make_service()

        async def both():
            await service.ask()
            service.up.answer = REFUSED
            service.app.state.live.current = Corpus.of(
                Documents(service.app.state.live.current.documents.all, "new")
            )
            service.up.stamp = "new"
            return await service.ask()

        assert run(both()).headers["x-rag-rung"] == "extractive"


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_json_answer_says_whether_it_was_cut(run, make_service, reason):
    """One that ended at its most tokens looks whole otherwise; a stand-in is whole."""
    service = make_service()
    service.up.answer = [token("Hello"), ending(reason)]
    body = run(service.ask()).json()
    assert (body["outcome"], body["finish_reason"]) == ("full", reason)
    service.up.answer = REFUSED
    assert run(service.ask("close the socket")).json()["finish_reason"] == "stop"


class TestPressure:
    """Above a share of the limit answers are made shorter, and say so, before any is refused."""

    def crowd(self, service, number, **fields):
        async def together():
            return await asyncio.gather(*(service.ask(stream=True, **fields) for _ in range(number)))

        return together()

    def test_the_last_quarter_is_answered_briefly(self, run, make_service):
        """Fewer documents, fewer tokens, and the label; the first three quarters are full."""
        service = make_service(admission={"max_in_flight": 8}, generate={"brief_max_tokens": 40})
        service.up.answer = [0.5, token("Hello"), ending("stop")]
        responses = run(self.crowd(service, 8, criticality="critical"))
        rungs = sorted(response.headers["x-rag-rung"] for response in responses)
        assert rungs == ["brief"] * 2 + ["full"] * 6
        brief = next(one for one in responses if one.headers["x-rag-rung"] == "brief")
        assert brief.headers["x-rag-outcome"] == "degraded"
        assert '{"segment":"request","reason":"pressure","fallback":"brief"}' in brief.text
        chats = [span for span in service.finished() if span.name.startswith("chat ")]
        assert sorted(span.attributes["gen_ai.request.max_tokens"] for span in chats) == [40] * 2 + [256] * 6

    def test_a_brief_answer_draws_on_fewer_documents(self, run, make_service):
        """Two by default of the four that a full one has; here one of two."""
        service = make_service(admission={"max_in_flight": 2}, context={"brief_documents": 1})
        service.up.answer = [0.5, token("Hello"), ending("stop")]

        async def two():
            return await asyncio.gather(*(service.ask(criticality="critical") for _ in range(2)))

        bodies = [response.json() for response in run(two())]
        assert sorted((body["rung"], len(body["citations"])) for body in bodies) == [
            ("brief", 1),
            ("full", 2),
        ]

    @pytest.mark.parametrize(("slow_s", "limit"), [(1.5, 20.0), (1e-6, 18.0)])
    def test_an_impatient_caller_does_not_shrink_the_limit(self, run, make_service, slow_s, limit):
        """Its clock stands nearly still here: given up early, unless a millionth of a second is slow."""
        service = make_service(admission={"limiter": "aimd"}, breaker={"slow_first_token_s": slow_s})
        service.up.answer = [5.0, token("late"), ending("stop")]

        async def look():
            answered = await service.ask(headers={"x-request-deadline-ms": "1000"})
            assert answered.headers["x-rag-rung"] == "extractive"
            return (await service.send("GET", "/metrics")).text

        assert f"rag_admission_limit {limit}" in run(look())

    def test_a_refusal_names_its_rung_too(self, run, make_service):
        """In header and span, with a `Retry-After` that differs from caller to caller."""
        service = make_service(admission={"max_in_flight": 2})
        service.up.answer = [0.5, token("Hello"), ending("stop")]
        responses = run(self.crowd(service, 30, criticality="sheddable"))
        refused = [one for one in responses if one.status_code == 503]
        assert len(refused) == 29
        assert {one.headers["x-rag-rung"] for one in refused} == {"refusal"}
        assert {one.headers["retry-after"] for one in refused} == {"1", "2", "3"}
        assert {one["rag.degradation.rung"] for one in spans(service)} == {"full", "refusal"}

    def test_with_resilience_off_nobody_is_brief(self, run, make_service):
        """There is no limit to come near to."""
        service = make_service(resilience="off", admission={"max_in_flight": 1})
        responses = run(self.crowd(service, 4))
        assert {response.headers["x-rag-rung"] for response in responses} == {"full"}

    def test_a_place_that_comes_free_in_time_is_taken(self, run, make_service):
        """The second waits its milliseconds instead of being refused; with no time to wait it is refused."""
        for max_wait_s, statuses in ((0.03, [200, 200]), (0.0, [200, 503])):
            service = make_service(admission={"max_in_flight": 1, "max_wait_s": max_wait_s})
            service.up.answer = [0.01, token("Hello"), ending("stop")]
            responses = run(self.crowd(service, 2, criticality="critical"))
            assert sorted(response.status_code for response in responses) == statuses


def test_an_empty_search_is_labelled(run, make_service):
    """The nearest documents always exist: none is a failure of the vector DB, whatever its status."""
    service = make_service()
    service.up.search = []
    body = run(service.ask()).json()
    assert (body["outcome"], body["rung"]) == ("degraded", "lexical")
    assert body["degraded"] == [{"segment": "retrieve", "reason": "empty_result", "fallback": "lexical"}]


def test_a_search_of_documents_that_nobody_knows_is_empty_too(run, make_service):
    """Ids without a text cannot be cited."""
    service = make_service()
    service.up.search = ["ghost"]
    assert run(service.ask()).json()["degraded"][0]["reason"] == "empty_result"


def test_vectors_of_another_length_are_labelled_and_open_no_breaker(run, make_service):
    """The DB is right to refuse them: each answer says why it is lexical, and each search is still sent."""
    service = make_service()
    service.up.search, service.up.search_code = 422, "wrong_dimension"

    async def many():
        return [await service.ask() for _ in range(20)]

    responses = run(many())
    assert {one.json()["degraded"][0]["reason"] for one in responses} == {"wrong_dimension"}
    assert {one.headers["x-rag-rung"] for one in responses} == {"lexical"}
    assert service.up.searches == 20


def test_the_models_vector_is_of_length_one():
    """What the semantic cache's product takes for granted of the scripted embedder is near enough."""
    assert abs(np.linalg.norm(np.full(384, 0.05)) - 1.0) < 0.03
