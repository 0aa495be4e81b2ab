"""The common visit: one question, and the answer is read as it is written."""

from journeys.journey import journey
from journeys.visitor import Visitor


@journey("ask", questions=1)
def ask(user: Visitor) -> None:
    user.ask(user.questions[0])
