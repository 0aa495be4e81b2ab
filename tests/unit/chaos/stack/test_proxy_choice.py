"""The rules of choosing the fault proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.stack.errors import ProxyUnavailable
from chaos.stack.proxy_choice import ProxyChoice, choose_proxy, named_version


def _nowhere(_name: str) -> str | None:
    return None


def _on_path(name: str) -> str | None:
    return f"/opt/bin/{name}"


def _home_with_binary(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "toxiproxy-server").touch()
    return tmp_path


def test_without_any_toxiproxy_the_builtin_one_is_chosen(tmp_path: Path) -> None:
    """The built-in proxy is always there, and the reason says where was looked."""
    choice = choose_proxy({}, tmp_path, _nowhere)
    assert (choice.kind, choice.owned) == ("builtin", True)
    assert "PATH" in choice.why and "TOXIPROXY_URL" in choice.why


def test_the_projects_own_binary_comes_before_the_one_on_path(tmp_path: Path) -> None:
    """`make setup` built a known version; whatever is on PATH is second."""
    home = _home_with_binary(tmp_path)
    assert choose_proxy({}, home, _on_path).command == (str(home / "bin" / "toxiproxy-server"),)
    assert choose_proxy({}, tmp_path / "other", _on_path).command == ("/opt/bin/toxiproxy-server",)


def test_a_running_toxiproxy_comes_first_and_is_not_ours(tmp_path: Path) -> None:
    """TOXIPROXY_URL beats every binary, and nobody may stop that server."""
    home = _home_with_binary(tmp_path)
    choice = choose_proxy({"TOXIPROXY_URL": "127.1:8474/"}, home, _on_path)
    assert (choice.api, choice.owned) == ("http://127.0.0.1:8474", False)


def test_the_builtin_proxy_can_be_forced(tmp_path: Path) -> None:
    """RAGQUAKE_PROXY=builtin wins over a running and an installed Toxiproxy."""
    environment = {"RAGQUAKE_PROXY": "builtin", "TOXIPROXY_URL": "http://127.0.0.1:8474"}
    assert choose_proxy(environment, _home_with_binary(tmp_path), _on_path).kind == "builtin"


def test_a_forced_toxiproxy_that_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    """A forced choice never falls back in silence."""
    with pytest.raises(ProxyUnavailable, match="make setup"):
        choose_proxy({"RAGQUAKE_PROXY": "toxiproxy"}, tmp_path, _nowhere)


def test_an_unknown_forced_kind_lists_the_allowed_ones(tmp_path: Path) -> None:
    """A typing error in RAGQUAKE_PROXY is refused, not ignored."""
    with pytest.raises(ProxyUnavailable, match=r"'envoy'.*'toxiproxy' and 'builtin'"):
        choose_proxy({"RAGQUAKE_PROXY": "envoy"}, tmp_path, _nowhere)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.7:8474", "http://toxiproxy:8474", "http://169.254.169.254:80", "http://0.0.0.0:8474"],
)
def test_a_toxiproxy_elsewhere_is_refused(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local stack never sends faults to another machine, whatever name that has."""
    monkeypatch.setattr("chaos.safety.targets.system_resolve", lambda _name: ("10.0.0.7",))
    with pytest.raises(ProxyUnavailable, match="of this machine"):
        choose_proxy({"TOXIPROXY_URL": url}, tmp_path, _nowhere)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "https://127.0.0.1:8474", "127.0.0.1:x", "http://:8474"])
def test_what_is_no_address_is_refused_with_an_example(tmp_path: Path, url: str) -> None:
    """A half address is met with a whole one to copy."""
    with pytest.raises(ProxyUnavailable, match=r"http://127\.0\.0\.1:8474"):
        choose_proxy({"TOXIPROXY_URL": url}, tmp_path, _nowhere)


def test_the_choice_is_one_sentence_with_version_and_reason(tmp_path: Path) -> None:
    """One line says which proxy was chosen and why."""
    choice = choose_proxy({}, _home_with_binary(tmp_path), _nowhere)
    sentence = choice.sentence("2.12.0")
    assert sentence == f"fault proxy: Toxiproxy 2.12.0, because it is in {tmp_path / 'bin'}"


def test_each_kind_is_told_its_address_in_its_own_spelling() -> None:
    """Go takes single dashes, the built-in proxy double ones."""
    toxiproxy = ProxyChoice("toxiproxy", "", command=("toxiproxy-server",))
    builtin = ProxyChoice("builtin", "", command=("python", "-m", "chaos.proxy"))
    assert toxiproxy.command_on("127.0.0.1", 1)[1:] == ("-host", "127.0.0.1", "-port", "1")
    assert builtin.command_on("127.0.0.1", 1)[3:] == ("--host", "127.0.0.1", "--port", "1")


def test_a_version_that_says_something_is_believed() -> None:
    """Only a nameless build is asked for its build record; one without a record stays nameless."""
    choice = ProxyChoice("toxiproxy", "", command=("/nowhere/toxiproxy-server",))
    assert named_version("2.9.0", choice) == "2.9.0"
    assert named_version("git", choice) == "git"
