"""The model's thread: what goes wrong in it is a loss for its callers, never a hang or a crash of theirs."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from rag_service.errors import DependencyError, Overloaded
from rag_service.segments import embedder
from rag_service.segments.embedder import ModelThread


class Panic(BaseException):
    """As a panic in a Rust extension arrives: no Exception."""


class Model:
    """Encodes each text as its length; some texts it cannot bear."""

    def __init__(self):
        self.may_panic = threading.Event()

    def encode(self, texts, **_):
        if "bad" in texts:
            raise ValueError("cannot tokenize")
        if "panic" in texts:
            self.may_panic.wait(5.0)
            raise Panic("index out of bounds")
        return np.array([[float(len(text))] for text in texts], dtype=np.float32)


@pytest.fixture
def model(monkeypatch):
    made = Model()
    monkeypatch.setattr(embedder, "_load_model", lambda _: made)
    monkeypatch.setattr(embedder.gc, "freeze", lambda: None)
    return made


@pytest.fixture
def thread(model):
    """A thread that has loaded the model."""
    assert embedder._load_model(1) is model
    started = ModelThread()
    started.start()
    assert started._warm.wait(5.0)
    return started


def test_it_encodes(thread):
    """Negative control: a thread that is well."""
    assert thread.ready
    assert asyncio.run(thread.encode(["four"]))[0][0] == 4.0


def test_what_one_text_does_to_the_model_is_a_loss_and_no_end(thread):
    """An exception is the dependency's error, by name, and the next text is encoded."""

    async def scene():
        with pytest.raises(DependencyError, match="ValueError: cannot tokenize") as raised:
            await thread.encode(["bad"])
        return raised.value.reason, await thread.encode(["four"])

    reason, vectors = asyncio.run(scene())
    assert reason == "encoding_failed"
    assert vectors[0][0] == 4.0
    assert thread.ready


def test_a_panic_ends_readiness_and_reaches_everybody(thread, model):
    """Its caller, and those who were queued behind it, are told; later ones are refused at once."""

    async def scene():
        asked = [asyncio.create_task(thread.encode([text])) for text in ("panic", "behind", "it")]
        await asyncio.sleep(0)
        model.may_panic.set()
        async with asyncio.timeout(5.0):
            results = await asyncio.gather(*asked, return_exceptions=True)
        with pytest.raises(Overloaded, match="the model has failed"):
            await thread.encode(["later"])
        return results

    results = asyncio.run(scene())
    assert [type(result) for result in results] == [DependencyError] * 3
    assert "Panic: index out of bounds" in str(results[1])
    assert isinstance(thread.failure, Panic)
    assert not thread.ready
