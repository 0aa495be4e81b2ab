"""empty_results: a search that finds nothing, as an index that was emptied or not loaded yet answers."""

from __future__ import annotations

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault
from chaos.proxy.http.faults.results import RESULTS_KEY, Items, change_lists
from chaos.proxy.http.passage import AnswerHead


class EmptyResults(HttpFault):
    """HTTP 200 as before, with every list of results empty."""

    type = "empty_results"
    parameters = (RESULTS_KEY,)

    def apply(self, exchange: Exchange) -> None:
        def empty(_: AnswerHead, body: bytes) -> bytes | None:
            taken = 0

            def none_of(items: Items) -> Items | None:
                nonlocal taken
                taken += len(items)
                return [] if items else None

            changed = change_lists(body, self.attributes["key"], none_of)
            if changed is not None:
                exchange.strike(f"{taken} results taken away", size=max(0, len(body) - len(changed)))
            return changed

        exchange.change_json(empty)
