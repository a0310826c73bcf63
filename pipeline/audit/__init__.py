"""From any printed number back to the raw file: walk, levels of checking, root digest, exports."""
