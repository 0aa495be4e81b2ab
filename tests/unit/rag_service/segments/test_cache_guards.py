"""Questions that lie near each other and must not share an answer, and some that may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.segments.guards import difference

APART = [
    ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?", "opposite"),
    ("How do I turn on logging?", "How do I turn off logging?", "opposite"),
    ("How do I encode bytes as base64?", "How do I decode bytes as base64?", "opposite"),
    ("How do I open a file for reading?", "How do I open a file for writing?", "opposite"),
    ("How do I add an item to a list?", "How do I remove an item from a list?", "opposite"),
    ("How do I sort in ascending order?", "How do I sort in descending order?", "opposite"),
    ("How do I get the first item of a deque?", "How do I get the last item of a deque?", "opposite"),
    ("How do I pickle an object?", "How do I unpickle an object?", "opposite"),
    ("How do I import a module?", "How do I export a module?", "opposite"),
    ("How do I increase the recursion limit?", "How do I decrease the recursion limit?", "opposite"),
    ("How do I iterate over the keys of a dict?", "How do I iterate over the values of a dict?", "opposite"),
    ("How do I get the parent process id?", "How do I get the child process id?", "opposite"),
    ("How do I sort a list?", "How do I sort a list in descending order?", "opposite"),
    ("Which signals can be caught?", "Which signals cannot be caught?", "negation"),
    ("Why does it block?", "Why doesn’t it block?", "negation"),
    ("How do I run a thread with a timeout?", "How do I run a thread without a timeout?", "negation"),
    ("What changed in Python 3.11?", "What changed in Python 3.12?", "number"),
    ("How do I compute a SHA-1 hash?", "How do I compute a SHA-256 hash?", "number"),
    ("Read the first three lines", "Read the first five lines", "number"),
    ("What does os.path.join do?", "What does os.path.split do?", "identifier"),
    ("What does str.lstrip do?", "What does str.rstrip do?", "identifier"),
    ("How do I create a TCP server?", "How do I create a UDP server?", "identifier"),
    ("What does read_text return?", "What does read_bytes return?", "identifier"),
    ("What does ThreadPoolExecutor do?", "What does ProcessPoolExecutor do?", "identifier"),
    ("What does the flag -O do?", "What does the flag -B do?", "identifier"),
    ("What does a + b do?", "What does a * b do?", "identifier"),
    ("How do I convert an int to a str?", "How do I convert a str to an int?", "word order"),
    ("Is a dict faster than a list?", "Is a list faster than a dict?", "word order"),
    ("Close a socket before shutdown?", "Shutdown a socket before close?", "word order"),
    ("How do I convert to bytes from a str?", "How do I convert from bytes to a str?", "word order"),
    ("How do I check if any item is true?", "How do I check if all items are true?", "opposite"),
    ("How do I close some files?", "How do I close every file?", "opposite"),
    ("How do I convert a dict to JSON?", "How do I convert a dict from JSON?", "opposite"),
    ("How do I move files into a zip?", "How do I move files from a zip?", "opposite"),
    ("How to move files into a zip?", "How to move files from a zip?", "opposite"),
    ("How do I match a and b?", "How do I match a or b?", "opposite"),
    ("Why do I use a lock?", "How do I use a lock?", "question"),
    ("When do I use a lock?", "How do I use a lock?", "question"),
    ("Is it safe to use eval?", "How do I use eval?", "question"),
    ("In Python, is it safe to use eval?", "In Python, how do I use eval?", "question"),
    ("Can a dict be sorted?", "How can a dict be sorted?", "question"),
    ("How many threads does a process have?", "What threads does a process have?", "question"),
]
TOGETHER = [
    ("How do I rename a file?", "How can I rename a file?"),
    ("How do I make a temporary directory?", "How can I create a temporary directory?"),
    ("What does functools.lru_cache do?", "What is functools.lru_cache for?"),
    ("How do I enable two-factor authentication?", "How can I turn on two-factor authentication?"),
    ("Please tell me how to copy a file", "How do I copy a file?"),
    ("Which module computes SHA-256 hashes?", "What module can compute SHA-256 hashes?"),
    ("Why can't it be closed?", "Why can it not be closed?"),
    ("How do I rename a file?", "What is the best way to rename a file?"),
    ("Can you tell me how to copy a file?", "How do I copy a file?"),
    ("How to find the working directory?", "How do I find the working directory?"),
    ("How do I parse JSON from a string?", "How can I parse a JSON string?"),
    ("How do I measure how long a function takes?", "How can I measure the time a function takes?"),
    ("Run a subprocess and capture its output", "How do I run a subprocess and capture its output?"),
    ("How do I move files to a zip?", "How do I move files into a zip?"),
]


@pytest.mark.parametrize(("one", "other", "guard"), APART)
def test_what_asks_something_else_is_told_apart(one, other, guard):
    """Whichever of the two was asked first."""
    assert difference(one, other) == difference(other, one) == guard


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_what_asks_the_same_is_let_through(one, other):
    """The guards would be safe and useless if they let nothing pass."""
    assert difference(one, other) is None
    assert difference(other, one) is None


@given(st.text(max_size=200))
def test_a_question_is_like_itself(question):
    """Whatever it consists of."""
    assert difference(question, question) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_order_of_asking_does_not_matter(one, other):
    """The guards compare, they do not rank."""
    assert (difference(one, other) is None) == (difference(other, one) is None)
