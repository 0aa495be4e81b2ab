"""Presets say where their figures are from, and a mistake in one is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from rag_service.model_server import presets
from rag_service.model_server.presets import PresetError

GOOD = """
title = "A machine"
source = "chosen"
[cost]
base_s = 0.01
[limits]
max_num_seqs = 4
max_num_batched_tokens = 100
max_model_len = 100
kv_blocks = 10
"""


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_be_used_and_has_a_source(name: str) -> None:
    """Figures without a source are somebody's guess."""
    preset = presets.load(name)
    assert preset.name == name
    assert len(preset.source) > 20 and len(preset.title) > 20


def test_the_default_is_among_them() -> None:
    """And so are those that the published curves are held against."""
    assert {presets.DEFAULT, "h100-llama-3.1-8b", "a100-llama-3.1-8b"} <= set(presets.names())


def test_a_file_is_a_preset_too(tmp_path: Path) -> None:
    """Its name is the file's; what it leaves out has vLLM's default."""
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    preset = presets.load(str(file))
    assert (preset.name, preset.cost.base_s, preset.limits.max_num_seqs) == ("mine", 0.01, 4)
    assert preset.limits.block_tokens == 16


def test_what_is_rendered_is_read_back() -> None:
    """A fitted preset can be used as it was written."""
    preset = presets.parse("mine", GOOD)
    preset = replace(preset, cost=replace(preset.cost, prefill_token_s=2.05e-05), title='A "quoted" title')
    assert presets.parse("mine", presets.render(preset)) == preset


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("base_s = 0.01", "bass_s = 0.01", "cost.bass_s is not a key; allowed are base_s, "),
        ("base_s = 0.01", "", "cost.base_s is missing"),
        ("base_s = 0.01", "base_s = '10ms'", "cost.base_s is '10ms'; it must be of type float"),
        ("base_s = 0.01", "base_s = true", "cost.base_s is True"),
        ("base_s = 0.01", "base_s = 0.0", "cost.base_s is 0"),
        ("max_num_seqs = 4", "max_num_seqs = 4.5", "limits.max_num_seqs is 4.5; it must be of type int"),
        ("max_num_seqs = 4", "max_num_seqs = true", "limits.max_num_seqs is True"),
        (
            "max_num_seqs = 4",
            "max_num_seqs = 4\nchunked_prefill = 1",
            "chunked_prefill is 1; it must be of type bool",
        ),
        ("kv_blocks = 10", "kv_blocks = 1", "hold only 16 tokens"),
        ("[cost]", "[costs]", "costs is not a key; allowed are title, source, cost, limits"),
        ('source = "chosen"', "", "source must be a text"),
        ('source = "chosen"', "source = ", "is not TOML"),
        ('title = "A machine"', 'title = "A machine"\ncost = 3', "is not TOML"),
    ],
)
def test_a_mistake_is_named(was: str, becomes: str, said: str) -> None:
    """The preset, the key, the value, and what is allowed."""
    assert was in GOOD
    with pytest.raises(PresetError, match="'mine'") as error:
        presets.parse("mine", GOOD.replace(was, becomes))
    assert said in str(error.value)


def test_an_unknown_name_lists_what_there_is() -> None:
    """A misspelt name is not taken for a file."""
    with pytest.raises(PresetError, match=r"'h1000' is no preset; there are .*laptop"):
        presets.load("h1000")
    with pytest.raises(PresetError, match="cannot be read"):
        presets.load("not-there.toml")
