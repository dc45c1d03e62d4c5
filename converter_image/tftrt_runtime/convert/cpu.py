"""A child process that converts for machines without a GPU: the graph frozen and optimised, no TensorRT."""

from __future__ import annotations

import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.convert.messages import ConvertAnswer, ConvertRequest
from tftrt_runtime.loading import freeze
from tftrt_runtime.processes import child
from tftrt_runtime.verification import reference


def convert(request: ConvertRequest) -> ConvertAnswer:
    """Write the converted SavedModel and the unconverted model's answers."""
    (loaded, function), answer = reference.ask(request)
    if answer.kept is None:
        with log.timed("convert", "Froze and optimised the graph"):
            frozen = freeze.freeze(loaded, function)
            total_ops = freeze.count(frozen.graph)
            freeze.save(frozen, function, request.target, request.signature)
    else:
        log.event("convert", "The model is kept as it is", why=answer.kept)
        total_ops = freeze.count(function.graph.as_graph_def())
        tf.saved_model.save(loaded, request.target, signatures={request.signature: function})
    return ConvertAnswer(**answer.model_dump(), total_ops=total_ops)


if __name__ == "__main__":
    child.answer(ConvertRequest, convert)
