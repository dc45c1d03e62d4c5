"""How long it takes until something is there: from the start of `tftrt convert` to its exit, of `tftrt serve` to ready.

`python -m benchmarks.start`, by the converter's Python, on a processor or a GPU. Builds take turns, each with the
environment that runs this: they differ in nothing but their own code.
"""
