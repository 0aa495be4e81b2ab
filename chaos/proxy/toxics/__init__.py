"""Toxics, one file each; `stage_kinds()` finds them all."""

from chaos.proxy.toxics.stage import Attributes, Chunk, Held, Line, Stage, stage_kinds

__all__ = ["Attributes", "Chunk", "Held", "Line", "Stage", "stage_kinds"]
