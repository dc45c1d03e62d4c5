"""What was fetched, as a SavedModel whatever its format."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime import child
from tftrt_runtime.convert import messages
from tftrt_runtime.spec import JobSpec

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}


def saved_model(spec: JobSpec, source: Path, target: Path) -> Path:
    """The SavedModel's folder: the source itself, or `target`, where one is made of a frozen graph.

    Raises:
        NotAModel, SignatureNotFound: it is no frozen graph, or has not the tensors that the spec names.
    """
    if spec.source.format == "SavedModel":
        return source
    request = messages.ImportRequest(
        uri=spec.source.uri,
        source=str(source),
        inputs=spec.source.inputs,
        outputs=spec.source.outputs,
        signature=spec.source.signature,
        target=str(target),
    )
    child.run("tftrt_runtime.convert.frozen_graph", request, messages.ImportAnswer, "convert", NO_GPU)
    return target
