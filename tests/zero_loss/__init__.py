"""Load by real clients that repeat nothing, and what is done to a served model meanwhile: `make zero-loss`."""
