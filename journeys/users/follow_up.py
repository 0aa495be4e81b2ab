"""A programme's visit: two questions in one session, each answer taken whole as JSON.

The second question is asked whatever became of the first. A user who left after a failure would take
load off the service just when it is sick, and that would flatter it.
"""

from journeys.journey import journey
from journeys.visitor import Visitor

THINK_S = (0.5, 2.0)


@journey("follow_up", questions=2)
def follow_up(user: Visitor) -> None:
    first, second = user.questions
    user.ask(first, stream=False)
    user.think(user.choose(*THINK_S))
    user.ask(second, stream=False)
