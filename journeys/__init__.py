"""User journeys on Locust, at an honest open-loop arrival rate."""
