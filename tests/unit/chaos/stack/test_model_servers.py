"""What each choice of `--llm` starts, says and refuses."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from chaos.experiment import find_experiment, load_experiment
from chaos.run.options import RunOptions
from chaos.run.progress import SilentProgress
from chaos.run.runner import run_experiment
from chaos.stack.environment import child_environment
from chaos.stack.errors import StackError
from chaos.stack.model_servers import LlmRequest
from chaos.stack.model_servers.elsewhere import elsewhere
from chaos.stack.model_servers.vllm import installed, vllm
from chaos.stack.ports import choose_ports
from chaos.stack.wiring import PORTS, Wiring
from slo.documents import DocumentError


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A `.ragquake` in which `make vllm` has finished."""
    python = tmp_path / "vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / "vllm" / "ragquake-setup.json").write_text('{"version": "0.32.0", "build": "cpu"}')
    model_at(tmp_path / "models" / "tiny")
    return tmp_path


def model_at(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def flag(command: tuple[str, ...], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.parametrize(
    ("llm", "model", "said"),
    [
        ("vlm", None, "simulator, vllm, or a URL"),
        ("127.0.0.1:8000", None, "or a URL"),
        ("simulator", "some/model", "--llm vllm --model some/model"),
        ("https://127.0.0.1:8000", None, "plain HTTP"),
        ("http://127.0.0.1:8000/api", None, "/v1 may follow"),
        ("http://127.0.0.1:8000/v1?key=1", None, "/v1 may follow"),
        ("http://127.0.0.1:99999", None, "write the address"),
        ("http://127.0.0.1:0", None, "write the address"),
        ("http://", None, "write the address"),
        ("http://[::1:8000", None, "write the address"),
        ("http://10.0.0.1:8000", None, "is not this machine"),
        ("http://[2001:db8::1]:8000", None, "is not this machine"),
        ("http://localhost.example:8000", None, "localhost.example is 10.0.0.1.* is not this machine"),
    ],
)
def test_what_is_no_choice_is_refused_before_anything_is_looked_at(
    llm: str, model: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typo is the command line's fault, whatever is installed."""
    monkeypatch.setattr("chaos.safety.targets.system_resolve", lambda _name: ("10.0.0.1",))
    with pytest.raises(DocumentError, match=said):
        LlmRequest.parse(llm, model)


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:8000", "https://me:secret@[::1"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    """Nobody passes it on, and terminals and logs are no place for it."""
    with pytest.raises(DocumentError) as refused:
        LlmRequest.parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("llm", "model", "said"),
    [
        ("http://127.0.0.1:8000", None, "a container cannot reach"),
        ("vllm", "/models/mine", "ORGANISATION/MODEL"),
        ("vllm", "./mine", "ORGANISATION/MODEL"),
    ],
)
def test_what_containers_cannot_have_is_refused(llm: str, model: str | None, said: str) -> None:
    """They see neither loopback nor folders of this machine; without this, a quarter of an hour goes by."""
    assert LlmRequest.parse(llm, model).model == model
    with pytest.raises(DocumentError, match=said):
        LlmRequest.parse(llm, model, "compose")
    assert LlmRequest.parse("vllm", "some/model", "compose").model == "some/model"


def test_a_run_asks_before_it_makes_anything(tmp_path: Path) -> None:
    """Without vLLM there is no run: no folder for it, no lock, no verdict in the history."""
    loaded = load_experiment(find_experiment("steady"))
    runs = tmp_path / "runs"
    with pytest.raises(StackError, match="make vllm"):
        run_experiment(loaded, RunOptions(runs, tmp_path / "state", llm=LlmRequest("vllm")), SilentProgress())
    with pytest.raises(DocumentError, match="allowed: local, compose"):
        run_experiment(loaded, RunOptions(runs, tmp_path / "state", stack="podman"), SilentProgress())
    assert list(tmp_path.iterdir()) == []


def test_vllm_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    """Neither a missing environment nor a half-made one is started."""
    with pytest.raises(StackError, match="make vllm"):
        LlmRequest.parse("vllm").resolve(tmp_path)
    (tmp_path / "vllm" / "bin").mkdir(parents=True)
    (tmp_path / "vllm" / "bin" / "python").touch()
    with pytest.raises(StackError, match="make vllm"):
        vllm(tmp_path)
    assert installed(tmp_path) is None


def test_vllm_serves_the_tiny_model_unless_told_otherwise(state: Path) -> None:
    """The name that the service asks for is the name that vLLM serves, and short answers go with it."""
    server = vllm(state)
    command = server.command_on("127.0.0.1", 7)
    assert flag(command, "--model") == str(state / "models" / "tiny")
    assert flag(command, "--served-model-name") == server.model == "tiny"
    assert (flag(command, "--host"), flag(command, "--port")) == ("127.0.0.1", "7")
    assert (server.kind, server.version, server.owned) == ("vllm", "0.32.0", True)
    assert "RAG_GENERATE__MAX_TOKENS" in server.service_settings
    assert "RAG_GENERATE__MAX_TOKENS" in server.sentence()


def test_a_model_of_ones_own_is_served_by_its_folders_name(state: Path, tmp_path: Path) -> None:
    """Nothing that suits only the tiny model is laid on it."""
    server = vllm(state, str(model_at(tmp_path / "mine")))
    assert server.model == "mine"
    assert server.service_settings == {}
    assert "--max-num-seqs" not in server.command


def test_a_model_of_ones_own_gets_the_context_that_fits(state: Path, tmp_path: Path) -> None:
    """vLLM refuses to start with a context that its cache cannot hold; told `auto`, it takes what fits."""
    own = vllm(state, str(model_at(tmp_path / "mine")))
    assert flag(own.command, "--max-model-len") == "auto"
    assert flag(vllm(state).command, "--max-model-len") == "4096"


@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_a_model_of_the_hub_is_left_to_its_cache(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, below: str
) -> None:
    """ORGANISATION/MODEL is passed on as it stands when it is there, since nothing is downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    with pytest.raises(StackError, match="nothing is downloaded"):
        vllm(state, "some/model")
    (tmp_path / "cache" / below / "models--some--model").mkdir(parents=True)
    assert flag(vllm(state, "some/model").command, "--model") == "some/model"


@pytest.mark.parametrize("model", ["nowhere", "./some/model", "/some/model", "a/b/c"])
def test_what_is_no_model_is_refused_with_what_is_allowed(state: Path, model: str) -> None:
    """vLLM would take a minute to find out."""
    with pytest.raises(StackError, match=r"config\.json"):
        vllm(state, model)


def test_vllm_tells_nobody_and_downloads_nothing(state: Path) -> None:
    """No usage statistics, no hub; and its engine keeps the mark by which lost processes are found."""
    environment = vllm(state).environment
    assert environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    assert environment["HF_HUB_OFFLINE"] == environment["SPT_NOENV"] == "1"


def test_nobodys_shell_changes_vllm(state: Path) -> None:
    """A key that the service does not have, or packages of another environment, stay outside."""
    shell = {"VLLM_API_KEY": "secret", "VLLM_CPU_KVCACHE_SPACE": "40", "PYTHONPATH": "/elsewhere"}
    seen = child_environment(shell, "mark", vllm(state).environment)
    assert "VLLM_API_KEY" not in seen
    assert seen["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert seen["PYTHONPATH"] == "" and seen["PYTHONSAFEPATH"] == "1"


def test_only_the_build_for_cpus_is_told_how_to_run_on_them(state: Path) -> None:
    """On a GPU vLLM knows better how to compile and how much memory to take."""
    assert "--enforce-eager" in vllm(state).command
    (state / "vllm" / "ragquake-setup.json").write_text('{"version": "0.33.0", "build": "gpu"}')
    assert "--enforce-eager" not in vllm(state).command
    assert "VLLM_CPU_KVCACHE_SPACE" not in vllm(state).environment


def answering(models: object, version: str | None = "0.32.0") -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json=models)
        if request.url.path == "/version" and version:
            return httpx.Response(200, json={"version": version})
        return httpx.Response(404, text="no")

    return httpx.MockTransport(answer)


TWO = {"data": [{"id": "a"}, {"id": "b"}]}


def test_one_that_runs_elsewhere_is_asked_what_it_serves() -> None:
    """The first of its models, or the one that was named; nothing is started."""
    server = elsewhere("http://127.0.0.1:8000/v1", transport=answering(TWO))
    assert (server.kind, server.address, server.model) == ("url", "127.0.0.1:8000", "a")
    assert (server.version, server.owned) == ("0.32.0", False)
    assert elsewhere("http://localhost:1", "b", answering(TWO, None)).model == "b"
    assert elsewhere("http://localhost:1", "b", answering(TWO, None)).version == "unknown"
    assert elsewhere("http://[::1]:8000/", transport=answering(TWO)).address == "[::1]:8000"
    assert elsewhere("HTTP://LOCALHOST/v1/", transport=answering(TWO)).address == "127.0.0.1:80"


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("url", "model", "transport", "said"),
    [
        ("http://127.0.0.1:8000", "c", answering(TWO), "it has a, b"),
        ("http://127.0.0.1:8000", None, answering({"data": []}), "serves no model"),
        ("http://127.0.0.1:8000", None, answering([]), "no OpenAI-compatible server"),
        ("http://127.0.0.1:8000", None, httpx.MockTransport(refused), "ConnectError"),
        ("http://127.0.0.1:8000", None, httpx.MockTransport(lambda _: httpx.Response(401)), "asks for a key"),
    ],
)
def test_one_that_cannot_be_used_is_refused(
    url: str, model: str | None, transport: httpx.BaseTransport, said: str
) -> None:
    """Nobody there, another API, another model, a key: each is said before a stack is started."""
    with pytest.raises(StackError, match=said):
        elsewhere(url, model, transport)


def test_the_proxy_leads_to_the_one_that_runs_elsewhere() -> None:
    """The service's spans name the true server, its calls go through the proxy."""
    server = elsewhere("http://127.0.0.1:8000", transport=answering(TWO))
    wiring = Wiring(choose_ports(PORTS, {}), Path("/index"), server)
    assert wiring.dependency("llm").upstream == "127.0.0.1:8000"
    assert wiring.service_settings()["RAG_LLM_ADDRESS"] == "127.0.0.1:8000"
    assert wiring.service_settings()["RAG_LLM_MODEL"] == "a"
    assert "8000" not in wiring.service_settings()["RAG_LLM_URL"]
