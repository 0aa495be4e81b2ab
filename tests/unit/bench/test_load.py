"""The load generator: what it makes of whole, refused, cut and late answers, over loopback sockets."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from bench.load import Client, Target, main

STREAM = b"HTTP/1.1 200 OK\r\nx-rag-outcome: full\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(text):
    body = text.encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


TOKEN = chunk('event: token\ndata: {"text":"a"}\n\n')
END = b"0\r\n\r\n"


def asked_of(answer, *, give_up_s=5.0, times=1, hold=False, heads=None):
    """The exchanges of `times` questions, one after the other, with a peer that always says `answer`."""
    heads = [] if heads is None else heads

    async def peer(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
                writer.write(answer)
                if hold:
                    await reader.read()
                if not answer.endswith(END) and b"content-length" not in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def scene():
        server = await asyncio.start_server(peer, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        client = Client(Target(host, port, "/", True, give_up_s, 10.0), ["?"], random.Random(1))
        async with server:
            for _ in range(times):
                await client.ask(time.perf_counter())
        return client.exchanges

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("answer", "ending", "status", "tokens"),
    [
        (STREAM + TOKEN * 3 + chunk("event: done\ndata: {}\n\n") + END, "done", 200, 3),
        (STREAM + TOKEN + chunk("event: error\ndata: {}\n\n") + END, "error", 200, 1),
        (STREAM + TOKEN + END, "cut", 200, 1),
        (STREAM + TOKEN, "cut", 0, 1),
        (STREAM + chunk("data: x\n\n") + chunk("data: [DONE]\n\n") + END, "done", 200, 0),
        (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}", "done", 503, 0),
    ],
)
def test_an_answer_is_judged_by_its_status_and_last_event(answer, ending, status, tokens):
    """Done, failed, without a terminal event, cut off, a tutorial's, refused."""
    (found,) = asked_of(answer)
    assert (found.ending, found.status, found.tokens) == (ending, status, tokens)


def test_a_connection_is_used_again():
    """Both answers are read, each for its own exchange."""
    answer = STREAM + TOKEN + chunk("event: done\ndata: {}\n\n") + END
    assert [found.ending for found in asked_of(answer, times=2)] == ["done", "done"]


def test_the_rung_is_noted():
    """It tells the model's own answers from those made without it."""
    answer = STREAM.replace(b"full\r\n", b"degraded\r\nX-RAG-Rung: extractive\r\n")
    (found,) = asked_of(answer + TOKEN + chunk("event: done\ndata: {}\n\n") + END)
    assert (found.outcome, found.rung) == ("degraded", "extractive")


def test_a_user_who_leaves_does_not_announce_it():
    """The service is told the deadline, not when the user will hang up: else it would answer before."""
    heads = []
    asked_of(STREAM + TOKEN, give_up_s=0.05, hold=True, heads=heads)
    assert b"x-request-deadline-ms: 10000\r\n" in heads[0]


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_a_rate_of_nothing_is_refused(rate, monkeypatch, capsys):
    """It must not pass for a closed loop, which asks as fast as it can."""
    monkeypatch.setattr("sys.argv", ["load", "http://127.0.0.1:9/", "--rate", rate])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "is not above 0" in capsys.readouterr().err


def test_a_user_leaves_when_the_answer_takes_too_long():
    """What came by then is noted; the answer is not whole."""
    (found,) = asked_of(STREAM + TOKEN, give_up_s=0.05, hold=True)
    assert (found.ending, found.tokens, found.total_s) == ("given_up", 1, None)
