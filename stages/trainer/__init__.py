"""How a row is trained: steps, checkpoints, log, and several workers for one row."""
