"""A child process that writes a model's variables into its graph as constants, with its lookup tables beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.convert import without_xla
from tftrt_runtime.loading import freeze
from tftrt_runtime.loading.messages import FreezeAnswer, FreezeRequest
from tftrt_runtime.model import saved_model
from tftrt_runtime.processes import child


def save(request: FreezeRequest) -> FreezeAnswer:
    """Write the frozen SavedModel, with the one signature."""
    with tempfile.TemporaryDirectory(prefix="plain-") as folder:
        loaded = saved_model.load(without_xla.plain(Path(request.source), Path(folder)), request.uri)
        function = saved_model.signature(loaded, request.signature, request.uri)
        with log.timed("convert", "Froze the graph round its lookup tables"):
            freeze.save(freeze.freeze(loaded, function), function, request.target, request.signature)
    return FreezeAnswer()


if __name__ == "__main__":
    child.answer(FreezeRequest, save)
