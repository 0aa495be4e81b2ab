"""Judges every segment in every phase from the evidence that a run leaves behind."""
