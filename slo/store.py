"""From raw evidence to Parquet, and from either to SQL.

A run that ended well holds `spans.parquet`, `logs.parquet` and `resources.parquet`; a run that was
killed still holds the raw files. Both read alike: `connect` never writes, `build` makes the Parquet and
then removes the raw files. How much could not be read travels in the Parquet's own metadata, so that the
count survives the raw file. Exporters send a batch again when an answer is lost, so rows are deduplicated.
A Parquet file that is cut off, or gone from beside the others, is counted as torn: it is no empty table.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from slo import otlp
from slo.bundle import Bundle, read_json_lines

Table = Literal["spans", "logs", "resources"]
TABLES: tuple[Table, ...] = ("spans", "logs", "resources")
LENGTH = struct.Struct(">I")
"""Each record of a spool is its length in four bytes, then its body."""

RESOURCES = pa.schema(
    [
        ("at_s", pa.float64()),
        ("part", pa.string()),
        ("cpu_ratio", pa.float64()),
        ("rss_bytes", pa.int64()),
        ("open_files", pa.int64()),
        ("connections", pa.int64()),
        ("threads", pa.int64()),
    ]
)
_SCHEMAS: dict[Table, pa.Schema] = {"spans": otlp.SPANS, "logs": otlp.LOGS, "resources": RESOURCES}
_METADATA = b"ragquake.reading"


@dataclass(frozen=True, slots=True)
class Reading:
    """How the reading of one table went: rows kept and repeated, records cut off or not understood."""

    rows: int = 0
    duplicates: int = 0
    torn: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Store:
    """An open bundle: `sql` has the tables spans, logs and resources; `readings` say what was lost."""

    sql: duckdb.DuckDBPyConnection
    readings: dict[str, Reading]

    def register(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """A small table of the asker's own beside them; it is for the asker to unregister."""
        self.sql.register(name, pa.table(dict(columns)))


@dataclass(frozen=True, slots=True)
class _Loaded:
    table: pa.Table
    reading: Reading


def connect(bundle: Bundle | Path | str) -> Store:
    """Open a bundle for reading, built or not. Writes nothing."""
    source = Bundle.at(bundle)
    sql = duckdb.connect(":memory:")
    sql.execute("SET TimeZone = 'UTC'")
    readings: dict[str, Reading] = {}
    for name in TABLES:
        loaded = _load(source, name, has_gone=_has_gone(source, name))
        readings[name] = loaded.reading
        sql.register(f"{name}_arrow", loaded.table)
        sql.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_arrow")
        sql.unregister(f"{name}_arrow")
    return Store(sql, readings)


def build(bundle: Bundle | Path | str) -> dict[str, Reading]:
    """Make the Parquet files and remove what they were made from. Doing it twice changes nothing."""
    target = Bundle.at(bundle)
    readings: dict[str, Reading] = {}
    gone = {name for name in TABLES if _has_gone(target, name)}
    for name in TABLES:
        loaded = _load(target, name, has_gone=name in gone)
        readings[name] = loaded.reading
        raw = target.raw(name)
        if not raw.exists() and target.parquet(name).exists():
            continue
        note = {_METADATA: json.dumps(asdict(loaded.reading), sort_keys=True).encode()}
        part = target.parquet(name).with_suffix(".parquet.part")
        pq.write_table(loaded.table.replace_schema_metadata(note), part, compression="zstd")
        part.replace(target.parquet(name))
        raw.unlink(missing_ok=True)
    if target.spool.is_dir() and not any(target.spool.iterdir()):
        target.spool.rmdir()
    return readings


def _load(bundle: Bundle, name: Table, *, has_gone: bool) -> _Loaded:
    tables = [_SCHEMAS[name].empty_table()]
    before = Reading(torn=int(has_gone))
    if bundle.parquet(name).exists():
        try:
            found = pq.read_table(bundle.parquet(name))
            before = _noted(found)
            tables.append(found.replace_schema_metadata(None).cast(_SCHEMAS[name]))
        except (pa.ArrowException, ValueError, OSError):
            before = Reading(torn=1)
    if not bundle.raw(name).exists():
        return _Loaded(tables[-1], before)
    raw = _read_resources(bundle.raw(name)) if name == "resources" else _read_spool(bundle.raw(name), name)
    tables.append(raw.table)
    merged = pa.concat_tables(tables)
    unique = _unique(merged, name)
    return _Loaded(
        unique,
        Reading(
            rows=unique.num_rows,
            duplicates=before.duplicates + merged.num_rows - unique.num_rows,
            torn=before.torn + raw.reading.torn,
            unreadable=before.unreadable + raw.reading.unreadable,
        ),
    )


def _has_gone(bundle: Bundle, name: Table) -> bool:
    """All three are made at once; one alone is missing only where somebody lost it."""
    others = (bundle.parquet(other).exists() for other in TABLES if other != name)
    return not bundle.raw(name).exists() and all(others)


def _noted(table: pa.Table) -> Reading:
    note: dict[str, Any] = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
    return Reading(**{field.name: int(note.get(field.name, 0)) for field in fields(Reading)})


def _read_spool(path: Path, name: Table) -> _Loaded:
    schema = _SCHEMAS[name]
    flatten: otlp.Flatten = otlp.flatten_spans if name == "spans" else otlp.flatten_logs
    rows = otlp.empty_rows(schema)
    unreadable = 0
    data = memoryview(path.read_bytes())
    at = 0
    while at + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, at)
        end = at + LENGTH.size + length
        if end > len(data):
            break
        try:
            flatten(bytes(data[at + LENGTH.size : end]), rows)
        except otlp.DecodeError:
            unreadable += 1
        at = end
    table = pa.table(rows, schema=schema)
    return _Loaded(table, Reading(table.num_rows, 0, int(at < len(data)), unreadable))


def _read_resources(path: Path) -> _Loaded:
    lines = read_json_lines(path)
    columns = {name: [line.get(name) for line in lines.records] for name in RESOURCES.names}
    table = pa.table(
        {name: pa.array(column, RESOURCES.field(name).type) for name, column in columns.items()},
        schema=RESOURCES,
    )
    return _Loaded(table, Reading(table.num_rows, 0, lines.torn, 0))


_KEYS = {
    "spans": ("TraceId", "SpanId"),
    "logs": ("Timestamp", "TraceId", "SpanId", "ServiceName", "EventName", "Body", "LogAttributes"),
    "resources": ("at_s", "part"),
}


def _unique(table: pa.Table, name: Table) -> pa.Table:
    """The table without repeated rows, in its order."""
    if table.num_rows == 0:
        return table
    with duckdb.connect(":memory:") as sql:
        sql.register("given", table.append_column("row", pa.array(range(table.num_rows), pa.int64())))
        keys = ", ".join(f'"{key}"' for key in _KEYS[name])
        rows = sql.execute(f"SELECT min(row) AS row FROM given GROUP BY {keys} ORDER BY row").fetchnumpy()
    keep = rows["row"]
    return table if len(keep) == table.num_rows else table.take(pa.array(keep))
