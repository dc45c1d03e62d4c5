"""`tftrt convert`: `step`, `for_cpu` and `for_gpu` are the parent; the rest is what its child processes run."""
