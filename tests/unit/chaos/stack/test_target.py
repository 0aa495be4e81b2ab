"""A target file: what it may say, and that every address in it is decided when it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from chaos.stack.errors import StackError
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from chaos.stack.opening import open_receiver, require_available, require_kind
from chaos.stack.ports import reserve_port
from chaos.stack.target import ProxyThere, ProxyToPut, TargetFile, load_target
from slo.documents import DocumentError

WHOLE = """
apiVersion: ragquake/v1
kind: Target
name: staging
service: {url: http://127.0.0.1:8080/rag, ready: /readyz, breakers: /v1/breakers}
dependencies:
  vector_db: {toxiproxy: http://10.0.0.5:8474, proxy: pgvector}
  llm: {listen: 127.0.0.1:9001, upstream: models.internal:8000}
telemetry: {listen: 127.0.0.1:4318}
segments: spans.yaml
allow_targets: [10.0.0.5:8474, 10.0.0.8:8000, vector-db:5432]
"""
LEAST = """
apiVersion: ragquake/v1
kind: Target
name: mine
service: {url: http://127.0.0.1:8080}
"""
NAMES: Mapping[str, Sequence[str]] = {"models.internal": ["10.0.0.8"], "localhost": ["127.0.0.1"]}


def resolve(name: str) -> Sequence[str]:
    if name not in NAMES:
        raise OSError("not known")
    return NAMES[name]


def written(folder: Path, text: str) -> Path:
    (folder / "spans.yaml").write_text("segments: {request: {kind: [Server]}}\nbreakers: {name: [cb]}\n")
    path = folder / "target.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str, **more: bool) -> str:
    with pytest.raises(DocumentError) as refused:
        load_target(written(folder, text), resolve=resolve, **more)
    return str(refused.value)


def test_a_whole_target_comes_out_with_every_address_decided(tmp_path: Path) -> None:
    """Names are gone: what a run dials are addresses alone."""
    target = load_target(written(tmp_path, WHOLE), resolve=resolve)
    assert (target.name, target.service) == ("staging", "http://127.0.0.1:8080/rag")
    assert (target.ready, target.breakers, target.flush) == ("/readyz", "/v1/breakers", "")
    assert target.proxies == {
        "vector_db": ProxyThere("http://10.0.0.5:8474", "pgvector"),
        "llm": ProxyToPut("127.0.0.1:9001", "10.0.0.8:8000"),
    }
    assert target.telemetry is not None and target.telemetry.address == "127.0.0.1:4318"
    assert target.table is not None and target.table.segments["request"].kind == ("Server",)
    assert target.allowed.names == {"vector-db:5432"}


def test_two_targets_with_one_service_or_one_proxy_are_never_hurt_at_once(tmp_path: Path) -> None:
    """Their locks meet, whatever else differs: path, name, the other dependency."""
    one = load_target(written(tmp_path, WHOLE), resolve=resolve)
    assert one.addresses == ("http://127.0.0.1:8080", "http://10.0.0.5:8474/proxies/pgvector")
    other = load_target(written(tmp_path, LEAST))
    assert set(one.addresses) & set(other.addresses) == {"http://127.0.0.1:8080"}


def test_a_service_alone_is_enough(tmp_path: Path) -> None:
    """Then there is load and no fault, and the telemetry goes where it went before."""
    target = load_target(written(tmp_path, LEAST))
    assert (target.proxies, target.telemetry, target.table) == ({}, None, None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "http://127.0.0.1:8080/rag",
            "http://10.0.0.9:80",
            r"target\.yaml:5: service\.url: .*10\.0\.0\.9:80",
        ),
        ("http://127.0.0.1:8080/rag", "https://127.0.0.1", r"service\.url: .*is not an http:// URL"),
        (
            "10.0.0.8:8000, ",
            "",
            r"target\.yaml:8: dependencies\.llm\.upstream: .*models\.internal is 10\.0\.0\.8",
        ),
        ("models.internal", "elsewhere", r"llm\.upstream: .*cannot be resolved"),
        ("[10.0.0.5:8474, ", "[", r"target\.yaml:7: dependencies\.vector_db\.toxiproxy: .*10\.0\.0\.5:8474"),
        ("http://10.0.0.5:8474", "http://10.0.0.5:8474/api", r"toxiproxy: .*has a path"),
        ("127.0.0.1:9001", "0.0.0.0:9001", r"llm\.listen: '0\.0\.0\.0:9001' is not a loopback address"),
        ("127.0.0.1:9001", "10.0.0.5:8474", r"llm\.listen: .*is not a loopback address"),
        ("127.0.0.1:4318", "127.0.0.1", r"telemetry\.listen: .*with a port"),
        ("127.0.0.1:4318", "127.0.0.1:9001", r"telemetry\.listen: .*is dependencies\.llm already"),
        ("127.0.0.1:4318", "0x7f000001:8080", r"telemetry\.listen: .*is service\.url already"),
        ("models.internal:8000", "127.1:9001", r"llm\.upstream: .*is dependencies\.llm itself"),
        ("models.internal:8000", "127.0.0.1:8080", r"llm\.upstream: .*is service\.url itself"),
        ("proxy: pgvector", "listen: 127.0.0.1:1", r"vector_db.*either a proxy that is there"),
        (", proxy: pgvector", "", r"vector_db.*either a proxy that is there"),
        (", proxy: pgvector", ", proxy: a, listen: 127.0.0.1:1, upstream: 127.0.0.1:2", r"vector_db.*either"),
        ("vector_db:", "cache:", r"cache"),
        ("segments: spans.yaml", "segments: none.yaml", r"none\.yaml: cannot be read"),
        ("segments: spans.yaml", "segmnts: spans.yaml", r"segmnts: unknown key \(did you mean segments"),
        ("ready: /readyz", "ready: http://evil/", r"service\.ready"),
        ("ready: /readyz", "ready: /../admin?x=1", r"service\.ready"),
        (
            "[10.0.0.5:8474, ",
            "[10.0.0.0/8, 10.0.0.5:8474, ",
            r"target\.yaml:11: allow_targets: .*10\.0\.0\.0/8",
        ),
        ("name: staging", "name: Staging!", r"target\.yaml:4: name"),
        ("kind: Target", "kind: Experiment", r"target\.yaml:3: kind.*Target"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Nothing is started with a target file that is not sound from end to end."""
    assert WHOLE.count(old) == 1
    assert re.search(said, problems(tmp_path, WHOLE.replace(old, new)), re.DOTALL)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Three addresses that are not allowed are three lines, not three attempts."""
    told = problems(tmp_path, WHOLE.replace("allow_targets:", "#"))
    assert len(told.splitlines()) == 2
    assert "toxiproxy" in told and "upstream" in told


def test_two_dependencies_never_share_a_proxy(tmp_path: Path) -> None:
    """A fault on one would be a fault on both, and told of one."""
    one = "{toxiproxy: http://127.0.0.1:8474, proxy: all}"
    other = "{toxiproxy: http://localhost:8474/, proxy: all}"
    told = problems(tmp_path, f"{LEAST}dependencies: {{vector_db: {one}, llm: {other}}}\n")
    assert "all at http://127.0.0.1:8474 is dependencies.vector_db already" in told


def test_a_public_target_wants_the_flag_beside_the_list(tmp_path: Path) -> None:
    """The flag is given with the run, so that no file alone points a run at the world."""
    text = LEAST.replace("127.0.0.1:8080", "8.8.8.8:80") + "allow_targets: [8.8.8.8:80]\n"
    assert "--i-own-this-target" in problems(tmp_path, text)
    assert load_target(written(tmp_path, text), owned=True).service == "http://8.8.8.8:80"


def test_a_kind_of_stack_is_known_or_a_file(tmp_path: Path) -> None:
    """A typing error is met with what there is, a missing file with its name."""
    assert require_kind("local") is None
    target = require_kind(str(written(tmp_path, LEAST)))
    assert target is not None and target.name == "mine"
    for stack, said in (
        ("locl", "did you mean local.*local, compose, or a target file"),
        ("nowhere.yaml", "cannot be read"),
    ):
        with pytest.raises(DocumentError, match=said):
            require_kind(stack)
    with pytest.raises(DocumentError, match="goes with a target file"):
        require_kind("local", owned=True)


def test_a_target_brings_its_own_model_server(tmp_path: Path) -> None:
    """--llm would be a wish that nobody fulfils."""
    path = str(written(tmp_path, LEAST))
    target = require_available(path, SIMULATOR, tmp_path)
    assert target is not None
    assert require_available(path, SIMULATOR, tmp_path, target) is target
    with pytest.raises(DocumentError, match="leave that flag out"):
        require_available(path, LlmRequest("vllm"), tmp_path, target)


def test_telemetry_arrives_where_the_target_sends_it(tmp_path: Path) -> None:
    """Its exporter is configured already, so the receiver takes that port; without one, any."""
    port = reserve_port()
    text = WHOLE.replace("127.0.0.1:4318", f"127.0.0.1:{port}")
    target = load_target(written(tmp_path, text), resolve=resolve)
    with open_receiver(tmp_path, target) as first, open_receiver(tmp_path) as other:
        assert first.endpoint == f"http://127.0.0.1:{port}"
        assert other.endpoint != first.endpoint
        with pytest.raises(
            StackError, match=r"telemetry\.listen in .*target\.yaml: cannot listen on .*collector"
        ):
            open_receiver(tmp_path, target).__enter__()


DOCUMENT = YAML(typ="safe").load(WHOLE)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["127.0.0.1:1", "default"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(TargetFile.model_fields)), VALUES, st.booleans())
def test_no_mutation_of_a_target_file_is_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object, is_missing: bool
) -> None:
    """Whatever somebody writes under a key: a target, or a sentence that names the file."""
    data = {name: kept for name, kept in DOCUMENT.items() if name != key or not is_missing}
    if not is_missing:
        data[{"api_version": "apiVersion"}.get(key, key)] = value
    folder = tmp_path_factory.mktemp("mutated")
    path = written(folder, "")
    with path.open("w") as file:
        YAML().dump(data, file)
    try:
        load_target(path, resolve=resolve)
    except DocumentError as error:
        assert all(str(folder) in problem for problem in error.problems)
