"""The compose stack asks before it believes, says what is missing, and leaves nothing running."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from chaos import __version__
from chaos.stack.compose import ComposeStack
from chaos.stack.container_engine import Said, run_engine
from chaos.stack.errors import StackError


class FakeEngine:
    """Answers by the first words that it knows, and remembers what it was asked."""

    def __init__(self, **answers: Said) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []
        self.env: Mapping[str, str] = {}

    def __call__(
        self, command: Sequence[str], *, env: Mapping[str, str], timeout_s: float, log: Path | None = None
    ) -> Said:
        assert timeout_s > 0
        assert log is None or log.suffix == ".log"
        self.asked.append(tuple(command))
        self.env = env
        return next((said for word, said in self.answers.items() if word in command), Said(0, "ok"))

    def verbs(self) -> list[str]:
        known = ("version", "up", "down", "logs", "exec", "ps")
        return [next(word for word in command if word in known) for command in self.asked]


def stack(folder: Path, engine: FakeEngine, **more: str) -> ComposeStack:
    return ComposeStack(
        folder=folder, service_settings={"RAG_RESILIENCE": "off"}, engine=engine, environment={}, **more
    )


def test_a_client_without_an_engine_is_refused(tmp_path: Path) -> None:
    """`docker` on PATH is not an engine: the error says so and names the stack that needs none."""
    engine = FakeEngine(version=Said(1, "Client: 28\nCannot connect to the Docker daemon"))
    with pytest.raises(StackError, match=r"Cannot connect.*the local stack needs none"):
        stack(tmp_path, engine).start()
    assert engine.verbs() == ["version"]


def test_a_failed_start_ends_what_it_began(tmp_path: Path) -> None:
    """When `up` fails the end of its output is shown, and the containers are taken down."""
    engine = FakeEngine(up=Said(17, "pulling\nno space left on device"))
    with pytest.raises(StackError, match=r"exit 17(.|\n)*no space left"):
        stack(tmp_path, engine).start()
    assert engine.verbs() == ["version", "version", "up", "logs", "down"]


def test_stopping_twice_is_stopping_once(tmp_path: Path) -> None:
    """A stack that was never started, or is stopped already, has nothing to stop."""
    engine = FakeEngine()
    stack(tmp_path, engine).stop()
    assert engine.asked == []


def test_evidence_goes_into_the_bundle(tmp_path: Path) -> None:
    """The collector is given the bundle's spool, as the person who runs it; ports and vLLM are passed on."""
    variables = stack(tmp_path, FakeEngine(), llm="vllm").variables({"service": 1111, "proxy": 2222})
    assert variables["RAGQUAKE_EVIDENCE"] == str(tmp_path / "otlp")
    assert variables["RAGQUAKE_USER"].replace(":", "").isdigit()
    assert variables["RAGQUAKE_SERVICE_PORT"] == "1111"
    assert variables["RAGQUAKE_LLM"] == "vllm"


def test_the_service_asks_for_the_model_that_is_served(tmp_path: Path) -> None:
    """One name for both; what a shell exports names a model for vLLM, not for the simulator."""
    ports = {"service": 1, "proxy": 2}
    shell = {"RAGQUAKE_LLM_MODEL": "some/model"}

    def served(llm: str, model: str | None = None) -> str:
        one = ComposeStack(folder=tmp_path, llm=llm, model=model, environment=shell, engine=FakeEngine())
        return one.variables(ports)["RAGQUAKE_LLM_MODEL"]

    assert served("simulator") == "simulator"
    assert served("vllm") == "some/model"
    assert served("vllm", "another/model") == "another/model"


def test_which_model_server_it_was_is_described(tmp_path: Path) -> None:
    """As on the local stack: runs on different models are not compared."""
    engine = FakeEngine(exec=Said(0, '{"version":"0.32.0"}'))
    told = stack(tmp_path, engine, llm="vllm", model="some/model").model_server()
    assert (told.kind, told.version, told.model, told.owned) == ("vllm", "0.32.0", "some/model", True)
    assert stack(tmp_path, FakeEngine(), llm="vllm").model_server().version == "unknown"
    told = stack(tmp_path, FakeEngine()).model_server()
    assert (told.kind, told.version, told.model) == ("simulator", __version__, "simulator")


def test_settings_reach_the_service(tmp_path: Path) -> None:
    """What an experiment sets is laid over the compose file, for the service alone."""
    engine = FakeEngine(up=Said(1, ""))
    with pytest.raises(StackError):
        stack(tmp_path, engine).start()
    override = json.loads((tmp_path / "docker-compose.override.json").read_text())
    assert override == {"services": {"service": {"environment": {"RAG_RESILIENCE": "off"}}}}
    assert str(tmp_path / "docker-compose.override.json") in engine.asked[2]


def test_a_container_that_ended_is_named(tmp_path: Path) -> None:
    """A run does not go on with a part missing."""
    engine = FakeEngine(ps=Said(0, "vector-db\n"))
    with pytest.raises(StackError, match="vector-db ended"):
        stack(tmp_path, engine).require_alive()
    stack(tmp_path, FakeEngine(ps=Said(0, ""))).require_alive()


def test_the_barrier_is_asked_inside_the_container(tmp_path: Path) -> None:
    """The service flushes for local callers only, so the call is made where it is local."""
    engine = FakeEngine(exec=Said(0, '{"last_seq": 41}\n'))
    assert stack(tmp_path, engine).flush().last_seq == 41
    with pytest.raises(StackError, match="did not flush"):
        stack(tmp_path, FakeEngine(exec=Said(1, "no such container"))).flush()


def test_an_unknown_model_server_is_refused(tmp_path: Path) -> None:
    """The error says which there are."""
    with pytest.raises(StackError, match="simulator, vllm"):
        stack(tmp_path, FakeEngine(), llm="gpt")


def test_a_missing_client_is_an_answer() -> None:
    """No docker at all ends in the same sentence as no engine, not in a traceback."""
    said = run_engine(["no-such-container-client"], env={"PATH": ""}, timeout_s=5.0)
    assert said == Said(127, "no-such-container-client is not on PATH")
