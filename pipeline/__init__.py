import os

# Read when pyarrow is first imported: its own allocator keeps several times what it needs.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
