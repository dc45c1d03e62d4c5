"""`tftrt serve`: `step` is the parent, which runs tritonserver; and `model_process`, which
runs the model. `backend/` is the part of tritonserver that hands it batches."""
