"""Child processes, and what the kernel tells of them."""
