"""Where the results of a search are in an answer: the lists under one key, which faults empty or reorder.

The vector DB answers `{"results": [[{"id", "score"}, …], …]}`, one list for each vector. Others keep one list
of objects (`{"result": [{…}]}`), or keep it one level down (`{"result": {"points": […]}}`): `key` says where.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chaos.proxy.http.faults.fault import Parameter
from chaos.proxy.http.json_body import written

RESULTS_KEY = Parameter("key", str, "results", most=200)
"""The member that holds the results; a dot goes one object down."""

Items = list[Any]


def change_lists(body: bytes, key: str, change: Callable[[Items], Items | None]) -> bytes | None:
    """The JSON `body` with each list under `key` changed; None when it has none, or none changed."""
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        return None
    *way, last = key.split(".")
    place = whole
    for name in way:
        place = place.get(name) if isinstance(place, dict) else None
    found = place.get(last) if isinstance(place, dict) else None
    if not isinstance(found, list):
        return None
    changed: Items | None
    if found and all(isinstance(each, list) for each in found):
        lists = [change(each) for each in found]
        if all(each is None for each in lists):
            return None
        changed = [old if new is None else new for old, new in zip(found, lists, strict=True)]
    else:
        changed = change(found)
    if changed is None:
        return None
    place[last] = changed
    return written(whole)
