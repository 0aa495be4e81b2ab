"""A visit that ends early: who sees nothing happen for a moment or two hangs up.

What matters is what the service does then: work for a user who has left is work taken from the rest.
The bounds are those within which people stop believing that a page is still working.
"""

from journeys.journey import journey
from journeys.visitor import Visitor

FIRST_TOKEN_WITHIN_S = (1.0, 3.0)


@journey("impatient", questions=1)
def impatient(user: Visitor) -> None:
    user.ask(user.questions[0], first_token_within_s=user.choose(*FIRST_TOKEN_WITHIN_S))
