"""Figures from plain arrays: one module per family; the only place that draws with matplotlib."""
