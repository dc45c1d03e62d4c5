"""Random graphs round the patterns that are rewritten, to see whether a rewrite changes an answer.

`patterns.py` draws networks, `run.py` rewrites and compares them, and `python -m tests.random_graphs` does it often.
"""
