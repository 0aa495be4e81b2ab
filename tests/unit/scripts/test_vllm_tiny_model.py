"""The tiny model says text, comes to an end, and is the same each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import vllm_tiny_model
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    words = [f"word{number} of the corpus, naïve or not.\n" for number in range(2000)]
    return ["".join(words[start : start + 20]) for start in range(0, 2000, 20)]


def test_only_text_can_be_said(corpus: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows of zeros for roles, half characters and control characters; ASCII text and the end have rows."""
    monkeypatch.setattr("vllm_tiny_model.texts", lambda _index: corpus)
    vllm_tiny_model.make(tmp_path, tmp_path / "tiny")
    vocabulary = json.loads((tmp_path / "tiny" / "tokenizer.json").read_text())["model"]["vocab"]
    last = load_file(tmp_path / "tiny" / "model.safetensors")["lm_head.weight"]
    sayable = np.abs(last).sum(axis=1) > 0
    assert sayable[vocabulary["a"]] and sayable[vocabulary["Ġ"]] and sayable[vocabulary["Ċ"]]
    assert not sayable[vocabulary["Ã"]], "the first half of an ï"
    assert not sayable[vocabulary["Ā"]], "the byte 0"
    added = json.loads((tmp_path / "tiny" / "tokenizer.json").read_text())["added_tokens"]
    spoken = [token["content"] for token in added if sayable[token["id"]]]
    assert spoken == [vllm_tiny_model.END]
    assert not sayable[max(vocabulary.values()) + 1 :].any(), "ids beyond the tokenizer's"


def test_what_is_text() -> None:
    """Half a character decodes to U+FFFD, which is not ASCII."""
    assert [vllm_tiny_model.is_text(token) for token in ("a", " the", "\n", "", "\ufffd", "é", "\x00")] == [
        *(True, True, True),
        *(False, False, False, False),
    ]


def test_the_model_is_the_same_each_time() -> None:
    """Weights come from a seed, so figures of two machines are about the same model."""
    sayable = [True] * vllm_tiny_model.VOCABULARY
    one, other = vllm_tiny_model.weights(sayable, 1), vllm_tiny_model.weights(sayable, 1)
    assert all((one[name] == other[name]).all() for name in one)
    shapes = {name: value.shape for name, value in one.items()}
    assert shapes["model.layers.1.self_attn.k_proj.weight"] == (128, 256)
    assert shapes["lm_head.weight"] == (4096, 256)
