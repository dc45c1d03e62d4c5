"""The model repository and the backend folder that tritonserver is pointed at."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tftrt_runtime.contract.artifact import Manifest, Tensor
from tftrt_runtime.contract.errors import ServerFailed
from tftrt_runtime.contract.spec import ServerSpec
from tftrt_runtime.model.dtypes import config_name
from tftrt_runtime.serve import limits

# Our own backend, as tritonserver looks for it: libtriton_NAME.so in a folder NAME. See `backend/backend.c`.
BACKEND = "tftrt"
LIBRARY = Path(__file__).with_name(f"libtriton_{BACKEND}.so")


def write_model(repository: Path, spec: ServerSpec, manifest: Manifest) -> None:
    """Write the repository with this one model."""
    name = spec.model.name
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config(spec, manifest))


def may_depend_on_others(spec: ServerSpec, manifest: Manifest) -> bool:
    """Whether an item's answer may depend on the others of its batch, by what a conversion saw.

    Either the one that made the artifact, or the one that verified it on this model's own data, as the operator says.
    """
    found = manifest.summary.batching
    return spec.batching == "Disabled" or (found is not None and found.mode == "Disabled")


def are_put_together(spec: ServerSpec, manifest: Manifest) -> bool:
    """Whether several requests may become one call of the model.

    Not those for a model that takes no batches.
    """
    return manifest.summary.batched and not may_depend_on_others(spec, manifest)


def config(spec: ServerSpec, manifest: Manifest) -> str:
    """`config.pbtxt`: the signature, an instance a slot, dynamic batching up to the largest batch size where it may be.

    Requests of different shapes are not put together:
    that is Triton's default where an input has open dimensions. Without `dynamic_batching` no requests are, and each
    may be as large as `max_batch_size`; where that is 0 tensors have no batch in front.

    No queue policy: with a bound on size or time Triton's batcher misses wake-ups and sleeps for 500 ms at a time
    (docs/decisions/0007). A client's deadline bounds its wait: a cancelled request is dropped from the queue.
    """
    summary = manifest.summary
    scheduler = f"""\
dynamic_batching {{
  max_queue_delay_microseconds: {spec.maxQueueDelayMicroseconds}
}}
"""
    return f"""\
name: {_quoted(spec.model.name)}
backend: "{BACKEND}"
max_batch_size: {max(summary.batchSizes) if summary.batched else 0}
{_tensors("input", summary.inputs, summary.batched)}{_tensors("output", summary.outputs, summary.batched)}\
instance_group [ {{ kind: KIND_CPU count: {limits.SLOTS} }} ]
{scheduler if are_put_together(spec, manifest) else ""}"""


def _tensors(what: str, tensors: Iterable[Tensor], batched: bool) -> str:
    return "".join(
        f"{what} [ {{ name: {_quoted(tensor.name)} data_type: {config_name(tensor.dtype)} "
        f"{_dims(tensor.sizes(batched))} }} ]\n"
        for tensor in tensors
    )


def _dims(sizes: Sequence[int]) -> str:
    """The dimensions after the batch's, or all. Triton takes no empty list: a vector travels as [batch, 1].

    Where there are no batches, a scalar travels as [1]. It would make vectors and scalars of those by itself
    (`reshape`), in which tritonserver 2.51.0 was seen to crash. So `model_process` does.
    """
    return f"dims: [ {', '.join(map(str, sizes or (1,)))} ]"


def _quoted(text: str) -> str:
    """As a string of protobuf's text format, whose escapes are those of JSON but for code points beyond ASCII."""
    return json.dumps(text, ensure_ascii=False)


def tritonserver() -> Path:
    """The folder of NVIDIA's tritonserver in the `nvidia-pytriton` wheel.

    Raises:
        ServerFailed: the wheel is not installed.
    """
    # Found without importing it: PyTriton itself is not used, and takes a second to import.
    found = importlib.util.find_spec("pytriton")
    if found is None or not found.submodule_search_locations:
        raise ServerFailed("This image has no tritonserver: the package nvidia-pytriton is not installed.")
    return Path(found.submodule_search_locations[0]) / "tritonserver"


def link_backend(folder: Path) -> None:
    """Put the backend where tritonserver looks for it.

    Raises:
        ServerFailed: it was not installed.
    """
    if not LIBRARY.exists():
        raise ServerFailed(f"{LIBRARY} is missing: install the package tftrt-runtime, which compiles it.")
    backend = folder / BACKEND
    backend.mkdir(parents=True)
    (backend / LIBRARY.name).symlink_to(LIBRARY)


def library_path() -> list[Path]:
    """Where tritonserver finds its libraries: in the wheel."""
    return [tritonserver().parent.parent / "nvidia_pytriton.libs"]
