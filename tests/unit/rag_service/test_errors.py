"""The tree of errors: complete, and honest about what may be retried."""

from __future__ import annotations

import inspect

from rag_service import errors


def test_every_error_is_exported_and_drawn():
    """The tree in the docstring is the tree in the code."""
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.RagError)
    }
    assert classes == set(errors.__all__)
    assert sorted(errors.__all__) == errors.__all__
    assert all(name in (errors.__doc__ or "") for name in classes)


def test_only_broken_connections_are_retryable():
    """Anything else repeats work that a weak dependency cannot bear."""
    retryable = {
        name
        for name in errors.__all__
        if issubclass(getattr(errors, name), errors.DependencyError) and getattr(errors, name).retryable
    }
    assert retryable == {"DependencyUnreachable", "ConnectionBroken"}
