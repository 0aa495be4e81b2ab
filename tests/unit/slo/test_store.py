"""From spools to Parquet: nothing is lost silently, nothing is counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from slo import store


def query(bundle: Path, sql: str):
    opened = store.connect(bundle)
    try:
        return opened.sql.execute(sql).fetchall()
    finally:
        opened.sql.close()


def test_building_keeps_every_row_and_removes_the_raw_files(healthy, tmp_path: Path):
    """The same tables before and after; a second build changes nothing."""
    bundle = healthy.write(tmp_path / "run")
    sql = "SELECT SpanName, sum(Duration), count(*) FROM spans GROUP BY ALL ORDER BY 1"
    before = query(bundle, sql)
    first = store.build(bundle)
    assert query(bundle, sql) == before
    assert not (bundle / "otlp").exists()
    assert not (bundle / "resources.jsonl").exists()
    assert store.build(bundle) == first
    assert first["spans"].rows == len(healthy.spans)


def test_attributes_are_strings_and_lists_are_json(healthy, tmp_path: Path):
    """As in the ClickHouse exporter, so that its SQL runs here."""
    bundle = healthy.write(tmp_path / "run")
    ((legs, seq),) = query(
        bundle,
        """SELECT min(SpanAttributes['rag.retrieval.legs']), max(SpanAttributes['rag.span.seq']::INT)
        FROM spans WHERE SpanName = 'retrieval corpus' OR SpanName = 'POST /v1/answers'""",
    )
    assert legs == '["lexical"]'
    assert seq == len(healthy.attempts)


def test_late_spans_join_what_was_built_before(healthy, tmp_path: Path):
    """A spool beside a Parquet file is more of the same, not a replacement."""
    late = healthy.spans[-100:]
    bundle = healthy.write(tmp_path / "run")
    store.build(bundle)
    healthy.spans = late
    other = healthy.write(tmp_path / "late")
    (bundle / "otlp").mkdir()
    (other / "otlp" / "traces.binpb").rename(bundle / "otlp" / "traces.binpb")
    reading = store.build(bundle)["spans"]
    assert reading.duplicates == 100
    assert query(bundle, "SELECT count(*) FROM spans") == [(reading.rows,)]


def test_a_spool_that_was_cut_off_reads_up_to_its_last_whole_record(healthy, tmp_path: Path):
    """The cut is counted, and the count survives the raw file."""
    healthy.spans = healthy.spans[:4]
    bundle = healthy.write(tmp_path / "run", batch=2)
    path = bundle / "otlp" / "traces.binpb"
    whole = path.read_bytes()
    first = store.LENGTH.size + store.LENGTH.unpack_from(whole)[0]
    for end in [0, 1, 3, 4, 5, first - 1, first, first + 1, first + 4, *range(first + 5, len(whole), 97)]:
        path.write_bytes(whole[:end])
        reading = store.connect(bundle).readings["spans"]
        assert reading.rows == (2 if end >= first else 0)
        assert reading.torn == (end not in (0, first))
    store.build(bundle)
    assert store.connect(bundle).readings["spans"].torn == 1


def test_a_body_that_is_no_export_is_counted(healthy, tmp_path: Path):
    """Records around it are read."""
    bundle = healthy.write(tmp_path / "run")
    path = bundle / "otlp" / "traces.binpb"
    path.write_bytes(store.LENGTH.pack(3) + b"\xff\xff\xff" + path.read_bytes())
    reading = store.connect(bundle).readings["spans"]
    assert (reading.unreadable, reading.rows) == (1, len(healthy.spans))


@pytest.mark.parametrize("name", ["traces", "logs"])
def test_missing_spools_are_empty_tables(healthy, tmp_path: Path, name: str):
    """A run that was killed before any export still reads."""
    bundle = healthy.write(tmp_path / "run")
    (bundle / "otlp" / f"{name}.binpb").unlink()
    assert store.connect(bundle).readings["spans" if name == "traces" else name].rows == 0
