"""A visit with a long question: somebody pastes the log of what went wrong below what they want to know.

Turning a question into a vector costs by its length, so a few such users take the embedder as much time as a
crowd of others; the rest of the service hardly notices.
"""

from dataclasses import replace

from journeys.journey import journey
from journeys.visitor import Visitor

LINES = (12, 24)
"""Of about fifty characters each: from half of what the embedder reads of a text to all of it."""


@journey("paste", questions=1)
def paste(user: Visitor) -> None:
    """Ask with a log under the question; no two logs are alike, so that no answer is a kept one."""
    count = round(user.choose(*LINES))
    log = "\n".join(
        f"12:{line:02d}:07 ERROR worker {user.choose(0, 9999):.0f}: attempt {line} failed, giving up"
        for line in range(count)
    )
    (question,) = user.questions
    user.ask(replace(question, text=f"{question.text}\n\n{log}"))
