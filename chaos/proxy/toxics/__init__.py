"""Toxics, one file each; `stage_kinds()` finds them all."""

from chaos.proxy.toxics.stage import Chunk, Line, Stage, stage_kinds

__all__ = ["Chunk", "Line", "Stage", "stage_kinds"]
