"""A SavedModel, the tensors that it takes, and the batches that it is asked with."""
