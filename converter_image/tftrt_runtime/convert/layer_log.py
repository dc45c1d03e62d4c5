"""The layers of each engine, and the precision of each, from TensorRT's verbose log: the engine itself tells neither.

TensorRT 8 ends a build with one message of many lines:

    Engine Layer Information:
    Layer(Reformat): <name>, Tactic: 0x3e8, images[Float(1,3,224,224)] -> <name>[Half(1,3:4,224,224)]
    Layer(CaskConvolution): <name>, Tactic: 0x1f6c..., <name>[Half(...)], ... -> <name>[Half(...)]
"""

from __future__ import annotations

import re
from collections import deque

from tftrt_runtime.contract.errors import Failure
from tftrt_runtime.convert.build_log import BuildLog
from tftrt_runtime.report.data import EngineLayers, Layer

# With these a process tells which engine it builds and all that TensorRT says, tens of megabytes of it.
VERBOSE = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "trt_logger=2,trt_engine_op=1"}

MAX_LAYERS = 2000  # of one engine

_MESSAGE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([A-Z]) (\S+)\] (.*)")
# What else may come after a message of many lines, and is none of them.
_OTHERS = ("Traceback ", "terminate called", "Fatal Python error", "INFO:", "WARNING:", "ERROR:")
_BUILDING = re.compile(r"Building a new TensorRT engine for (\S+) with input shapes: (.*)")
_CALIBRATING = re.compile(r"Executing TRT calibration: (\S+)")
_INFORMATION = "Engine Layer Information:"
_LAYER = re.compile(r"Layer\((?P<kind>[^)]*)\): (?P<name>.*), Tactic: [^,]*, (?P<inputs>.*?) ?-> (?P<outputs>.*)")
# `name[Half(1,64)]`, and `name (Half[1,64])` in later versions of TensorRT.
_TYPE = re.compile(r"(?:\[(?=\w+\()|\((?=\w+\[))([A-Z]\w*)")
_PRECISIONS = {"Float": "FP32", "Half": "FP16", "Int8": "INT8", "Int32": "INT32", "Bool": "BOOL"}
_NUMBERS = ("INT8", "FP16", "FP32")


class LayerLog:
    """Watches a child that builds engines, as BuildLog does, and keeps TensorFlow's information lines from the log.

    Calibration builds engines in threads of its own, unannounced. Where the last of them is kept, `calibrated` says for
    which shapes.
    """

    def __init__(self, calibrated: str | None = None) -> None:
        self._build = BuildLog()
        self._calibrated = calibrated
        self._calibrating: set[str] = set()
        self._unannounced: list[Layer] = []
        self._informs = False  # whether the last message was information; the lines after it belong to it
        self._layers: list[Layer] | None = None  # the list that it was, if it was one of layers
        self._waiting: deque[tuple[str, str]] = deque()  # engines being built, with their shapes
        self._engines: list[tuple[str, str, list[Layer]]] = []

    def see(self, line: str) -> bool:
        """Read what is information; pass on everything else."""
        message = _MESSAGE.match(line)
        if message:
            self._informs, self._layers = message[1] == "I", None
        elif line.startswith(_OTHERS):
            self._informs = False
        if not self._informs:
            return self._build.see(line)
        self._read(message[3] if message else line)
        return False

    def failure(self) -> Failure | None:
        """As BuildLog has it."""
        return self._build.failure()

    @property
    def engines(self) -> tuple[EngineLayers, ...]:
        """In the order in which they were built; where calibration made several at a time, without those."""
        found = list(self._engines)
        if self._calibrated and self._unannounced and len(self._calibrating) == 1:
            (engine,) = self._calibrating
            found.insert(0, (engine, self._calibrated, self._unannounced))
        return tuple(
            EngineLayers(engine=engine, shapes=shapes, layers=tuple(layers)) for engine, shapes, layers in found
        )

    def _read(self, text: str) -> None:
        building, calibrating = _BUILDING.search(text), _CALIBRATING.search(text)
        if building:
            self._waiting.append((building[1], building[2]))
        elif calibrating:
            self._calibrating.add(calibrating[1])
        elif text.endswith(_INFORMATION):
            self._layers = []
            if self._waiting:
                self._engines.append((*self._waiting.popleft(), self._layers))
            else:
                self._unannounced = self._layers
        elif self._layers is not None:
            layer = _layer(text)
            if layer and len(self._layers) < MAX_LAYERS:
                self._layers.append(layer)


def _layer(text: str) -> Layer | None:
    """The layer that a line tells of."""
    found = _LAYER.match(text)
    if not found:
        return None
    return Layer(name=found["name"], kind=found["kind"], precision=_precision(found["inputs"], found["outputs"]))


def _precision(inputs: str, outputs: str) -> str:
    """The type that a layer computes in: of the tensors that it reads the narrowest, or of what it makes from nothing.

    Indices do not count where there are numbers.
    """
    found = [_PRECISIONS.get(name, name) for name in _TYPE.findall(inputs) or _TYPE.findall(outputs)]
    return next((name for name in _NUMBERS if name in found), found[0] if found else "")
