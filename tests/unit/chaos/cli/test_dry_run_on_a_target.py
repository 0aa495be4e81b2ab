"""A dry run on a target that runs already: which proxies a fault would go into, and that nothing is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from chaos.cli.plan import show_forecast
from chaos.experiment import BUNDLED, load_experiment
from chaos.run.forecast import forecast
from chaos.run.surroundings import surroundings
from chaos.safety.targets import Target, decide_address
from chaos.stack.model_servers import SIMULATOR
from chaos.stack.target import AttachedTarget, ProxyThere, ProxyToPut

DB = ProxyThere("http://127.0.0.1:8474", "pgvector")
LLM = ProxyToPut("127.0.0.1:9001", "10.0.0.8:8000")


def told(folder: Path, name: str, telemetry: Target | None) -> str:
    target = AttachedTarget(
        folder / "t.yaml",
        "staging",
        "http://10.0.0.12:8080",
        proxies={"vector_db": DB, "llm": LLM},
        telemetry=telemetry,
    )
    around = surroundings("t.yaml", SIMULATOR, folder, {}, target)
    console = Console(width=200, record=True, file=(folder / "said").open("w"))
    show_forecast(forecast(load_experiment(BUNDLED / f"{name}.yaml"), around, folder), console)
    return console.export_text()


@pytest.mark.parametrize(
    ("name", "way"),
    [
        (
            "slow-vector-db",
            "service → proxy pgvector, which is there (127.0.0.1:8474) → vector_db "
            "(where proxy pgvector leads)",
        ),
        (
            "llm-stall",
            "service → the built-in proxy, put there by this run (127.0.0.1:9001) → llm (10.0.0.8:8000)",
        ),
    ],
)
def test_each_fault_shows_the_proxy_of_its_dependency(tmp_path: Path, name: str, way: str) -> None:
    """Whoever lets it loose sees through which door it goes, and that no part is started."""
    text = told(tmp_path, name, decide_address("", "127.0.0.1:4318"))
    assert way in text
    assert "runs already (staging)" in text and "10.0.0.12:8080" in text
    assert "OTLP/HTTP to http://127.0.0.1:4318" in text


def test_what_the_target_will_not_get_is_said(tmp_path: Path) -> None:
    """The experiment's settings, and, without telemetry, a pass."""
    text = told(tmp_path, "slow-vector-db", None)
    assert "the experiment's are left out (" in text
    assert "the run cannot pass" in text
