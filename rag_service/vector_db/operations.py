"""What a write is, and its form in the log: a little JSON that a person can read, then numbers as they are.

`u32` length of the JSON · JSON · metadata, one after the other · vectors as little-endian float32, row by
row.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json, to_json

Vectors = npt.NDArray[np.float32]
NO_METADATA = b"{}"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, eq=False)
class Upsert:
    """Points to put in, new or in place of those with the same id; metadata is a JSON object, as bytes."""

    ids: tuple[str, ...]
    vectors: Vectors
    metadata: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Ids to take out; those that are not there do no harm."""

    ids: tuple[str, ...]


Operation = Upsert | Delete


def encode(operation: Operation) -> bytes:
    """An operation as the log keeps it."""
    if isinstance(operation, Delete):
        head = to_json({"delete": operation.ids})
        return _LENGTH.pack(len(head)) + head
    head = to_json({"upsert": operation.ids, "metadata": [len(item) for item in operation.metadata]})
    numbers = np.ascontiguousarray(operation.vectors, dtype="<f4").tobytes()
    return b"".join((_LENGTH.pack(len(head)), head, *operation.metadata, numbers))


def decode(payload: bytes, dimension: int) -> Operation:
    """The operation in a log record. Raises ValueError for bytes that no `encode` of this dimension made."""
    try:
        (length,) = _LENGTH.unpack_from(payload)
        at = _LENGTH.size + length
        head = from_json(payload[_LENGTH.size : at])
        if "delete" in head:
            return Delete(tuple(head["delete"]))
        ids, sizes = tuple(head["upsert"]), head["metadata"]
        metadata = []
        for size in sizes:
            metadata.append(payload[at : at + size])
            at += size
        vectors = np.frombuffer(payload, dtype="<f4", offset=at).astype(np.float32, copy=False)
        return Upsert(ids, vectors.reshape(len(ids), dimension), tuple(metadata))
    except (struct.error, KeyError, TypeError) as error:
        raise ValueError(f"not an operation: {error!r}") from None


def readable(metadata: bytes) -> dict[str, object]:
    """Metadata as the object that it was."""
    found: dict[str, object] = json.loads(metadata)
    return found
