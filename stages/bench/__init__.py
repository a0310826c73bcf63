"""Benchmarks: what `tdn bench NAME` measures is `stages/bench/NAME.py`."""
