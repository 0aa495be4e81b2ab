"""Names of spans and attributes: the telemetry contract of the design (§5) and of note 0001 (§2).

Evaluators read these names from their own segment table, so a change here is a change of the contract; a
contract test holds both together. `gen_ai.*`, `db.*`, `http.*` follow OpenTelemetry's semantic conventions.
"""

from __future__ import annotations

from typing import Final

SERVICE_NAME: Final = "rag_service"
REQUEST_SPAN: Final = "POST /v1/answers"
CHAT_SPAN: Final = "POST /v1/chat/completions"
#: One of these is the request's SERVER span, with the same attributes whichever way was asked.
REQUEST_SPANS: Final = frozenset({REQUEST_SPAN, CHAT_SPAN})

# request
DEADLINE: Final = "rag.deadline"
OUTCOME: Final = "rag.outcome"
DEGRADED_REASON: Final = "rag.degraded.reason"
DEGRADED_SEGMENTS: Final = "rag.degraded.segments"
RUNG: Final = "rag.degradation.rung"
CACHE_HIT: Final = "rag.cache.hit"
RESPONSE_FIRST_CHUNK: Final = "rag.response.time_to_first_chunk"
STREAM_COMPLETED: Final = "rag.stream.completed"
CONTEXT_DOCUMENT_COUNT: Final = "rag.context.document.count"
SPAN_SEQ: Final = "rag.span.seq"
BAGGAGE_KEYS: Final = ("ragquake.run", "ragquake.phase", "ragquake.journey", "ragquake.attempt")

# every segment
ERROR_TYPE: Final = "error.type"
OPERATION: Final = "gen_ai.operation.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
PROVIDER: Final = "gen_ai.provider.name"
ATTEMPT: Final = "rag.attempt"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
PEER_ADDRESS: Final = "network.peer.address"
PEER_PORT: Final = "network.peer.port"

# embed
BATCH_SIZE: Final = "rag.embed.batch_size"
QUEUE_WAIT: Final = "rag.embed.queue_wait"

# retrieve
TOP_K: Final = "gen_ai.retrieval.top_k"
DATA_SOURCE: Final = "gen_ai.data_source.id"
LEGS: Final = "rag.retrieval.legs"
DOCUMENT_IDS: Final = "rag.retrieval.document.ids"
DOCUMENT_SCORES: Final = "rag.retrieval.document.scores"

# search
DB_SYSTEM: Final = "db.system.name"
DB_COLLECTION: Final = "db.collection.name"
DB_OPERATION: Final = "db.operation.name"
DB_STATUS: Final = "db.response.status_code"
HEDGE: Final = "rag.hedge"

# context
CONTEXT_DOCUMENT_IN: Final = "rag.context.document.in"
CONTEXT_TOKENS: Final = "rag.context.tokens"

# generate
CHAT_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_STREAM: Final = "gen_ai.request.stream"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
LIMITER_LIMIT: Final = "rag.limiter.limit"

# breaker
POLICY_NAME: Final = "resilience.policy.name"
BREAKER_STATE: Final = "resilience.circuit_breaker.state"
BREAKER_OUTCOME: Final = "resilience.circuit_breaker.outcome"
STATE_CHANGE_EVENT: Final = "resilience.circuit_breaker.state_change"
