"""The OpenAPI description of each route: every status, header and shape that it can answer with.

Written by hand, because the bodies are read by hand. schemathesis holds the service to it.
"""

from __future__ import annotations

from typing import Any

from rag_service.api.openai import ChatRequest
from rag_service.api.schema import AnswerRequest

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_TRACE_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_OUTCOME = {"enum": ["full", "degraded", "cached", "refused", "error"]}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Exactly these fields."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_DEGRADED = _list(_object({"segment": _TEXT, "reason": _TEXT, "fallback": _TEXT}))
_CITATIONS = _list(_object({"id": _TEXT, "score": _NUMBER, "title": _TEXT}))
_TIMINGS = {"type": "object", "additionalProperties": _NUMBER}
_HEAD = {
    "outcome": _OUTCOME,
    "rung": _TEXT,
    "degraded": _DEGRADED,
    "citations": _CITATIONS,
    "trace_id": _TRACE_ID,
}
_ENDING = {"outcome": _OUTCOME, "degraded": _DEGRADED, "trace_id": _TRACE_ID}
_FINISH_REASON = {"enum": ["stop", "length"]}
_ANSWER = _object({"answer": _TEXT} | _HEAD | {"finish_reason": _FINISH_REASON, "timings_ms": _TIMINGS})
_MISTAKE = _object({"field": _TEXT, "value": _TEXT, "message": _TEXT})
_ERROR = _object({"error": _object({"code": _TEXT, "message": _TEXT}, {"fields": _list(_MISTAKE)})} | _ENDING)
_PLAIN_ERROR = _object({"error": _object({"code": _TEXT, "message": _TEXT})})
_CHAT_ERROR = _object(
    {
        "error": _object(
            {
                "message": _TEXT,
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": _TEXT,
            }
        ),
        "ragquake": _object(_ENDING),
    }
)
_USAGE = _object({"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT})
_COMPLETION = _object(
    {
        "id": _TEXT,
        "object": {"const": "chat.completion"},
        "created": _COUNT,
        "model": _TEXT,
        "system_fingerprint": {"type": "null"},
        "choices": _list(
            _object(
                {
                    "index": {"const": 0},
                    "message": _object(
                        {"role": {"const": "assistant"}, "content": _TEXT, "refusal": {"type": "null"}}
                    ),
                    "logprobs": {"type": "null"},
                    "finish_reason": _FINISH_REASON,
                }
            )
        ),
        "usage": _USAGE,
        "ragquake": _object(_HEAD | {"timings_ms": _TIMINGS}),
    }
)

_EVENT = _object({"event": {"enum": ["meta", "token", "done", "error"]}, "data": _TEXT})
_CHUNK = _object({"data": _TEXT})

_OUTCOME_HEADERS = {
    "X-RAG-Outcome": {"description": "As in the body.", "required": True, "schema": _OUTCOME},
    "X-Request-Id": {"description": "The trace id.", "required": True, "schema": _TRACE_ID},
}
_RUNG = {"X-RAG-Rung": {"description": "The rung of the ladder.", "required": True, "schema": _TEXT}}
_ANSWER_HEADERS = _OUTCOME_HEADERS | _RUNG
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Whole seconds after which to ask again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    }
}
_CLOSE = {"Connection": {"description": "`close`: the connection ends.", "schema": {"const": "close"}}}

_REFUSALS = {
    400: "A header or (OpenAI's dialect) a field of the body is wrong.",
    404: "The model is not served here (OpenAI's dialect).",
    408: "The body came too slowly.",
    413: "The body is too long.",
    415: "The body is not said to be JSON.",
    422: "A field of the body is wrong.",
    500: "A fault of the service itself; its log has the details.",
    502: "A dependency failed and nothing could stand in for it.",
    503: "Refused before any work, or because nothing could stand in; see `Retry-After`.",
    504: "Too late for the caller's deadline.",
}
_CLOSING = frozenset({408, 413})


def _response(status: int, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_OUTCOME_HEADERS)
    if status == 503:
        headers |= _RETRY_AFTER | _CLOSE | _RUNG
    if status in _CLOSING:
        headers |= _CLOSE
    return {"description": text, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _refusals(schema: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _response(status, _REFUSALS[status], schema) for status in statuses}


def _body(schema: dict[str, Any], max_deadline_s: float) -> dict[str, Any]:
    deadline = {
        "name": "X-Request-Deadline-Ms",
        "in": "header",
        "description": "The caller's patience in whole milliseconds.",
        "schema": {"type": "integer", "minimum": 1, "maximum": int(max_deadline_s * 1000)},
    }
    content = {"application/json": {"schema": schema}}
    return {"parameters": [deadline], "requestBody": {"required": True, "content": content}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without `$defs`, whose references would point outside of an OpenAPI document."""
    definitions = schema.get("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items() if key != "$defs"}
        if isinstance(node, list):
            return [resolve(value) for value in node]
        return node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _ok(text: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"description": text, "content": {"application/json": {"schema": schema}}}
    return found | {"headers": headers} if headers else found


def _answered(schema: dict[str, Any], event: dict[str, Any], text: str) -> dict[str, Any]:
    """JSON as `schema`, or a stream each of whose events is an `event`."""
    answered = _ok(text, schema, _ANSWER_HEADERS)
    answered["content"]["text/event-stream"] = {"schema": event}
    return answered


def answers(max_deadline_s: float) -> dict[str, Any]:
    """The service's own route."""
    return {
        "summary": "Answer a question",
        "openapi_extra": _body(_inlined(AnswerRequest.model_json_schema()), max_deadline_s),
        "responses": {
            200: _answered(_ANSWER, _EVENT, "An answer, as JSON or (`stream`) as events; see `outcome`."),
            **_refusals(_ERROR, 400, 408, 413, 415, 422, 500, 502, 503, 504),
        },
    }


def chat(model: str, max_deadline_s: float) -> dict[str, Any]:
    """The route of OpenAI's dialect; `model` is the only one that may be asked for."""
    schema = _inlined(ChatRequest.model_json_schema())
    schema["properties"]["model"] = {"const": model}
    text = "A completion, as JSON or (`stream`) as chunks; see `ragquake.outcome`."
    return {
        "summary": "Answer the last message, as OpenAI's chat completions do",
        "openapi_extra": _body(schema, max_deadline_s),
        "responses": {
            200: _answered(_COMPLETION, _CHUNK, text),
            **_refusals(_CHAT_ERROR, 400, 404, 408, 413, 415, 500, 502, 503, 504),
        },
    }


MODELS: dict[str, Any] = {
    "summary": "The one model that can be asked",
    "responses": {
        200: _ok(
            "The list.",
            _object(
                {
                    "object": {"const": "list"},
                    "data": _list(
                        _object(
                            {
                                "id": _TEXT,
                                "object": {"const": "model"},
                                "created": _COUNT,
                                "owned_by": _TEXT,
                            }
                        )
                    ),
                }
            ),
        )
    },
}
HEALTHZ: dict[str, Any] = {
    "summary": "The process lives",
    "responses": {200: _ok("It does.", _object({"status": {"const": "ok"}}))},
}
_READY = _object(
    {"ready": _FLAG, "waiting_for": _list(_TEXT), "degraded": _list(_TEXT), "draining": _FLAG},
    {
        "failure": _TEXT,
        "corpus": _object({"stamp": _TEXT, "documents": _COUNT}, {"problem": _TEXT}),
    },
)
READYZ: dict[str, Any] = {
    "summary": "Answers can be given, perhaps degraded",
    "responses": {
        200: _ok("Ready; `degraded` names what is not well.", _READY),
        503: _ok("Not ready: still loading, or draining.", _READY),
    },
}
BREAKERS: dict[str, Any] = {
    "summary": "Breakers and their states",
    "responses": {
        200: _ok(
            "All breakers.",
            _object(
                {
                    "breakers": _list(
                        _object(
                            {
                                "name": _TEXT,
                                "state": {"enum": ["closed", "open", "half_open"]},
                                "since_s": _NUMBER,
                            }
                        )
                    )
                }
            ),
        )
    },
}
METRICS: dict[str, Any] = {
    "summary": "Prometheus metrics",
    "responses": {200: {"description": "The text format.", "content": {"text/plain": {"schema": _TEXT}}}},
}
_FLUSHED = _object(
    {
        "last_seq": _COUNT,
        "flushed": _FLAG,
        "spans": _object({"ended": _COUNT, "exported": _COUNT, "failed": _COUNT, "dropped": _COUNT}),
    }
)
FLUSH: dict[str, Any] = {
    "summary": "Export all spans and logs that have ended (loopback only)",
    "responses": {
        200: _ok("All were handed over.", _FLUSHED),
        403: _ok("Not from this address.", _PLAIN_ERROR),
        504: _ok("The receiver did not take them.", _FLUSHED),
    },
}
