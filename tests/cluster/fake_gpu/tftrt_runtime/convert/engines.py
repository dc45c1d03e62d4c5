"""A child process that plays a conversion with TensorRT: the graph frozen and optimised, as for the CPU."""

from __future__ import annotations

import tensorflow as tf
from tftrt_runtime.convert.messages import EnginesAnswer, EnginesRequest
from tftrt_runtime.loading import freeze
from tftrt_runtime.processes import child


def convert(request: EnginesRequest) -> EnginesAnswer:
    """Write the converted SavedModel, and tell that all of it lies in one engine."""
    loaded = tf.saved_model.load(request.source)
    function = loaded.signatures[request.signature]
    frozen = freeze.freeze(loaded, function)
    freeze.save(frozen, function, request.target, request.signature)
    operations = freeze.count(frozen.graph)
    return EnginesAnswer(engines=1, converted_ops=operations, total_ops=operations, segments=(), rewrites=())


if __name__ == "__main__":
    child.answer(EnginesRequest, convert)
