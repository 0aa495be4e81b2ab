"""docker-compose.yml is a valid Compose file and holds the design's stack.

No container engine is needed and none is asked: this is a check of structure. The schema is the Compose
specification's own, as check-jsonschema ships it.
"""

from __future__ import annotations

import copy
import ipaddress
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from chaos.stack.compose import COMPOSE_FILE, DEPENDENCIES, LLMS
from slo.store import LENGTH

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def load_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def resolved(value: Any, variables: dict[str, str]) -> Any:
    """The file as Compose reads it: `${NAME:-default}` replaced everywhere."""
    if isinstance(value, dict):
        return {key: resolved(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, variables) for item in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", value)
    return value


def schema_errors(document: Any) -> list[str]:
    shipped = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(shipped.read_text())
    found = jsonschema.validators.validator_for(schema)(schema).iter_errors(document)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


@pytest.fixture(scope="module")
def document() -> Any:
    return resolved(load_yaml(COMPOSE_FILE), {})


@pytest.fixture
def services(document: Any) -> dict[str, Any]:
    found: dict[str, Any] = document["services"]
    return found


def test_valid_against_the_compose_specification(document: Any) -> None:
    """The file is what the Compose specification's schema allows."""
    assert schema_errors(document) == []


@pytest.mark.parametrize(
    "wrong",
    [{"port": ["127.0.0.1:1:1"]}, {"depends_on": {"vector-db": {"condition": "ready"}}}, {"image": 1}],
)
def test_the_schema_finds_mistakes(document: Any, wrong: dict[str, Any]) -> None:
    """Negative control: a misspelt key, an unknown condition and a wrong type are each reported."""
    broken = copy.deepcopy(document)
    broken["services"]["service"] |= wrong
    assert schema_errors(broken)


def test_every_part_of_the_stack_is_there(services: dict[str, Any]) -> None:
    """Toxiproxy, service, vector DB, model server, vLLM, Locust and the collector, under their profiles."""
    profiles = {name: tuple(part.get("profiles", ())) for name, part in services.items()}
    assert profiles == {
        "vector-db": (),
        "model-server": (),
        "vllm": ("gpu",),
        "toxiproxy": (),
        "otel-collector": (),
        "service": (),
        "locust": ("load",),
    }
    assert services["toxiproxy"]["image"] == "ghcr.io/shopify/toxiproxy:2.12.0"
    lock = (ROOT / "requirements" / "vllm-gpu.lock").read_text()
    version = re.search(r"^vllm==(\S+)", lock, flags=re.MULTILINE)
    assert version and services["vllm"]["image"] == f"vllm/vllm-openai:v{version[1]}", "one vLLM everywhere"


def test_published_ports_are_loopback_only(services: dict[str, Any]) -> None:
    """Nothing of a stack that is made to misbehave can be reached from another machine."""
    published = [port for part in services.values() for port in part.get("ports", ())]
    assert published
    for port in published:
        address, outside, inside = port.split(":")
        assert ipaddress.ip_address(address).is_loopback, port
        assert outside.isdigit(), port
        assert inside.isdigit(), port


def test_images_are_pinned(services: dict[str, Any]) -> None:
    """The same file starts the same versions next year: each image has a version, or is built from here."""
    for name, part in services.items():
        image, _, tag = part["image"].rpartition(":")
        assert image, f"{name} has no tag"
        assert "build" in part or re.match(r"v?\d+\.\d+\.\d+", tag), f"{name}: {part['image']}"
    base = re.search(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert base
    assert re.search(r":3\.1[1-4]-slim-\w+$", base[1])


def test_health_is_checked_before_anyone_depends_on_it(services: dict[str, Any]) -> None:
    """A part that others wait for has a health check; the collector has nothing to check itself with."""
    unchecked = {name for name, part in services.items() if "healthcheck" not in part}
    assert unchecked == {"otel-collector"}
    for part in services.values():
        for name, dependency in part.get("depends_on", {}).items():
            wanted = "service_started" if name in unchecked else "service_healthy"
            assert dependency["condition"] == wanted


def test_a_dependency_in_a_profile_is_optional(services: dict[str, Any]) -> None:
    """`docker compose up` without profiles must not stumble over a part that is not started."""
    for part in services.values():
        for name, dependency in part.get("depends_on", {}).items():
            assert not services[name].get("profiles") or dependency.get("required") is False


@pytest.mark.parametrize("llm", LLMS.values())
def test_the_service_reaches_its_dependencies_through_toxiproxy(llm: str) -> None:
    """A fault on a proxy is felt by the service: its addresses, Toxiproxy's file and ComposeStack agree."""
    services = resolved(load_yaml(COMPOSE_FILE), {"RAGQUAKE_LLM": llm})["services"]
    mounted = services["toxiproxy"]["volumes"][0].split(":")[0]
    proxies = {proxy["name"]: proxy for proxy in json.loads((ROOT / mounted).read_text())}
    settings = services["service"]["environment"]
    for name, (listen, upstream) in DEPENDENCIES.items():
        through = settings[f"RAG_{name.upper()}_URL"].removeprefix("http://").removesuffix("/v1")
        assert through == listen
        assert through.split(":")[1] == proxies[name]["listen"].split(":")[1]
        assert (
            proxies[name]["upstream"] == upstream.format(llm=llm) == settings[f"RAG_{name.upper()}_ADDRESS"]
        )
        host, port = proxies[name]["upstream"].split(":")
        assert f"127.0.0.1:{port}/" in str(services[host]["healthcheck"]["test"])


def test_files_that_are_mounted_exist(document: Any) -> None:
    """A missing file would be mounted as an empty folder, without a word."""
    for part in document["services"].values():
        for volume in part.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), source
            else:
                assert source in document["volumes"], source


def test_the_service_gets_only_settings_that_it_knows(services: dict[str, Any]) -> None:
    """Unknown RAG_ names are refused by the service at its start, so the file has none."""
    from rag_service.settings import Settings

    names = {name for name in services["service"]["environment"] if name.startswith("RAG_")}
    known = {f"RAG_{field.upper()}" for field in Settings.model_fields}
    assert names <= known


def test_the_collector_writes_the_runners_spool() -> None:
    """The file exporter's length is four bytes, big-endian; so is the spool's, and the file names agree."""
    config = load_yaml(ROOT / "deploy" / "otel-collector.yaml")
    assert LENGTH.format == ">I"
    assert {exporter["path"] for exporter in config["exporters"].values()} == {
        "/evidence/traces.binpb",
        "/evidence/logs.binpb",
    }
    for name, pipeline in config["service"]["pipelines"].items():
        assert pipeline["exporters"] == [f"file/{name}"]
        assert config["exporters"][f"file/{name}"]["format"] == "proto"


def test_the_image_copies_only_what_the_build_may_see() -> None:
    """Everything that the Dockerfile copies is let through .dockerignore, and exists."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)
