"""Miniature data sets: procedural clips, really encoded, in the official layouts."""

from pipeline.mini.generator import generate

__all__ = ["generate"]
