"""What a request may not ask for: what the simulator cannot do, and values that vLLM refuses.

A field that changes what an answer is, left out in silence, would let a test pass that fails against a real
model server: such fields are refused unless they hold what changes nothing. Ranges and their words are vLLM's
(0.32, `sampling_params.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rag_service.model_server.openai_errors import bad_request

if TYPE_CHECKING:
    from rag_service.model_server.openai_requests import CompletionRequest

#: Fields that change an answer, with the values that leave it as it is.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "use_beam_search": (None, False),
    # what the answer may consist of
    "response_format": (None, {"type": "text"}),
    "structured_outputs": (None,),
    "logit_bias": (None, {}),
    "allowed_token_ids": (None,),
    "bad_words": ([],),
    "stop_token_ids": (None, []),
    "repetition_detection": (None,),
    # what the prompt is
    "truncate_prompt_tokens": (None,),
    # what comes with the answer, and in which pieces
    "echo": (None, False),
    "prompt_logprobs": (None,),
    "logprob_token_ids": (None, []),
    "return_token_ids": (None, False),
    "stream_interval": (None, 1),
}
_CHAT = _WITHOUT_EFFECT | {
    "tools": (None,),
    "tool_choice": (None, "none"),
    "chat_template": (None,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "return_prompt_text": (None, False),
}
#: `logprobs` is a number here, of which 0 is one.
_TEXT = _WITHOUT_EFFECT | {"suffix": (None,), "prompt_embeds": (None, []), "logprobs": (None,)}


def refuse_what_cannot_be_done(kind: Literal["chat", "text"], given: Mapping[str, Any]) -> None:
    """Raise ApiError 400 for the first field that would change the answer. Unknown ones would not."""
    fields = _CHAT if kind == "chat" else _TEXT
    for name, value in given.items():
        allowed = fields.get(name)
        if allowed is not None and value not in allowed:
            shown = " or ".join("null" if one is None else str(one) for one in allowed)
            raise bad_request(
                f"This simulator cannot do `{name}`; leave it out, or give {shown}, got {value!r:.80}.", name
            )


def refuse_what_cannot_be_sampled(asked: CompletionRequest) -> None:
    """Raise ApiError 400 for values that no model can sample with, though here nothing is sampled."""
    for name in ("presence_penalty", "frequency_penalty"):
        value = getattr(asked, name)
        if value is not None and not -2.0 <= value <= 2.0:
            raise bad_request(f"{name} must be in [-2, 2], got {value}.")
    value = asked.repetition_penalty
    if value is not None and not math.isfinite(value):
        raise bad_request(f"repetition_penalty must be a finite number, got {value}.")
    if value is not None and value <= 0.0:
        raise bad_request(f"repetition_penalty must be greater than zero, got {value}.")
    _check_temperature(asked.temperature)
    if asked.top_p is not None and not 0.0 < asked.top_p <= 1.0:
        raise bad_request(f"top_p must be in (0, 1], got {asked.top_p}.", "top_p", asked.top_p)
    if asked.top_k is not None and asked.top_k < -1:
        raise bad_request(f"top_k must be 0 (disable), or at least 1, got {asked.top_k}.")
    if asked.min_p is not None and not 0.0 <= asked.min_p <= 1.0:
        raise bad_request(f"min_p must be in [0, 1], got {asked.min_p}.")
    if not all(asked.stops):
        raise bad_request("stop cannot contain an empty string.")


def _check_temperature(value: float | None) -> None:
    if value is None or 0.0 <= value <= 2.0:
        return
    if not math.isfinite(value):
        why = "must be a finite number"
    else:
        why = "must be non-negative" if value < 0.0 else "must be in [0, 2]"
    raise bad_request(f"temperature {why}, got {value}.", "temperature", value)
