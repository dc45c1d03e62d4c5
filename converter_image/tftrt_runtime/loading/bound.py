"""A child process that gives inputs of a SavedModel's signature one value for all requests, which then lack them.

Every other step then finds a SavedModel that never had these inputs. And it gives inputs of any rank the one that they
are asked with, for TF-TRT takes nothing whose rank it does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.loading import values
from tftrt_runtime.loading.messages import BindAnswer, BindRequest
from tftrt_runtime.model import saved_model
from tftrt_runtime.processes import child


def save(request: BindRequest) -> BindAnswer:
    """Write the SavedModel, with the one signature.

    Raises:
        NotAModel, SignatureNotFound: there is no such signature, or no such inputs, or they take other values.
    """
    with tf.device("CPU:0"), log.timed("convert", "Bound inputs to their values", inputs=sorted(request.values)):
        loaded = saved_model.load(Path(request.source), request.uri)
        function = saved_model.signature(loaded, request.signature, request.uri)
        specs = function.structured_input_signature[1]
        if request.values:
            values.expect_known(request.values, sorted(specs), request.uri)
        bound = {name: values.array(name, value, specs[name], request.uri) for name, value in request.values.items()}

        def serve(**tensors: Any) -> dict[str, Any]:
            constants = {name: tf.constant(value, specs[name].dtype) for name, value in bound.items()}
            answers: dict[str, Any] = function(**tensors, **constants)
            return answers

        root = tf.Module()
        root.loaded = loaded  # its variables and tables
        shapes = {name: request.shapes.get(name, specs[name].shape) for name in specs if name not in bound}
        root.serve = tf.function(serve, autograph=False).get_concrete_function(
            **{name: tf.TensorSpec(shape, specs[name].dtype, name) for name, shape in shapes.items()}
        )
        tf.saved_model.save(root, request.target, signatures={request.signature: root.serve})
    return BindAnswer()


if __name__ == "__main__":
    child.answer(BindRequest, save)
