"""The rules of the doctor's findings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from chaos import examinations
from chaos.doctor import as_record, render
from chaos.examinations import Finding, Said


def _says(code: int | None, text: str) -> examinations.Ask:
    def answer(_command: Sequence[str]) -> Said:
        return Said(code, text)

    return answer


def test_a_docker_client_without_an_engine_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker` on PATH is believed only when the engine behind it answers with a version."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    refused = examinations.container_engine(_says(1, "Cannot connect to the Docker daemon"))
    answered = examinations.container_engine(_says(0, "27.1.1"))
    assert refused.level == "note" and "without an engine" in refused.value
    assert answered.level == "ok" and "27.1.1" in answered.value


@pytest.mark.parametrize(
    ("text", "level"), [("go version go1.26.8 linux/amd64", "ok"), ("go version go1.19 linux/amd64", "note")]
)
def test_go_must_be_new_enough_for_toxiproxy(text: str, level: str) -> None:
    """Go 1.23 or later can build Toxiproxy 2.12; an older one is a note."""
    assert examinations.go(_says(0, text)).level == level


def test_no_gpu_is_no_problem() -> None:
    """Without nvidia-smi the simulator serves, which is the normal case."""
    assert examinations.gpu(_says(None, "No such file")) == Finding(
        "GPU", "none", "the simulator stands in for the model server"
    )


def test_a_cuda_build_without_a_gpu_says_what_would_save_its_weight() -> None:
    """4 GB of CUDA on a machine without a GPU are worth a note with the way out."""
    sizes = {"torch": 1_000_000_000, "nvidia-cublas": 3_000_000_000}
    assert "UV_TORCH_BACKEND=cpu" in examinations.torch(sizes, gpus=False).consequence
    assert examinations.torch(sizes, gpus=False).value.endswith("4.0 GB")
    assert examinations.torch(sizes, gpus=True).level == "ok"
    assert examinations.torch({}, gpus=False).level == "problem"


def test_an_index_is_told_by_its_manifest(tmp_path: Path) -> None:
    """No index is a note, a damaged one a problem that says what to delete."""
    assert examinations.index(tmp_path).level == "note"
    (tmp_path / "manifest.json").write_text("{")
    damaged = examinations.index(tmp_path)
    assert damaged.level == "problem" and str(tmp_path) in damaged.consequence
    manifest = {"documents": 2500, "stamp": "abcdef0123456789", "corpus": "stdlib"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert examinations.index(tmp_path).value == "2500 documents, stamp abcdef012345"


def test_a_proxy_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    """A run would fail with this environment, so the doctor says so, with the reason."""
    finding = examinations.fault_proxy({"TOXIPROXY_URL": "http://10.1.1.1:8474"}, tmp_path)
    assert finding.level == "problem" and "loopback" in finding.consequence


def test_findings_are_shown_as_they_are_and_as_json() -> None:
    """Names, values and consequences appear unchanged; brackets are text, not markup."""
    finding = Finding("vLLM", "none [gpu]", "install .[gpu]", "note")
    out = StringIO()
    render([finding], Console(file=out, width=100))
    assert "none [gpu]" in out.getvalue() and "install .[gpu]" in out.getvalue()
    assert json.loads(json.dumps(as_record(finding)))["level"] == "note"


def test_vllm_is_where_set_up_put_it(tmp_path: Path) -> None:
    """What this environment has installed says nothing: vLLM has one of its own."""
    assert "make vllm" in examinations.vllm(tmp_path).consequence
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "ragquake-setup.json").write_text('{"version": "0.32.0"}')
    assert examinations.vllm(tmp_path).value == "0.32.0"
