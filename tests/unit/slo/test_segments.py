"""Selectors: spans are found by a table that is data."""

from __future__ import annotations

import duckdb

from slo.segments import Selector, default_table


def matches(selector: Selector, name: str = "x", kind: str = "Client", **attributes: str) -> bool:
    where = selector.where()
    keys = {key.replace("__", "."): value for key, value in attributes.items()}
    with duckdb.connect(":memory:") as sql:
        rows = sql.execute(
            f"SELECT count(*) FROM (SELECT ? AS SpanName, ? AS SpanKind, ?::MAP(VARCHAR, VARCHAR)"
            f" AS SpanAttributes) WHERE {where.sql}",
            [name, kind, keys, *where.parameters],
        ).fetchall()
    return bool(rows[0][0])


def test_every_part_of_a_selector_must_fit():
    """Name, kind and attributes are all conditions; a list means any of its items."""
    selector = Selector(name=("search *", "find"), kind=("Client",), attributes={"db.system.name": ("*",)})
    assert matches(selector, "search corpus", db__system__name="faiss")
    assert matches(selector, "find", db__system__name="faiss")
    assert not matches(selector, "search corpus")
    assert not matches(selector, "search corpus", "Internal", db__system__name="faiss")
    assert not matches(selector, "research corpus", db__system__name="faiss")


def test_only_the_star_is_special():
    """SQL's own wildcards are plain characters in a pattern."""
    assert matches(Selector(name=("100%_a",)), "100%_a")
    assert not matches(Selector(name=("100%_a",)), "1000xa")


def test_the_default_table_covers_the_path_of_an_answer():
    """The segments of the telemetry contract, and which breaker guards which."""
    table = default_table()
    assert table.names == ("journey", "request", "embed", "retrieve", "search", "context", "generate")
    assert (table.behind("vector_db"), table.behind("llm"), table.behind("x")) == ("search", "generate", None)
