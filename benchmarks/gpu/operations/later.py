"""TensorFlow, imported when it is first used.

The graphs are named and described where there is no TensorFlow, too: the page is written there.
"""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


tf: Any = Later("tensorflow")
