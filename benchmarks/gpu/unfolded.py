"""Converts without folding padding into convolutions, for the comparison: `unfolded.py REQUEST.json ANSWER.json`.

The request is the converter's own for its engines.
"""

from __future__ import annotations

from tftrt_runtime import child
from tftrt_runtime.convert import engines, padding
from tftrt_runtime.convert.messages import EnginesAnswer, EnginesRequest


def convert(request: EnginesRequest) -> EnginesAnswer:
    """As the converter does, but for the padding."""
    padding.fold = lambda _graph: (0, 0)
    return engines.convert(request)


if __name__ == "__main__":
    child.answer(EnginesRequest, convert)
