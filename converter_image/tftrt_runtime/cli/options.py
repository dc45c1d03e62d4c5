"""What a person writes on the command line, made into the spec that the operator would have made."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from tftrt_runtime.contract.errors import UsageError
from tftrt_runtime.contract.spec import SERVED_TYPES, JobSpec
from tftrt_runtime.device.messages import DevicesAnswer, DevicesRequest
from tftrt_runtime.processes import child

# A spec is that of a TRTModel in a cluster; here there is neither.
NAMESPACE = "local"
FINGERPRINT = "0" * 32
MAX_NAME = 63
_WITH_A_USER = re.compile(r"https?://[^/]*@", re.IGNORECASE)

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class ConvertOptions:
    """The options of `tftrt convert`, as they were written."""

    source: str
    target: Path
    signature: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: tuple[str, ...]
    precision: str
    batch_sizes: tuple[int, ...]
    max_workspace_size: str
    minimum_segment_size: int
    dynamic_shapes: str | None
    input_shapes: tuple[str, ...]
    input_types: tuple[str, ...]
    input_scales: tuple[str, ...]
    input_offsets: tuple[str, ...]
    calibration_data: str | None
    calibration_samples: int
    calibration_batch_size: int
    verification_data: str | None
    top1_output: str | None


def spec_of(options: ConvertOptions, runtime: dict[str, str]) -> JobSpec:
    """The spec.

    Raises:
        UsageError: the options do not fit together; what does not is told.
    """
    frozen = bool(options.inputs or options.outputs)
    made: dict[str, Any] = {
        "version": 1,
        "model": {"namespace": NAMESPACE, "name": name_of(options.source)},
        "fingerprint": FINGERPRINT,
        "source": {
            "uri": place(options.source),
            "format": "FrozenGraph" if frozen else "SavedModel",
            "signature": options.signature,
            "inputs": options.inputs,
            "outputs": options.outputs,
            "values": dict(map(value, options.values)),
        },
        "conversion": {
            "precision": options.precision,
            "maxWorkspaceSizeBytes": size(options.max_workspace_size),
            "batchSizes": tuple(sorted(set(options.batch_sizes))),
            "minimumSegmentSize": options.minimum_segment_size,
            "dynamicShapes": options.dynamic_shapes,
            "inputShapes": dict(map(shapes, options.input_shapes)),
            "inputs": served_inputs(options.input_types, options.input_scales, options.input_offsets),
            "calibration": None
            if options.calibration_data is None
            else {
                "uri": place(options.calibration_data),
                "samples": options.calibration_samples,
                "batchSize": options.calibration_batch_size,
            },
        },
        "verification": {
            "uri": options.verification_data and place(options.verification_data),
            "top1Output": options.top1_output,
        },
        "runtime": runtime,
        "artifacts": {"uri": str(options.target.absolute())},
    }
    try:
        return JobSpec.model_validate(made)
    except ValidationError as error:
        told = "; ".join(str(wrong["msg"]).removeprefix("Value error, ") for wrong in error.errors(include_input=False))
        raise UsageError(f"These options do not fit together: {told}.") from error


def name_of(source: str) -> str:
    """What to call the model: its file's or folder's name, as far as that can be a name."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(source.partition("?")[0]).name.partition(".")[0].lower())
    return name[:MAX_NAME].strip("-") or "model"


def place(text: str) -> str:
    """A URI as it is, and a path from the root on.

    Raises:
        UsageError: it has a user or a password in it, which would be told wherever it is.
    """
    if _WITH_A_USER.match(text):
        raise UsageError(
            "An address must not contain a user or a password, which would stand in logs and in the report: put them "
            "into files `username` and `password`, and the host into a file `hosts`, in a folder named after what they "
            "are for (source, calibration or verification), and name the folder above that in TFTRT_SECRETS."
        )
    return text if "://" in text else str(Path(text).absolute())


def size(text: str) -> int:
    """Bytes, of a quantity as Kubernetes writes them: `4G`, `512Mi`.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+)([KMGT]i?)?", text)
    if not found:
        raise UsageError(f"{text!r} is no size: write bytes, or a number with K, M, G, Ki, Mi or Gi, such as 4G.")
    return int(found[1]) * UNITS[found[2] or ""]


def value(text: str) -> tuple[str, Any]:
    """An input's name and what it is bound to, of `phase_train=false`; what is no JSON is a text.

    Raises:
        UsageError: it is not written so, or is none that a spec can have.
    """
    name, mark, given = text.partition("=")
    if not name or not mark:
        raise UsageError(f"{text!r} is no value of an input: write NAME=VALUE, such as phase_train=false.")
    try:
        made = json.loads(given)
    except ValueError:
        return name, given
    if not isinstance(made, (bool, int, float, str)) or (isinstance(made, float) and not math.isfinite(made)):
        raise UsageError(
            f"{text!r} is no value of an input: give one finite number, one text, true or false, which all of its "
            "elements have."
        )
    return name, made


def shapes(text: str) -> tuple[str, dict[str, tuple[int, ...]]]:
    """An input's name and its sizes, of `ids=128` or, with least, usual and most, `ids=1,128,512`.

    The sizes are of all dimensions but the batch, an `x` between two: `image=224x224x3`.

    Raises:
        UsageError: it is not written so.
    """
    name, _, given = text.partition("=")
    parts = given.split(",")
    if not name or len(parts) not in {1, 3} or not all(re.fullmatch(r"\d+(x\d+)*", part) for part in parts):
        raise UsageError(
            f"{text!r} is no shape of an input: write NAME=SIZES or NAME=LEAST,USUAL,MOST, such as image=224x224x3 or "
            "ids=1,128,512."
        )
    sizes = [tuple(map(int, part.split("x"))) for part in parts]
    least, usual, most = sizes * 3 if len(sizes) == 1 else sizes
    return name, {"min": least, "opt": usual, "max": most}


def served_inputs(types: Iterable[str], scales: Iterable[str], offsets: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The inputs that are served in another type: `image=UINT8`, and of it `image=0.5` or `image=0.5,0.25,0.125`.

    Raises:
        UsageError: one is not written so, or has a scale or an offset and no type.
    """
    made: dict[str, dict[str, Any]] = {name: {"dtype": served} for name, served in map(_type, types)}
    for option, given in (("scale", scales), ("offset", offsets)):
        for name, numbers in map(_numbers, given):
            if name not in made:
                raise UsageError(
                    f"--input-{option} has {name!r}, which --input-type has not: {option} is for an input that is "
                    "served in another type than the model takes. Add one, such as --input-type "
                    f"{name}=UINT8, or leave the {option} out."
                )
            made[name][option] = numbers
    return made


def _type(text: str) -> tuple[str, str]:
    name, _, served = text.rpartition("=")
    if not name or served not in SERVED_TYPES:
        raise UsageError(
            f"{text!r} is no type of an input: write NAME=TYPE with {' or '.join(SERVED_TYPES)}, such as image=UINT8."
        )
    return name, served


def _numbers(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, numbers = text.rpartition("=")
    if not name or not numbers:
        raise UsageError(
            f"{text!r} gives an input no numbers: write NAME=NUMBER, or NAME=NUMBER,NUMBER,NUMBER with one for each "
            "channel, such as image=-123.68,-116.779,-103.939."
        )
    return name, tuple(numbers.split(","))


def look() -> DevicesAnswer:
    """What TensorFlow sees of this machine."""
    return child.run("tftrt_runtime.device.devices", DevicesRequest(), DevicesAnswer, "convert")


def runtime(seen: DevicesAnswer) -> dict[str, str]:
    """What this machine converts with: TensorRT where TensorFlow sees a GPU."""
    kind = {"name": "gpu", "accelerator": "GPU"} if seen.gpus else {"name": "cpu", "accelerator": "None"}
    return {**kind, "tensorflow": seen.tensorflow, "tensorrt": seen.tensorrt}
