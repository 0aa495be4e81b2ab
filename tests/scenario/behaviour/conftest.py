"""One laboratory for the session, each scenario with services of its own.

The services are real, with the real embedder: they are forked from one process that has imported it (see
zygote.py), so nothing stands in for any part. Rows in which the fault proxy acts run with Toxiproxy and with
the built-in proxy; rows in which the model server itself misbehaves need one of them only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.stack.errors import ProxyUnavailable
from chaos.stack.proxy_choice import choose_proxy
from tests.scenario.behaviour import corpus
from tests.scenario.behaviour.lab import Lab
from tests.scenario.behaviour.parts import ModelServer, Proxy

HOME = Path(__file__).resolve().parents[3] / ".ragquake"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start_zygote()
        lab.ingest(corpus.write(lab.folder / "corpus.jsonl", corpus.documents()), lab.index_dir)
        lab.start_vector_db("vector_db", lab.index_dir)
        lab.start_model_server("llm", first_token="20ms", token="3ms", seed="1")
        lab.start_model_server("small_llm", first_token="60ms", token="8ms", max_running="4", seed="1")
        yield lab
    finally:
        lab.stop()


def _proxy(lab: Lab, kind: str) -> Proxy:
    try:
        choice = choose_proxy({"RAGQUAKE_PROXY": kind}, HOME)
    except ProxyUnavailable as error:
        if os.environ.get("RAGQUAKE_PROXY") == "builtin":
            pytest.skip(str(error))
        pytest.fail(f"{error}; or leave these out with RAGQUAKE_PROXY=builtin")
    return lab.start_proxy(choice)


@pytest.fixture(scope="session")
def builtin(lab: Lab) -> Proxy:
    """The built-in proxy, for rows in which the fault is not in the proxy."""
    return _proxy(lab, "builtin")


@pytest.fixture(scope="session", params=["toxiproxy", "builtin"])
def proxy(request: pytest.FixtureRequest, lab: Lab) -> Proxy:
    """Each fault proxy in turn."""
    if request.param == "builtin":
        built_in: Proxy = request.getfixturevalue("builtin")
        return built_in
    return _proxy(lab, "toxiproxy")


@pytest.fixture(scope="session")
def model(lab: Lab) -> ModelServer:
    """The faults of the model server that most rows talk to."""
    return ModelServer(lab.upstreams["llm"].url)
