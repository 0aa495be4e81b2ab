"""Admission: a bound on answers under way, the least critical turned away first."""

from __future__ import annotations

import pytest

from rag_service.api.admission import Admission
from rag_service.errors import Overloaded


def fill(admission, number):
    return [admission.admit("critical") for _ in range(number)]


def test_less_critical_work_meets_its_limit_first():
    """With 10 places: sheddable up to 5, normal up to 9, critical up to 10."""
    admission = Admission(10, retry_after_s=1.0)
    fill(admission, 5)
    with pytest.raises(Overloaded):
        admission.admit("sheddable")
    fill(admission, 4)
    with pytest.raises(Overloaded):
        admission.admit("normal")
    fill(admission, 1)
    with pytest.raises(Overloaded) as refused:
        admission.admit("critical")
    assert refused.value.retry_after_s == 1.0


def test_a_ticket_given_back_twice_counts_once():
    """However many ways a response ends, one place comes free."""
    admission = Admission(10, retry_after_s=1.0)
    ticket, *_ = fill(admission, 3)
    ticket.give_back()
    ticket.give_back()
    assert admission.in_flight == 2


def test_without_a_limit_it_only_counts():
    """Resilience off admits everybody."""
    admission = Admission(None, retry_after_s=1.0)
    fill(admission, 1000)
    assert admission.in_flight == 1000
