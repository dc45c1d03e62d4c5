"""Times a pure TensorRT engine, built from the same SavedModel through ONNX: `onnx_engine.py REQUEST.json ANSWER.json`.

The request names the `model`, its `signature`, where the `onnx` file goes, `workspaceBytes`, `batchSizes` and the
`seconds` of one measurement; the answer has `rows` as `run.py` writes them, and `layers` as `saved_engine.py` does.

This is what TF-TRT is held against: the same TensorRT, precision and workspace, and one engine for each batch size.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tensorrt as trt

from benchmarks.gpu import engine

OPSET = 13


def export(model: str, signature: str, target: Path) -> None:
    """The SavedModel as ONNX, once."""
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", model, "--signature_def", signature]
    command += ["--output", str(target), "--opset", str(OPSET)]
    if not target.exists():
        # On the processor, for TensorFlow would take the whole device.
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})


def build(onnx: Path, size: int, workspace: int) -> bytes:
    """A serialized FP16 engine for exactly this batch size."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        raise RuntimeError("; ".join(str(parser.get_error(index)) for index in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.set_flag(trt.BuilderFlag.FP16)
    network.get_input(0).shape = (size, *list(network.get_input(0).shape)[1:])
    return bytes(builder.build_serialized_network(network, config))


def main(request: dict[str, Any]) -> dict[str, Any]:
    """One row for each batch size and number of calls in flight; the layers. What was built is not built again."""
    rows, layers = [], {}
    onnx = Path(request["onnx"])
    export(request["model"], request["signature"], onnx)
    for size in request["batchSizes"]:
        plan = onnx.with_name(f"{onnx.stem}-{size}.plan")
        if not plan.exists():
            plan.write_bytes(build(onnx, size, request["workspaceBytes"]))
        found, layers[size] = engine.timed(plan.read_bytes(), size, request["seconds"])
        rows += found
    return {"rows": rows, "layers": layers}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
