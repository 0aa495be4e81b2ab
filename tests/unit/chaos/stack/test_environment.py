"""The rules of what a child finds in its environment."""

from __future__ import annotations

import pytest

from chaos.stack.environment import child_environment, service_environment
from chaos.stack.errors import StackError


def test_settings_of_the_users_shell_do_not_leak() -> None:
    """RAG_, OTEL_ and RAGQUAKE_ names of the shell are left out; the rest, such as PATH, stays."""
    shell = {
        "RAG_RESILIENCE": "off",
        "OTEL_SDK_DISABLED": "true",
        "RAGQUAKE_PROXY": "builtin",
        "PATH": "/bin",
    }
    child = child_environment(shell, "/x/stack.json")
    assert not {"RAG_RESILIENCE", "OTEL_SDK_DISABLED", "RAGQUAKE_PROXY"} & set(child)
    assert child["PATH"] == "/bin"


def test_what_is_meant_arrives_and_the_mark_cannot_be_overwritten() -> None:
    """Explicit settings are passed on; the mark that finds lost children is always ours."""
    child = child_environment({}, "/x/stack.json", {"RAG_PORT": "1", "RAGQUAKE_STACK": "/y"})
    assert child["RAG_PORT"] == "1"
    assert child["RAGQUAKE_STACK"] == "/x/stack.json"


def test_one_thread_no_downloads_no_buffering_no_http_proxy() -> None:
    """The fixed part wins over the shell, and loopback is excepted from HTTP proxies."""
    child = child_environment({"OMP_NUM_THREADS": "8", "NO_PROXY": "corp"}, "/x/stack.json")
    assert child["OMP_NUM_THREADS"] == "1"
    assert child["HF_HUB_OFFLINE"] == "1"
    assert child["PYTHONUNBUFFERED"] == "1"
    assert child["NO_PROXY"] == "corp,127.0.0.1,localhost"


def test_the_wiring_of_the_stack_cannot_be_overruled() -> None:
    """A setting that would unhook the service from its proxy or from loopback is refused."""
    with pytest.raises(StackError, match="RAG_HOST is set by the stack itself"):
        service_environment({"RAG_HOST": "127.0.0.1"}, {"RAG_HOST": "0.0.0.0"}, None)


def test_a_setting_that_is_none_of_the_services_is_refused() -> None:
    """Only RAG_ names are settings of the service."""
    with pytest.raises(StackError, match="'LD_PRELOAD'"):
        service_environment({}, {"LD_PRELOAD": "x"}, None)


def test_without_a_receiver_nothing_is_exported() -> None:
    """The exporter's endpoint is there exactly when there is a receiver."""
    assert service_environment({}, {}, None) == {}
    exported = service_environment({}, {"RAG_RESILIENCE": "off"}, "http://127.0.0.1:4318")
    assert exported == {
        "RAG_RESILIENCE": "off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
