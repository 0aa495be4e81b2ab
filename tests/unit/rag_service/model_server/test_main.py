"""What the command line changes of a preset, and what it refuses."""

import pytest

from rag_service.model_server import presets
from rag_service.model_server.__main__ import main, overridden, parser
from rag_service.model_server.presets import Preset, PresetError


def _preset(*flags: str) -> Preset:
    options = parser().parse_args(flags)
    return overridden(presets.load(options.preset), options)


def test_without_flags_it_is_the_default_preset() -> None:
    """80 ms, 8 ms, 64 places."""
    preset = _preset()
    assert preset == presets.load("laptop")
    assert preset.cost.base_s + preset.cost.request_s == pytest.approx(0.08)
    assert (preset.cost.base_s, preset.limits.max_num_seqs, preset.limits.max_waiting) == (0.008, 64, 10_000)


def test_flags_stand_above_the_preset() -> None:
    """Under the names that scenarios use, and under vLLM's."""
    preset = _preset("--first-token", "5ms", "--token", "1ms", "--max-running", "2", "--max-waiting", "0")
    assert (preset.cost.base_s, preset.cost.request_s) == (0.001, 0.004)
    assert (preset.limits.max_num_seqs, preset.limits.max_waiting) == (2, 0)
    assert _preset("--max-num-seqs", "2").limits.max_num_seqs == 2
    preset = _preset("--kv-blocks", "9000", "--no-enable-prefix-caching", "--max-model-len", "512")
    assert (preset.limits.kv_blocks, preset.limits.prefix_caching, preset.limits.max_model_len) == (
        9000,
        False,
        512,
    )


def test_a_token_time_of_ones_own_is_for_any_load() -> None:
    """`--token` says how long a step takes, however many share it."""
    cost = _preset("--preset", "h100-llama-3.1-8b", "--token", "3ms").cost
    assert (cost.base_s, cost.prefill_token_s, cost.decode_sequence_s) == (0.003, 0.0, 0.0)
    assert cost.request_s == presets.load("h100-llama-3.1-8b").cost.request_s


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--first-token", "5ms"), "--first-token is 0.005s; a first token takes at least one step"),
        (("--kv-blocks", "5"), "max_model_len is 131072, but kv_blocks"),
        (("--no-enable-chunked-prefill", "--max-num-batched-tokens", "200"), "without chunked prefill"),
    ],
)
def test_flags_that_contradict_the_preset_are_refused(flags: tuple[str, ...], said: str) -> None:
    """The value and what is allowed."""
    with pytest.raises(PresetError) as error:
        _preset(*flags)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--token", "8"), "write 80ms or 2s"),
        (("--first-token", "9999s"), "at most 3600s"),
        (("--max-running", "0"), "from 1 to"),
        (("--max-waiting", "-1"), "from 0 to"),
        (("--preset", "h1000"), "is no preset; there are a100-llama-3.1-8b,"),
        (("--kv-blocks", "5"), "raise kv_blocks"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(
    flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, no server."""
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line, with what it is."""
    assert main(["--list-presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(presets.names())
