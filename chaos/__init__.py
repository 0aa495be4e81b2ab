"""Faults, experiments and the runner that puts them between a RAG service and its parts."""

__version__ = "0.1.0"
