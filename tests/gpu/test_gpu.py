"""Promises that only a GPU can keep: engines, memory limits, the right device."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

GIB = 1 << 30


def converted(box: Any) -> Any:
    """The end of `convert` after a lookup and a fetch."""
    assert box.run("lookup").code == 0
    assert box.run("fetch").code == 0
    return box.run("convert")


def server(box: Any, fraction: str, folder: str) -> Any:
    import tftrt_box

    return tftrt_box.Server(box, memory_fraction=fraction, folder=folder)


@contextmanager
def a_neighbour_that_leaves(mib: int) -> Iterator[None]:
    """A process that takes the device's memory but for so much. It leaves none for what else runs on this device."""
    command = [sys.executable, str(Path(__file__).with_name("neighbour.py")), str(mib)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as neighbour:
        assert neighbour.stdin is not None and neighbour.stdout is not None
        told = neighbour.stdout.readline()
        print(told)
        assert told.endswith("left\n")
        yield
        neighbour.stdin.close()


def ask(running: Any, image: Any) -> Any:
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}")
    tensor = tritonclient.grpc.InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image)
    return client.infer("cnn", [tensor]).as_numpy("classes")


def test_fp16_becomes_one_engine_that_holds_every_batch_size(fp16: Any) -> None:
    summary = fp16.manifest["summary"]
    assert summary["engines"] == 1
    assert 0 < summary["convertedOps"] < summary["totalOps"]
    assert summary["batchSizes"] == [1, 4]
    assert summary["versions"]["tensorrt"] == "8.5.3.1"
    print(json.dumps(summary))


def test_the_summary_names_the_device_and_its_product_as_the_node_label_does(fp16: Any) -> None:
    summary = fp16.manifest["summary"]
    assert summary["device"]["name"].startswith("NVIDIA")
    assert summary["product"] == summary["device"]["name"].replace(" ", "-") == fp16.product.name
    assert summary["device"]["memoryBytes"] > GIB
    assert summary["device"]["driver"]


def test_the_answers_are_the_unconverted_models_up_to_fp16(fp16: Any) -> None:
    verification = fp16.manifest["summary"]["verification"]
    assert verification["samples"] == 5
    assert Decimal(0) < Decimal(verification["maxRelativeError"]) < Decimal("0.01")
    assert Decimal(verification["top1Agreement"]) == 1


def test_the_memory_of_a_server_is_measured(fp16: Any) -> None:
    memory = fp16.manifest["summary"]["memory"]
    assert 0 < memory["weightsBytes"] <= memory["peakBytes"] < GIB
    assert 100 << 20 < memory["overheadBytes"] < 4 * GIB


def test_fp32_is_nearer_than_fp16(new_box: Callable[..., Any]) -> None:
    box = new_box("cnn", precision="FP32")
    box.convert_and_publish()
    summary = box.manifest["summary"]
    assert summary["engines"] == 1
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.005")


def test_what_is_not_convertible_stays_with_tensorflow_and_is_told_why(new_box: Callable[..., Any]) -> None:
    box = new_box("mixed", precision="FP16")
    box.convert_and_publish()
    manifest = box.manifest
    assert manifest["summary"]["engines"] == 1
    told = {blocker["operation"] for segment in manifest["segments"] for blocker in segment["blockers"]}
    assert {"StringUpper", "Bucketize"} <= told
    print(json.dumps(manifest["segments"]))


def test_a_model_without_anything_for_tensorrt_is_no_success(new_box: Callable[..., Any]) -> None:
    ended = converted(new_box("text", precision="FP16"))
    assert (ended.code, ended.termination["reason"]) == (16, "NothingConvertible")
    assert "StringUpper" in ended.message


def test_segments_smaller_than_the_minimum_are_left_alone(new_box: Callable[..., Any]) -> None:
    ended = converted(new_box("cnn", precision="FP16", minimumSegmentSize=1000))
    assert (ended.code, ended.termination["reason"]) == (16, "NothingConvertible")
    assert "1000 operations" in ended.message


def test_answers_that_the_precision_cannot_hold_never_pass(new_box: Callable[..., Any]) -> None:
    ended = converted(new_box("large", precision="FP16", batchSizes=[32]))
    assert ended.code == 17, ended.log
    assert ended.termination["reason"] == "AccuracyBelowThreshold"
    assert "not finite" in ended.message


def test_larger_input_that_the_precision_cannot_hold_is_told_and_fails_no_conversion(
    new_box: Callable[..., Any],
) -> None:
    box = new_box("faint", precision="FP16", batchSizes=[32])
    box.convert_and_publish()
    verification = box.manifest["summary"]["verification"]
    print(verification)
    assert Decimal(verification["maxRelativeError"]) < Decimal("0.05")
    assert Decimal(verification["largerInputGone"]) > 0
    assert "largerInputError" not in verification


def test_another_tensorrt_than_the_runtimes_is_told(new_box: Callable[..., Any]) -> None:
    box = new_box("cnn", precision="FP16")
    box.spec["runtime"] = {**box.spec["runtime"], "tensorrt": "8.6.1"}
    ended = converted(box)
    assert (ended.code, ended.termination["reason"]) == (20, "GPUUnfit")
    assert "8.5.3" in ended.message


def test_a_served_model_answers_within_its_memory_limit(fp16: Any, models: Path) -> None:
    running = server(fp16, "0.02", "limited")
    running.wait_until_ready()
    total = fp16.manifest["summary"]["device"]["memoryBytes"]
    reserved = running.line("Reserved GPU memory")
    assert reserved["mebibytes"] == total * 2 // 100 // (1 << 20)
    assert reserved["streams"] == 2  # for the limit holds twice what the model needs
    with np.load(models / "cnn.npz") as arrays:
        for rows in (1, 2, 3):
            found = ask(running, arrays["image"][:rows])
            np.testing.assert_allclose(found, arrays["classes"][:rows], atol=0.01)
    assert running.stop().code == 0


def test_a_limit_that_holds_the_model_once_has_one_stream(fp16: Any, models: Path) -> None:
    summary = fp16.manifest["summary"]
    fraction = Decimal(summary["memory"]["peakBytes"]) * Decimal("1.5") / summary["device"]["memoryBytes"]
    running = server(fp16, f"{fraction:.6f}", "tight")
    running.wait_until_ready()
    assert running.line("Reserved GPU memory")["streams"] == 1
    with np.load(models / "cnn.npz") as arrays:
        np.testing.assert_allclose(ask(running, arrays["image"]), arrays["classes"], atol=0.01)
    assert running.stop().code == 0


def test_a_limit_of_nothing_is_refused(fp16: Any) -> None:
    ended = server(fp16, "0.000001", "nothing").ended()
    assert (ended.code, ended.termination["reason"]) == (34, "InsufficientGPUMemory")


def test_a_device_that_is_full_is_told(fp16: Any) -> None:
    first = server(fp16, "0.6", "first")
    first.wait_until_ready()
    ended = server(fp16, "0.6", "second").ended()
    assert (ended.code, ended.termination["reason"]) == (34, "InsufficientGPUMemory")
    assert "MiB free" in ended.message
    first.stop()


@pytest.mark.parametrize("left", [64, 512, 1024])
def test_a_conversion_on_a_device_that_a_neighbour_has_filled_is_told(new_box: Callable[..., Any], left: int) -> None:
    box = new_box("cnn", precision="FP16")
    with a_neighbour_that_leaves(left):
        for step in ("lookup", "fetch", "convert"):
            ended = box.run(step)
            if ended.code:
                break
    print(step, ended.message)
    assert (ended.code, ended.termination["reason"]) == (19, "GPUOutOfMemory"), ended.log
    assert "memory" in ended.message


def test_a_gpu_that_is_newer_than_tensorrt_is_told_by_name_before_anything_is_built(
    fp16: Any, new_box: Callable[..., Any]
) -> None:
    box = new_box("cnn", precision="FP16")
    box.spec["runtime"] = box.spec["runtime"] | {"maxComputeCapability": "5.0"}
    assert [box.run(step).code for step in ("lookup", "fetch")] == [0, 0]
    ended = box.run("convert")
    assert (ended.code, ended.termination["reason"]) == (20, "GPUUnfit"), ended.log
    assert fp16.manifest["summary"]["device"]["name"] in ended.message
    assert "knows GPUs up to 5.0" in ended.message
    assert "Converted" not in ended.log


@pytest.mark.parametrize(
    ("found", "put"), [('"product": "{product}"', '"product": "NVIDIA-A10"'), ("8.5.3.1", "8.4.3")]
)
def test_engines_of_another_device_or_another_tensorrt_are_not_served(
    fp16: Any, tmp_path: Path, found: str, put: str
) -> None:
    product = tmp_path / "product"
    shutil.copytree(fp16.product, product)
    manifest = product / "manifest.json"
    text = manifest.read_text()
    old = found.replace("{product}", fp16.product.name)
    assert old in text
    manifest.write_text(text.replace(old, put))

    class Elsewhere:
        root, spec, name = tmp_path, fp16.spec, fp16.name

        def environment(self, log: Path) -> dict[str, str]:
            made: dict[str, str] = fp16.environment(log)
            return {**made, "TFTRT_ARTIFACT": str(product)}

    ended = server(Elsewhere(), "0.02", "elsewhere").ended()
    assert (ended.code, ended.termination["reason"]) == (24, "EngineDeviceMismatch"), ended.log
