"""Holds presets to what was measured: published curves, and live servers."""
