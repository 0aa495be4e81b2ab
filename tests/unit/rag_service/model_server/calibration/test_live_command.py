"""The command's manners: wrong flags are exit 2, a server that cannot be measured is exit 4."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rag_service.model_server import presets
from rag_service.model_server.calibration import __main__ as command
from rag_service.model_server.calibration.live import command as live
from rag_service.model_server.calibration.live.calibrate import Found, limits
from rag_service.model_server.calibration.live.comparison import Levels, compare
from rag_service.model_server.calibration.live.errors import CalibrationError
from rag_service.model_server.calibration.live.figures import Figures, Sample
from rag_service.model_server.calibration.live.load import Ask, Level, Range
from rag_service.model_server.calibration.live.measure import Measured
from rag_service.model_server.calibration.live.options import Options
from rag_service.model_server.calibration.live.server import Described
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset

SAMPLE = Sample(100, 20, 0.02, 0.005)
MEASURED = Measured(Level(1, (Ask(100, 20),) * 4, 1, 2), (SAMPLE,) * 4)
DESCRIBED = Described("tiny", "0.32.0", 4096, 500, 128)


def options(**changed: object) -> Options:
    given: dict[str, object] = {
        "against": "http://127.0.0.1:8000",
        "model": None,
        "concurrency": (1,),
        "prompt_tokens": Range(32, 512),
        "max_tokens": Range(16, 64),
        "requests": 40,
        "max_num_seqs": 64,
        "max_num_batched_tokens": None,
        "kv_blocks": None,
        "verify": False,
        "tolerance": 0.2,
        "seed": 1,
        "out": None,
        "plot": None,
        "json": None,
    }
    return Options(**(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--against"),
        (["--against", "http://192.0.2.1:8000"], "loopback only"),
        (["--concurrency", "1,1"], "different numbers"),
        (["--concurrency", "0"], "from 1 to 1024"),
        (["--prompt-tokens", "512-32"], "not a range"),
        (["--max-tokens", "1"], "from 4 to"),
        (["--requests", "5"], "95th percentile"),
        (["--tolerance", "20"], "between 0 and 1"),
        (["--tolerance", "x"], "between 0 and 1"),
        (["--max-num-seqs", "0"], "whole number"),
        (["--seed", "x"], "whole number from 0"),
        (["--out", "no/such/folder/p.toml"], "cannot be written"),
        (["--bogus"], "bogus"),
    ],
)
def test_wrong_flags_are_exit_2(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent, with what is allowed."""
    against = [] if not flags or flags[0] == "--against" else ["--against", "http://127.0.0.1:9"]
    with pytest.raises(SystemExit) as ended:
        command.main(["live", *against, *flags])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_nobody_at_the_address_is_exit_4(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, no traceback."""
    assert command.main(["live", "--against", "http://127.0.0.1:9"]) == 4
    said = capsys.readouterr()
    assert "error: no OpenAI-compatible server answers at http://127.0.0.1:9" in said.err
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(("off_ratio", "code"), [(1.1, 0), (1.3, 1)])
def test_the_exit_code_says_whether_it_holds_and_the_files_are_written(
    off_ratio: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A preset that the simulator takes, with date, load and error in its source; plot and JSON beside it."""
    was = MEASURED.figures
    now = Figures(was.first_token_p50_s * off_ratio, *was.all_s()[1:])
    preset = Preset(
        "mine", "tiny as it was measured", "measured", Cost(0.005), limits(DESCRIBED, options(), [])
    )
    found = Found(7, DESCRIBED, preset, (MEASURED,), compare([Levels(1, was, now)]))

    async def calibrated(*_: object) -> Found:
        return found

    monkeypatch.setattr(live, "calibrate", calibrated)
    files = {"out": tmp_path / "mine.toml", "plot": tmp_path / "mine.svg", "json": tmp_path / "mine.json"}
    asked = options(**files)
    assert live.run(asked, lambda: 0.0, lambda: datetime(2026, 11, 22, tzinfo=UTC)) == code
    said = capsys.readouterr().out
    assert ("every figure is within 20%" in said) is (code == 0)
    written = presets.load(str(files["out"]))
    assert (written.cost, written.limits) == (preset.cost, preset.limits)
    for part in ("2026-11-22", "seed 7", "model tiny", "at most"):
        assert part in written.source
    assert files["plot"].read_text().startswith("<svg") and '"rows"' in files["json"].read_text()


@pytest.mark.parametrize(("given", "used"), [(None, 41), (5, 5)])
def test_every_run_has_a_seed_of_its_own_unless_one_is_given(
    given: int | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same prompts again would be in the server's prefix cache, and their first tokens too early."""
    seen: list[int] = []

    async def calibrated(_: Options, seed: int, *__: object) -> Found:
        seen.append(seed)
        raise CalibrationError("enough")

    monkeypatch.setattr(live, "calibrate", calibrated)
    assert live.run(options(seed=given), lambda: 0.0, new_seed=lambda: 41) == 4
    assert seen == [used]


def test_limits_are_what_was_told_else_what_the_server_says_else_defaults() -> None:
    """And what contradicts itself is said before the fit."""
    found = limits(DESCRIBED, options(kv_blocks=600), [MEASURED])
    assert (found.max_num_seqs, found.max_num_batched_tokens, found.max_model_len) == (64, 2048, 4096)
    assert (found.kv_blocks, found.block_tokens) == (600, 128)
    found = limits(Described("m", None, None, None, None), options(max_num_seqs=None), [MEASURED])
    assert (found.max_num_seqs, found.max_model_len, found.block_tokens) == (256, 8192, 16)
    with pytest.raises(CalibrationError, match="max_model_len"):
        limits(DESCRIBED, options(kv_blocks=5), [MEASURED])
