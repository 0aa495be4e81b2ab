"""shuffled_results: the right documents in the wrong order, as a broken merge of shards gives them.

The scores stay where they were, best first, so that nothing looks wrong until somebody reads the documents.
"""

from __future__ import annotations

import random

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault
from chaos.proxy.http.faults.results import RESULTS_KEY, Items, change_lists
from chaos.proxy.http.passage import AnswerHead


class ShuffledResults(HttpFault):
    """Each list of two or more results is in another order; `score` stays in its place."""

    type = "shuffled_results"
    parameters = (RESULTS_KEY,)

    def apply(self, exchange: Exchange) -> None:
        def shuffle(_: AnswerHead, body: bytes) -> bytes | None:
            moved = 0

            def other_order(items: Items) -> Items | None:
                nonlocal moved
                shuffled = _shuffled(items, exchange.rng) if len(items) > 1 else items
                if shuffled == items:
                    return None
                moved += len(items)
                return shuffled

            changed = change_lists(body, self.attributes["key"], other_order)
            if changed is not None:
                exchange.strike(f"{moved} results in another order", size=len(changed))
            return changed

        exchange.change_json(shuffle)


def _shuffled(items: Items, rng: random.Random) -> Items:
    order = list(range(len(items)))
    rng.shuffle(order)
    if order == sorted(order):
        order = order[1:] + order[:1]
    moved = [items[old] for old in order]
    return [_scored_as(items[place], item) for place, item in enumerate(moved)]


def _scored_as(there: object, item: object) -> object:
    """The item with the score of the one whose place it takes."""
    if isinstance(there, dict) and isinstance(item, dict) and "score" in there and "score" in item:
        return {**item, "score": there["score"]}
    return item
