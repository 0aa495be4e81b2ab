"""Cut: the connection breaks in mid-answer."""

from __future__ import annotations

from typing import Literal

from chaos.faults.answer_fault import AfterTokens


class Cut(AfterTokens):
    """After `after_tokens` tokens the connection closes, without the end of the body.

    What a client sees when a replica is killed or a load balancer loses its target. Look for half an
    answer that is shown as a whole one, and for a retry that begins to answer anew after the first half.

        lost-replica: {on: llm, kind: cut, after_tokens: 5, probability: 20%}

    Looks like: a stream that ends with a transport error.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; the next answers come whole.
    """

    kind: Literal["cut"] = "cut"
