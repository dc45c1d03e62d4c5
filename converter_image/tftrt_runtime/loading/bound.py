"""A child process that gives inputs of a SavedModel's signature one value for all requests, which then lack them.

Every other step then finds a SavedModel that never had these inputs. And it gives others the type that they are served
in (`decoding`), and inputs of any rank the one that they are asked with, for TF-TRT takes nothing of unknown rank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.loading import decoding, values
from tftrt_runtime.loading.messages import BindAnswer, BindRequest
from tftrt_runtime.model import saved_model
from tftrt_runtime.processes import child


def save(request: BindRequest) -> BindAnswer:
    """Write the SavedModel, with the one signature.

    Raises:
        NotAModel, SignatureNotFound: there is no such signature, or no such inputs, or they take other values.
    """
    # Its device is not saved: what lies in front of the model runs where the model does.
    given = {"values": sorted(request.values), "types": sorted(request.served), "shapes": sorted(request.shapes)}
    with log.timed("convert", "Gave inputs of the signature what the spec has for them", **given):
        loaded = saved_model.load(Path(request.source), request.uri)
        function = saved_model.signature(loaded, request.signature, request.uri)
        specs = {name: _ranked(name, spec, request) for name, spec in function.structured_input_signature[1].items()}
        if request.values:
            values.expect_known(request.values, sorted(specs), request.uri)
        types = decoding.specs(loaded, specs, request.served, request.values, request.uri)
        bound = {name: values.array(name, value, specs[name], request.uri) for name, value in request.values.items()}

        def serve(**tensors: Any) -> dict[str, Any]:
            constants = {name: tf.constant(value, specs[name].dtype) for name, value in bound.items()}
            decoded = {name: decoding.decoded(tensors[name], served) for name, served in request.served.items()}
            answers: dict[str, Any] = function(**{**tensors, **decoded}, **constants)
            return answers

        root = tf.Module()
        root.loaded = loaded  # its variables and tables
        taken = {name: types.get(name, specs[name]) for name in specs if name not in bound}
        root.serve = tf.function(serve, autograph=False).get_concrete_function(
            **{name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in taken.items()}
        )
        tf.saved_model.save(root, request.target, signatures={request.signature: root.serve})
    return BindAnswer()


def _ranked(name: str, spec: Any, request: BindRequest) -> Any:
    """The spec of an input, of the shape that one of any rank is to have."""
    given = request.shapes.get(name)
    return spec if given is None or spec.shape.rank is not None else tf.TensorSpec(given, spec.dtype, name)


if __name__ == "__main__":
    child.answer(BindRequest, save)
