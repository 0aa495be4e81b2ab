"""The H100 presets reproduce what was measured on an H100, in virtual time."""

from dataclasses import replace

import pytest

from rag_service.model_server import presets
from rag_service.model_server.calibration import __main__ as command
from rag_service.model_server.calibration.curve import Comparison, compare, table
from rag_service.model_server.calibration.published import CURVES, Curve
from rag_service.model_server.presets import Preset

SECONDS = 25.0  # long enough for the queue of an overload to fill
H100, MORE_PLACES, PREFIX = CURVES


def _compared(curve: Curve, preset: Preset | None = None) -> Comparison:
    """At all rates but the deepest overload, which only repeats the one before."""
    return compare(curve, preset or presets.load(curve.preset), rates=curve.rates[:5], seconds=SECONDS)


def test_the_h100_preset_reproduces_the_published_curve() -> None:
    """Within 10 % of 6.8 + 0.104·N ms at 16, 40, 89 and 124; the first token leaps between 92 and 123/s."""
    compared = _compared(H100)
    assert [round(point.published.decoding) for point in compared.points] == [0, 16, 40, 89, 124]
    for point in compared.points:
        assert point.simulated.decoding == pytest.approx(point.published.decoding, rel=0.15, abs=0.2)
        line_s = 0.0068 + 0.000104 * point.simulated.decoding
        assert point.simulated.token_s == pytest.approx(line_s, rel=0.1)
    before, after = compared.points[3].simulated, compared.points[4].simulated
    assert (before.offered_per_s, after.offered_per_s) == (92.2, 122.6)
    assert before.first_token_p50_s < 0.08 and after.first_token_p50_s > 1.0
    assert compared.holds


@pytest.mark.parametrize("curve", [MORE_PLACES, PREFIX], ids=["192 places", "chunks and prefix cache"])
def test_the_other_published_ways_of_starting_it_follow_from_their_limits(curve: Curve) -> None:
    """The same cost; only what vLLM was told differs."""
    assert presets.load(curve.preset).cost == presets.load(H100.preset).cost
    compared = compare(curve, presets.load(curve.preset), rates=curve.rates[:6], seconds=SECONDS)
    assert compared.holds, table((compared,))


def test_another_cost_or_other_limits_do_not_reproduce_it() -> None:
    """A comparison that nothing can fail would prove nothing."""
    preset = presets.load(H100.preset)
    slower = replace(preset, cost=replace(preset.cost, base_s=preset.cost.base_s * 1.2))
    assert not _compared(H100, slower).holds
    no_decoding_cost = replace(preset, cost=replace(preset.cost, decode_sequence_s=0.0))
    assert not _compared(H100, no_decoding_cost).holds
    more_places = replace(preset, limits=replace(preset.limits, max_num_seqs=1024))
    assert not _compared(H100, more_places).jumps_alike


def test_a_plot_that_cannot_be_written_is_exit_2_before_anything_is_simulated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the file's name, not with a traceback after the simulation."""
    with pytest.raises(SystemExit) as ended:
        command.main(["curve", "--plot", "no/such/folder/curves.svg"])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "'no/such/folder/curves.svg' cannot be written" in said.err and not said.out


def test_the_command_prints_the_tables_and_fails_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 and the preset's name."""
    few = replace(H100, rates=H100.rates[:1])
    monkeypatch.setattr("rag_service.model_server.calibration.published.CURVES", (few,))
    assert command.main(["curve"]) == 0
    assert "published" in capsys.readouterr().out
    wrong = replace(few, rates=(replace(few.rates[0], token_s=0.02),))
    monkeypatch.setattr("rag_service.model_server.calibration.published.CURVES", (wrong,))
    assert command.main(["curve"]) == 1
    said = capsys.readouterr().out
    assert "beyond the limits" in said and "h100-llama-3.1-8b" in said.splitlines()[-1]
