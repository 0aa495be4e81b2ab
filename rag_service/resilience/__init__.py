"""Small, separately usable pieces that keep one bad dependency from becoming every user's problem.

Each can be taken alone; `policy.Guard` puts them together in the one order that works, and
docs/explanation/resilience.md says why each is shaped as it is.
"""

from rag_service.resilience.breaker import Breaker, BreakerPolicy, Permit, State, StateChange, Verdict
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.bulkhead import Bulkhead, Place
from rag_service.resilience.deadline import Clock, Deadline, Limit, current_deadline, set_deadline
from rag_service.resilience.hedge import FixedDelay, Hedge, RecentQuantile
from rag_service.resilience.limiter import Aimd, Bounds, Fixed, Gradient2, Limiter, Sample, make_limiter
from rag_service.resilience.policy import Attempt, Guard, Protection
from rag_service.resilience.pushback import parse_retry_after, status_error
from rag_service.resilience.retrying import RetryPolicy, retrying
from rag_service.resilience.stream import Delta, TokenGuard, Usage
from rag_service.resilience.window import Rates, TimeWindow

__all__ = [
    "Aimd",
    "Attempt",
    "Bounds",
    "Breaker",
    "BreakerPolicy",
    "Bulkhead",
    "Clock",
    "Deadline",
    "Delta",
    "Fixed",
    "FixedDelay",
    "Gradient2",
    "Guard",
    "Hedge",
    "Limit",
    "Limiter",
    "Permit",
    "Place",
    "Protection",
    "Rates",
    "RecentQuantile",
    "RetryBudget",
    "RetryPolicy",
    "Sample",
    "State",
    "StateChange",
    "TimeWindow",
    "TokenGuard",
    "Usage",
    "Verdict",
    "current_deadline",
    "make_limiter",
    "parse_retry_after",
    "retrying",
    "set_deadline",
    "status_error",
]
