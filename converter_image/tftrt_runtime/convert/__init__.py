"""What a conversion does: `for_cpu` and `for_gpu` are the parents; the rest is what their child processes run."""
