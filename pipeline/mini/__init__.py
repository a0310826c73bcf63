"""Miniature data sets: procedural clips, really encoded, in the official layouts."""

from pipeline.mini.generate import generate

__all__ = ["generate"]
