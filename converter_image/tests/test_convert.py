from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import Box, Mount
from tests.rounding import TERMS, relative_bound


@pytest.fixture
def cnn(tmp_path: Path, models: Path) -> Box:
    return Box(tmp_path, name="cnn", models=models)


def fetched(box: Box) -> Box:
    assert box.run("lookup").code == 0
    assert box.run("fetch").code == 0
    return box


def message(lines: list[dict[str, Any]], text: str) -> dict[str, Any]:
    return next(line for line in lines if line["message"] == text)


def until_child_runs(process: subprocess.Popen[str]) -> int:
    """Read the log up to the line that names the child's process; its id."""
    assert process.stderr
    for text in process.stderr:
        line = json.loads(text)
        if "pid" in line:
            return int(line["pid"])
    raise AssertionError("no child was started")


def test_a_keras_network_is_frozen_and_equals_the_unconverted_one(converted: Callable[..., Box]) -> None:
    summary = converted("cnn").manifest["summary"]
    assert summary["inputs"][0]["dtype"] == "FP32"
    assert summary["inputs"][0]["shape"] == [-1, 16, 16, 3]
    assert (summary["engines"], summary["convertedOps"]) == (0, 0)
    assert 0 < summary["totalOps"] < 40
    assert summary["versions"] == {"tensorflow": "2.14.1", "tensorrt": "", "runtime": "cpu"}
    assert summary["batchSizes"] == [1, 4]


def test_resnet_50_is_converted(converted: Callable[..., Box]) -> None:
    summary = converted("resnet50").manifest["summary"]
    assert summary["artifactBytes"] > 100_000_000
    assert summary["totalOps"] > 300


@pytest.mark.parametrize("name", ["table", "vocabulary"])
def test_a_model_with_a_lookup_table_is_frozen_round_it(tmp_path: Path, models: Path, name: str) -> None:
    ended = fetched(Box(tmp_path, name=name, models=models)).run("convert")
    assert ended.code == 0, ended.log
    assert not [line["why"] for line in ended.lines if "why" in line]
    compared = message(ended.lines, "Compared with the unconverted model")
    assert float(compared["verification"]["maxRelativeError"]) <= relative_bound(TERMS.get(name, 0))


def test_a_model_with_a_table_that_is_written_is_kept_as_it_is(tmp_path: Path, models: Path) -> None:
    ended = fetched(Box(tmp_path, name="written", models=models)).run("convert")
    assert ended.code == 0, ended.log
    assert "tables that are written" in message(ended.lines, "The model is kept as it is")["why"]


def test_a_model_that_writes_its_variables_is_kept_as_it_is(tmp_path: Path, models: Path) -> None:
    ended = fetched(Box(tmp_path, name="counter", models=models)).run("convert")
    assert ended.code == 0, ended.log
    assert "AssignAddVariableOp" in message(ended.lines, "The model is kept as it is")["why"]


def test_the_source_is_not_converted_again_when_the_store_has_it(converted: Callable[..., Box]) -> None:
    box = converted("cnn")
    again = Box(box.root / "again", name="cnn", models=box.models, build="build-2")
    (again.pvc / "store").rmdir()
    (again.pvc / "store").symlink_to(box.pvc / "store")
    ended = again.convert_and_publish()
    assert (ended.termination["result"], ended.termination["build"]) == ("Reused", "build-1")
    assert not (again.workspace / "artifact").exists()


def test_a_source_that_changed_under_the_same_fingerprint_is_refused(
    converted: Callable[..., Box], models: Path
) -> None:
    box = converted("cnn")
    other = Box(box.root / "other", name="cnn", models=models)
    (other.pvc / "store").rmdir()
    (other.pvc / "store").symlink_to(box.pvc / "store")
    other.spec["source"] = {"uri": "pvc://models/two", "signature": "serving_default"}
    ended = fetched(other).run("convert")
    assert (ended.code, ended.termination["reason"]) == (21, "SourceChanged")
    assert "pvc://models/two has changed" in ended.message


def test_a_missing_signature_is_refused_with_those_that_there_are(cnn: Box) -> None:
    cnn.spec["source"]["signature"] = "serving_defualt"
    ended = fetched(cnn).run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "it has serve" in ended.message


def test_an_input_that_tensorflow_cannot_name_again_has_another_name(tmp_path: Path, models: Path) -> None:
    box = Box(tmp_path, name="unnamable", models=models)
    box.convert_and_publish()
    (tensor,) = box.manifest["summary"]["inputs"]
    assert (tensor["name"], tensor["source"]) == ("image_flat", "image/flat")


def test_made_up_input_has_the_shapes_that_the_spec_gives(tmp_path: Path, models: Path) -> None:
    box = Box(tmp_path, name="two", models=models)
    box.spec["conversion"]["dynamicShapes"] = "Range"
    box.spec["conversion"]["inputShapes"] = {"ids": {"min": [2], "opt": [7], "max": [9]}}
    box.convert_and_publish()
    assert box.manifest["sample"]["shapes"] == {"extra": [3], "ids": [7], "unused": [1]}


def test_a_model_that_needs_more_memory_than_there_is_is_told_as_such(tmp_path: Path, models: Path) -> None:
    ended = fetched(Box(tmp_path, name="hungry", models=models)).run("convert")
    assert (ended.code, ended.termination["reason"]) == (32, "OutOfMemory")
    assert ended.message.startswith("The host had too little memory: ResourceExhaustedError: OOM when allocating")
    assert ended.message.endswith("Raise spec.conversion.resources.")


def test_shapes_for_what_is_no_input_are_refused_with_the_nearest_name(tmp_path: Path, models: Path) -> None:
    box = Box(tmp_path, name="two", models=models)
    box.spec["conversion"]["inputShapes"] = {"id": {"min": [2], "opt": [2], "max": [2]}}
    ended = fetched(box).run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "did you mean 'ids'" in ended.message


def test_bytes_that_are_no_saved_model_are_refused(box: Box) -> None:
    (box.pvc / "models/model").mkdir(parents=True)
    (box.pvc / "models/model/saved_model.pb").write_bytes(b"no protobuf")
    ended = fetched(box).run("convert")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert "pvc://models/model" in ended.message


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_a_precision_that_needs_tensorrt_is_refused_without_a_gpu(cnn: Box, precision: str) -> None:
    cnn.spec["conversion"]["precision"] = precision
    if precision == "INT8":
        cnn.spec["conversion"]["calibration"] = {"uri": "pvc://models/data", "samples": 8, "batchSize": 4}
    ended = cnn.run("convert")
    assert (ended.code, ended.termination["reason"]) == (20, "GPUUnfit")
    assert precision in ended.message


def test_a_gpu_runtime_without_a_gpu_is_refused(cnn: Box) -> None:
    cnn.spec["runtime"] = {"name": "triton", "accelerator": "GPU", "tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}
    ended = cnn.run("convert")
    assert (ended.code, ended.termination["reason"]) == (20, "GPUUnfit")
    assert "TensorFlow sees none" in ended.message


def test_int8_without_data_for_a_model_without_ranges_is_refused_before_a_device_is_looked_for(cnn: Box) -> None:
    fetched(cnn)
    cnn.spec["runtime"] = {"name": "triton", "accelerator": "GPU", "tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}
    cnn.spec["conversion"]["precision"] = "INT8"
    ended = cnn.run("convert")
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit")
    assert "none of its own that is" in ended.message
    assert not [line for line in ended.lines if "child" in line]


def test_int8_without_data_for_a_model_that_may_have_ranges_is_not_refused_by_its_file(cnn: Box) -> None:
    fetched(cnn)
    cnn.spec["runtime"] = {"name": "triton", "accelerator": "GPU", "tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}
    cnn.spec["conversion"]["precision"] = "INT8"
    (cnn.workspace / "source" / "more.pb").write_bytes(b"FakeQuantWithMinMaxVars")
    ended = cnn.run("convert")
    assert (ended.code, ended.termination["reason"]) == (20, "GPUUnfit")


def test_an_image_that_is_not_the_runtimes_is_a_usage_error(cnn: Box) -> None:
    cnn.spec["runtime"] = {**cnn.spec["runtime"], "tensorflow": "2.17.1"}
    ended = fetched(cnn).run("convert")
    assert ended.code == 2
    assert "2.17.1" in ended.message


def test_convert_before_fetch_is_a_usage_error(cnn: Box) -> None:
    ended = cnn.run("convert")
    assert ended.code == 2
    assert "`tftrt fetch` comes before" in ended.message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_tensorflow_that_dies_ends_in_a_code_and_a_sentence(cnn: Box, number: signal.Signals) -> None:
    process = fetched(cnn).start("convert")
    os.kill(until_child_runs(process), number)
    ended = cnn.finish(process)
    assert (ended.code, ended.termination["reason"]) == (33, "ChildAborted")
    assert number.name in ended.message
    assert not (cnn.workspace / "convert.json").exists()


def test_sigterm_ends_the_child_too(cnn: Box) -> None:
    process = fetched(cnn).start("convert")
    child = until_child_runs(process)
    process.terminate()
    assert cnn.finish(process).code == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("kibibytes", [0, 64])
def test_a_workspace_that_runs_full_is_told_and_more_room_is_all_it_takes(
    cnn: Box, mount: Mount, kibibytes: int
) -> None:
    mount(cnn.workspace, "size=1g")
    fetched(cnn)
    used = sum(path.stat().st_size for path in cnn.workspace.rglob("*")) // 1024
    mount(cnn.workspace, f"size={used + 16 + kibibytes}k")
    ended = cnn.run("convert")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable"), ended.log
    assert "No space left on device" in ended.message
    assert cnn.run("publish").code == 2, "there is nothing to publish"
    mount(cnn.workspace, "size=1g")
    assert cnn.run("convert").code == 0


def test_a_full_disk_for_temporary_files_is_told(cnn: Box, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = cnn.root / "temporary"
    mount(temporary, "size=8k")
    (temporary / "filling").write_bytes(b"x" * 4096)
    monkeypatch.setenv("TMPDIR", str(temporary))
    ended = fetched(cnn).run("convert")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable"), ended.log
    assert "No space left on device" in ended.message


@pytest.fixture
def memory_limit() -> Iterator[Callable[[int], Path]]:
    """A function that makes a group of processes which together may use so many bytes; the file to join it by."""
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    group = root / ("" if unified else "memory") / f"tftrt-test-{os.getpid()}"

    def make(size: int) -> Path:
        try:
            group.mkdir()
            (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(size))
        except OSError as error:
            pytest.skip(f"no group of processes can be given a limit here: {error}")
        return group / "cgroup.procs"

    yield make
    if group.exists():
        group.rmdir()


def test_a_tensorflow_that_the_kernel_kills_for_its_memory_is_told_as_such(
    cnn: Box, memory_limit: Callable[[int], Path]
) -> None:
    """TensorFlow alone, imported, takes more than this, and the parent much less."""
    members = memory_limit(200 << 20)
    command = fetched(cnn).command("convert")
    joined = ["sh", "-c", f'echo $$ > {members} && exec "$@"', "sh", *command]
    process = subprocess.Popen(
        joined, env=cnn.environment(cnn.root / "termination"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    ended = cnn.finish(process)
    assert (ended.code, ended.termination["reason"]) == (32, "OutOfMemory"), ended.log
    assert "spec.conversion.resources" in ended.message
