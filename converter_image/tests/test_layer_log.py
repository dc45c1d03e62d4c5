"""Layers and their precisions, read from a log such as TensorFlow 2.14 and TensorRT 8.5 write."""

# ruff: noqa: E501 - the lines are those of a log

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from tftrt_runtime.contract.errors import NothingConvertible
from tftrt_runtime.convert import layer_log
from tftrt_runtime.convert.layer_log import LayerLog
from tftrt_runtime.processes import child
from tftrt_runtime.report.data import Layer

TIME = "2026-01-01 00:00:00.000000"
OPERATION = f"{TIME}: I tensorflow/compiler/tf2tensorrt/kernels/trt_engine_op.cc:1183]"
LOGGER = f"{TIME}: I tensorflow/compiler/tf2tensorrt/utils/trt_logger.cc:36] DefaultLogger"
WARNING = f"{TIME}: W tensorflow/compiler/tf2tensorrt/kernels/trt_engine_op.cc:1059]"

BUILD = f"""\
{OPERATION} Building a new TensorRT engine for TRTEngineOp_000_000 with input shapes: [[1,224,224,3]]
{LOGGER} --------------- Timing Runner: conv1/Conv2D + conv1/Relu (CaskConvolution)
{LOGGER} Tactic: 0x0c3cf6586e6d0d8a Time: 0.0112
{LOGGER} Skipping tactic 1 due to insufficient memory on requested size of 512 bytes
{LOGGER} Engine Layer Information:
Layer(Constant): scale + (Unnamed Layer* 4) [Shuffle], Tactic: 0x0000000000000000,  -> (Unnamed Layer* 4) [Shuffle]_output[Half(1,1,64)]
Layer(Reformat): Reformatting CopyNode for Input Tensor 0 to conv1, Tactic: 0x00000000000003e8, input[Float(3,224,224)] -> Reformatted Input Tensor 0 to conv1[Half(3:4,224,224)]
Layer(CaskConvolution): conv1/Conv2D + conv1/Relu, Tactic: 0x1f6c40e3e09ec730, Reformatted Input Tensor 0 to conv1[Half(3:4,224,224)] -> conv1[Int8(64:32,112,112)]
Layer(CaskConvolution): conv2 + add + relu, Tactic: 0x2a, conv1[Int8(64:32,112,112)], side[Half(64,112,112)] -> conv2[Half(64,112,112)]
Layer(Gather): embedding, Tactic: 0x1, ids[Int32(1,8)], (Unnamed Layer* 1) [Shuffle]_output[Float(100,16)] -> embedded[Float(1,8,16)]
Layer(Myelin): {{ForeignNode[a...b]}}, Tactic: 0x0, conv2[Half(64,112,112)] -> probabilities[Float(1000)]
{LOGGER} Total per-runner device persistent memory is 0"""


def seen(text: str) -> tuple[LayerLog, list[str]]:
    """What the log amounts to, and the lines that it passes on."""
    log = LayerLog()
    return log, [line for line in text.splitlines() if log.see(line)]


def test_each_layer_has_a_name_a_kind_and_a_precision() -> None:
    log, _ = seen(BUILD)
    (engine,) = log.engines
    assert (engine.engine, engine.shapes) == ("TRTEngineOp_000_000", "[[1,224,224,3]]")
    assert engine.layers == (
        Layer(name="scale + (Unnamed Layer* 4) [Shuffle]", kind="Constant", precision="FP16"),
        Layer(name="Reformatting CopyNode for Input Tensor 0 to conv1", kind="Reformat", precision="FP32"),
        Layer(name="conv1/Conv2D + conv1/Relu", kind="CaskConvolution", precision="FP16"),
        Layer(name="conv2 + add + relu", kind="CaskConvolution", precision="INT8"),
        Layer(name="embedding", kind="Gather", precision="FP32"),
        Layer(name="{ForeignNode[a...b]}", kind="Myelin", precision="FP16"),
    )


def test_engines_come_in_the_order_in_which_they_are_built() -> None:
    second = BUILD.replace("[[1,", "[[8,")
    log, _ = seen(f"{BUILD}\n{second}")
    assert [engine.shapes for engine in log.engines] == ["[[1,224,224,3]]", "[[8,224,224,3]]"]
    assert log.engines[0].layers == log.engines[1].layers


def test_what_calibration_builds_is_no_engine_of_the_graph() -> None:
    _, _, calibration = BUILD.partition("\n")
    log, _ = seen(f"{calibration}\n{BUILD}")
    assert [engine.engine for engine in log.engines] == ["TRTEngineOp_000_000"]
    assert len(log.engines[0].layers) == 6


def calibrated(*engines: str) -> LayerLog:
    """What calibration tells in a process that builds no other engine."""
    _, _, built = BUILD.partition("\n")
    first = built.replace("Half", "Float")
    log = LayerLog("[[32,224,224,3]]")
    for line in [
        *(f"{OPERATION} Executing TRT calibration: {name}" for name in engines),
        *f"{first}\n{built}".split("\n"),
    ]:
        log.see(line)
    return log


def test_the_last_engine_that_calibration_builds_is_the_graphs_own_where_it_is_kept() -> None:
    (engine,) = calibrated("TRTEngineOp_000_000", "TRTEngineOp_000_000").engines
    assert (engine.engine, engine.shapes) == ("TRTEngineOp_000_000", "[[32,224,224,3]]")
    assert [layer.precision for layer in engine.layers][2:4] == ["FP16", "INT8"]


def test_of_several_engines_that_are_calibrated_none_is_told_from_the_other() -> None:
    assert calibrated("TRTEngineOp_000_000", "TRTEngineOp_000_001").engines == ()


def test_nothing_of_the_verbose_log_is_passed_on_but_warnings_and_errors_are() -> None:
    warning = f"{WARNING} TF-TRT Warning: something"
    traceback = "Traceback (most recent call last):"
    _, passed = seen(f"{BUILD}\n{warning}\nits second line\n{BUILD}\n{traceback}\n  File x")
    assert passed == [warning, "its second line", traceback, "  File x"]


def test_a_missing_engine_fails_the_run_as_without_the_verbose_log() -> None:
    log, _ = seen(f"{BUILD}\n{WARNING} Engine creation for TRTEngineOp_000_000 failed. Reason: x")
    failure = log.failure()
    # A tactic that was skipped for want of memory is information, and no reason.
    assert isinstance(failure, NothingConvertible)


@pytest.mark.parametrize(
    "tensors",
    [
        "input to PWN(PWN(a))[Half(1,64,8,8)] -> output[Float(1,64,8,8)]",
        "input to PWN(PWN(a)) (Half[1,64:4,8,8]) -> output (Float[1,64,8,8])",
    ],
)
def test_tensors_are_read_as_every_version_of_tensorrt_writes_them(tensors: str) -> None:
    layer = layer_log._layer(f"Layer(PointWiseV2): PWN(PWN(a)), Tactic: 0x000000000000001c, {tensors}")
    assert layer == Layer(name="PWN(PWN(a))", kind="PointWiseV2", precision="FP16")


def test_the_layers_of_one_engine_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_log, "MAX_LAYERS", 2)
    log, _ = seen(BUILD)
    assert len(log.engines[0].layers) == 2


class Nothing(BaseModel):
    pass


def test_the_log_of_a_child_has_no_line_that_its_watch_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = f"{BUILD}\n{WARNING} told"
    (tmp_path / "talks.py").write_text(
        f"import sys\nsys.stderr.write({lines!r})\nopen(sys.argv[2], 'w').write('{{}}')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = LayerLog()
    child.run("talks", Nothing(), Nothing, "convert", watch=log)
    messages = [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]
    assert messages == ["Started TensorFlow in a child process", f"{WARNING} told"]
    assert len(log.engines[0].layers) == 6
