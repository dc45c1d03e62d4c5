"""`tftrt serve`: `step` is the parent, which runs tritonserver; `python_model` runs in Triton's Python backend."""
