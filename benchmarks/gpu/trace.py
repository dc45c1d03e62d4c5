"""Where the time of a converted model's call goes: `trace.py REQUEST.json ANSWER.json`.

The request names the `model`, its `inputs` and `sample`, `batchSizes`, and the `folder` that TensorFlow's profile is
left in, too. The answer has, for each batch size with one call in flight and its input on the device, the median
microseconds that a call takes, from its start to the GPU's first work, that the GPU works and that it is idle in
between, and from its last work to the call's end.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2
from tftrt_runtime.benchmark import timing
from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.model import samples
from tftrt_runtime.processes import timers
from tftrt_runtime.serve import streams

CALLS = 20
CALL = "call"


def main(request: dict[str, Any]) -> dict[str, Any]:
    """The profile of a few calls at each batch size."""
    timers.set_slack()
    (stream,) = streams.load(Path(request["model"]), (None,))
    inputs = [Tensor.model_validate(tensor) for tensor in request["inputs"]]
    sample = Sample.model_validate(request["sample"])
    found: dict[str, Any] = {}
    for size in request["batchSizes"]:
        run = timing.on_device(stream, samples.batch(inputs, size, sample))
        timing.warm_up(run)
        with tempfile.TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            for index in range(CALLS):
                with tf.profiler.experimental.Trace(CALL, step_num=index):
                    run()
            tf.profiler.experimental.stop()
            (file,) = Path(folder).rglob("*.xplane.pb")
            profile = file.read_bytes()
        Path(request["folder"], f"trace-{size}.xplane.pb.gz").write_bytes(gzip.compress(profile))
        found[str(size)] = parts(xplane_pb2.XSpace.FromString(profile))
    return {"rows": [], "calls": found}


def parts(profile: xplane_pb2.XSpace) -> dict[str, Any]:
    """The median microseconds of a call and of its parts, and the GPU's work by name, the longest first."""
    calls: list[tuple[float, float]] = []
    work: list[tuple[float, float, str]] = []
    for plane in profile.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                begin = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                end, name = begin + event.duration_ps / 1e6, names[event.metadata_id]
                if plane.name.startswith("/device:GPU") and line.name.startswith("Stream"):
                    work.append((begin, end, name))
                elif name.split("#")[0] == CALL:
                    calls.append((begin, end))
    measured: dict[str, list[float]] = defaultdict(list)
    kernels: dict[str, float] = defaultdict(float)
    for begin, end in calls[1:]:
        inside = sorted(one for one in work if one[0] >= begin and one[1] <= end)
        measured["call"].append(end - begin)
        if inside:
            last = max(one[1] for one in inside)
            busy = _covered(inside)
            measured["beforeTheGPUWorks"].append(inside[0][0] - begin)
            measured["working"].append(busy)
            measured["idleInBetween"].append(last - inside[0][0] - busy)
            measured["afterTheGPUWorked"].append(end - last)
            for first, second, name in inside:
                kernels[name] += (second - first) / len(calls[1:])
    longest = dict(sorted(kernels.items(), key=lambda item: -item[1]))
    return {**{name: round(median(values), 1) for name, values in measured.items()}, "kernels": longest}


def _covered(intervals: list[tuple[float, float, str]]) -> float:
    """The length of what the intervals, sorted by their beginning, cover together."""
    covered, until = 0.0, float("-inf")
    for begin, end, _ in intervals:
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
