"""What a conversion on a GPU tells a person: times, layers, pictures; and the command line without Kubernetes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tftrt_runtime.serve import limits


@pytest.fixture(scope="session")
def build(fp16: Any) -> Path:
    """The folder of `cnn`, converted to FP16 for the batch sizes 1 and 4."""
    folder = fp16.product / "builds" / fp16.manifest["build"]
    assert isinstance(folder, Path)
    return folder


@pytest.fixture(scope="session")
def findings(build: Path) -> dict[str, Any]:
    """What its report.json holds."""
    found: dict[str, Any] = json.loads((build / "report.json").read_text())["findings"]
    return found


def test_each_engine_tells_its_layers(findings: dict[str, Any]) -> None:
    engines = findings["layers"]
    print(json.dumps(engines))
    # One for each batch size; what calibration or another engine built is not among them.
    assert len(engines) == 2
    assert {engine["engine"].rpartition("/")[2] for engine in engines} == {"TRTEngineOp_000_000"}
    assert "[1,32,32,3]" in engines[0]["shapes"] and "[4,32,32,3]" in engines[1]["shapes"]
    for engine in engines:
        assert any("Conv" in layer["kind"] for layer in engine["layers"])
        assert {layer["precision"] for layer in engine["layers"]} <= {"FP16", "FP32"}


def test_layers_that_are_faster_in_fp16_are_told_to_run_in_it(new_box: Callable[..., Any]) -> None:
    box = new_box("wide", precision="FP16", batchSizes=[16, 32])
    box.convert_and_publish()
    report = box.product / "builds" / box.manifest["build"] / "report.json"
    for engine in json.loads(report.read_text())["findings"]["layers"]:
        assert "FP16" in {layer["precision"] for layer in engine["layers"] if "Conv" in layer["kind"]}


def test_the_verbose_log_of_tensorrt_stays_out_of_the_jobs_log(fp16: Any) -> None:
    ended = fp16.ended["convert"]
    assert ended.code == 0
    assert "Tactic" not in ended.log
    assert len(ended.log) < 100_000
    assert any(line["message"] == "Built an engine" for line in ended.lines)


def test_three_ways_are_timed_from_the_device_and_from_the_host(findings: dict[str, Any]) -> None:
    rows = findings["rows"]
    print(json.dumps(rows))
    assert {row["way"] for row in rows} >= {"Converted", "Native"}
    for way in {row["way"] for row in rows}:
        single = {(row["batchSize"], row["input"]) for row in rows if row["way"] == way and row["inFlight"] == 1}
        assert single == {(1, "Device"), (4, "Device"), (1, "Host"), (4, "Host")}
    assert {(row["way"], row["streams"]) for row in rows if row["inFlight"] > 1} >= {("Converted", 2), ("Native", 1)}
    benchmark = findings["conversion"]["benchmark"]
    assert (benchmark["input"], benchmark["inFlight"]) == ("Host", limits.BATCHES_IN_FLIGHT)
    served = {
        row["way"]: row["itemsPerSecond"]
        for row in rows
        if (row["input"], row["batchSize"], row["inFlight"]) == ("Host", 4, limits.BATCHES_IN_FLIGHT)
    }
    assert 0 <= served["Converted"] / served["Native"] - float(benchmark["speedup"]) < 0.01 + 1e-9
    assert float(benchmark["speedupOnDevice"]) > 0
    if float(findings["conversion"]["device"]["computeCapability"]) >= 8:
        assert benchmark["fp32P50Microseconds"] is not None


def test_the_picture_has_many_nodes_before_and_an_engine_after(findings: dict[str, Any]) -> None:
    assert not any(node["op"] == "TRTEngineOp" for node in findings["before"]["nodes"])
    assert [node["op"] for node in findings["after"]["nodes"]].count("TRTEngineOp") == 1
    assert len(findings["after"]["nodes"]) < len(findings["before"]["nodes"])


def test_a_person_converts_without_kubernetes(models: Path, tmp_path: Path) -> None:
    def tftrt(*arguments: object) -> Any:
        command = [sys.executable, "-m", "tftrt_runtime", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        return done

    folder = tmp_path / "converted"
    gates = ("--min-top1-agreement", 0.9, "--max-relative-error", 0.01)
    assert tftrt("convert", models / "cnn", folder, "--precision", "FP16", "-b", 1, "-b", 4, *gates).returncode == 0
    assert (folder / "report.html").exists()
    assert "TRTEngineOp" in (folder / "report.html").read_text()
    for command in ("verify", "benchmark"):
        assert tftrt(command, folder).returncode == 0
    assert tftrt("verify", folder, "--max-relative-error", 0).returncode == 17
