"""`tftrt convert`: `step` is the parent; `devices`, `cpu` and `check` are what its child processes run."""
