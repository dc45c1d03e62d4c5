"""The cluster of the end-to-end tests. A run takes a quarter of an hour: it has a make target of its own."""

from tests.e2e.conftest import cluster, models, workspace

__all__ = ["cluster", "models", "workspace"]
