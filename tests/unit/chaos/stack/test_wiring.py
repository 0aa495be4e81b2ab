"""The rules of who is told which address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chaos.stack.model_servers import simulator
from chaos.stack.opening import as_environment
from chaos.stack.proxy_choice import ProxyChoice
from chaos.stack.wiring import PORTS, REQUESTS_PORTS, Wiring

WIRING = Wiring(ports={name: 1000 + i for i, name in enumerate(PORTS)}, index_dir=Path("/index"))
CHAIN = Wiring(
    ports={name: 1000 + i for i, name in enumerate(PORTS + REQUESTS_PORTS)}, index_dir=Path("/index")
)


def test_the_service_reaches_its_dependencies_only_through_the_proxy() -> None:
    """The URLs it is given are those that the proxy listens on; the real addresses are for its spans."""
    settings = WIRING.service_settings()
    for name, key in (("vector_db", "VECTOR_DB"), ("llm", "LLM")):
        dependency = WIRING.dependency(name)
        assert dependency.listen in settings[f"RAG_{key}_URL"]
        assert settings[f"RAG_{key}_ADDRESS"] == dependency.upstream
        assert dependency.listen != dependency.upstream
    assert settings["RAG_LLM_URL"].endswith("/v1")


def test_a_proxy_that_reads_requests_stands_between() -> None:
    """The fault proxy passes on to it, it to the dependency; service and spans know nothing of it."""
    assert CHAIN.service_settings() == WIRING.service_settings()
    for name in ("vector_db", "llm"):
        direct, chained = WIRING.dependency(name), CHAIN.dependency(name)
        assert (chained.listen, chained.upstream) == (direct.listen, direct.upstream)
        assert direct.requests is None and direct.next == direct.upstream
        assert chained.next == chained.requests == CHAIN.address(f"{name}_requests")
        assert chained.next not in (chained.listen, chained.upstream)
    command = CHAIN.requests_proxy_command()
    assert command[command.index("--host") + 1 :] == (
        "127.0.0.1",
        "--port",
        str(CHAIN.ports["requests_proxy"]),
    )


def test_the_built_in_proxy_writes_its_evidence_wherever_it_stands() -> None:
    """Before the dependencies or behind a Toxiproxy, which has no such flag and is not given one."""
    told = replace(CHAIN, evidence=Path("/bundle/faults.jsonl"))
    builtin, toxiproxy = ProxyChoice("builtin", "", ("p",)), ProxyChoice("toxiproxy", "", ("t",))
    for command in (told.requests_proxy_command(), told.proxy_command(builtin)):
        assert command[-2:] == ("--evidence", "/bundle/faults.jsonl")
    assert "--evidence" not in told.proxy_command(toxiproxy)
    assert "--evidence" not in CHAIN.requests_proxy_command()


def test_everything_listens_on_loopback() -> None:
    """No address and no command line of the stack names another interface."""
    choice = ProxyChoice("builtin", "", command=("p",))
    commands = (WIRING.vector_db_command(), WIRING.model_server_command(), WIRING.proxy_command(choice))
    for command in commands:
        assert command[command.index("--host") + 1] == "127.0.0.1"
    assert WIRING.service_settings()["RAG_HOST"] == "127.0.0.1"
    assert all(WIRING.address(name).startswith("127.0.0.1:") for name in PORTS)


def test_the_service_asks_for_the_model_that_the_server_offers() -> None:
    """One model name reaches both ends, and options become flags."""
    command = simulator({"first-token": "80ms"}).command_on("127.0.0.1", 7)
    assert command[command.index("--model") + 1] == WIRING.service_settings()["RAG_LLM_MODEL"]
    assert command[command.index("--first-token") + 1] == "80ms"


def test_settings_of_an_experiment_become_the_services_variables() -> None:
    """Dots become double underscores; values are written as the service reads them."""
    written = as_environment({"resilience": "off", "llm.timeout": "3s", "cache.enabled": True, "top_k": 5})
    assert written == {
        "RAG_RESILIENCE": "off",
        "RAG_LLM__TIMEOUT": "3s",
        "RAG_CACHE__ENABLED": "true",
        "RAG_TOP_K": "5",
    }
