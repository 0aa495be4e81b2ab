"""Figures against a named peer in the same run; never part of a test."""
