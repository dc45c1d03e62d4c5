from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.box import CPU_RUNTIME, FINGERPRINT, Box
from tftrt_runtime.contract import spec
from tftrt_runtime.contract.errors import UsageError


def refusal(path: Path, content: dict[str, Any], kind: Any = spec.JobSpec) -> str:
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError) as error:
        spec.read(path, kind)
    return error.value.message


def test_the_contracts_spec_is_read(box: Box) -> None:
    box.command("fetch")
    read = spec.read(box.root / "spec.json", spec.JobSpec)
    assert read.conversion.batchSizes == (1, 4)


def test_an_unknown_key_is_refused_by_name(box: Box) -> None:
    assert "source.format" in refusal(box.root / "s", {**box.spec, "source": {**box.spec["source"], "format": "x"}})


def test_a_missing_key_is_refused_by_name(box: Box) -> None:
    del box.spec["artifacts"]
    assert "artifacts: Field required" in refusal(box.root / "s", box.spec)


@pytest.mark.parametrize("sizes", [[], [0], [8, 1], [1, 1], ["1"]])
def test_batch_sizes_must_be_ascending_whole_numbers(box: Box, sizes: list[Any]) -> None:
    box.spec["conversion"]["batchSizes"] = sizes
    assert "conversion.batchSizes" in refusal(box.root / "s", box.spec)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"calibration": {"uri": "pvc://data", "samples": 8, "batchSize": 4}}, "calibration is for INT8"),
        (
            {"precision": "INT8", "calibration": {"uri": "pvc://data", "samples": 8, "batchSize": 9}},
            "no batch would be full",
        ),
        ({"inputShapes": {"x": {"min": [1], "opt": [2], "max": [2]}}}, "need dynamicShapes"),
        ({"inputs": {"x": {"dtype": "FP64"}}}, "conversion.inputs.x.dtype"),
        ({"inputs": {"x": {"dtype": "UINT8", "scale": ["0.0"]}}}, "must be other than 0"),
        ({"inputs": {"x": {"dtype": "UINT8", "scale": ["1/255"]}}}, "must be a decimal in a string"),
        ({"inputs": {"x": {"dtype": "UINT8", "offset": ["1e31"]}}}, "conversion.inputs.x.offset.0"),
        ({"inputs": {"x": {"dtype": "UINT8", "offset": []}}}, "conversion.inputs.x.offset"),
        ({"inputs": {"x": {"dtype": "UINT8", "scale": ["1", "2"], "offset": ["1", "2", "3"]}}}, "must have one entry"),
        ({"inputShapes": {"x": {"min": [2], "opt": [1], "max": [2]}}}, "min <= opt <= max"),
    ],
)
def test_what_belongs_together_in_a_conversion_is_given_together(box: Box, changes: dict[str, Any], told: str) -> None:
    box.spec["conversion"].update(changes)
    assert told in refusal(box.root / "s", box.spec)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "FrozenGraph", "inputs": ["x:0"]}, "needs inputs and outputs"),
        ({"inputs": ["x:0"]}, "inputs and outputs are for a FrozenGraph"),
        ({"format": "FrozenGraph", "inputs": ["x:y"], "outputs": ["y:0"]}, "source.inputs.0"),
    ],
)
def test_names_of_tensors_belong_to_a_frozen_graph(box: Box, changes: dict[str, Any], told: str) -> None:
    box.spec["source"].update(changes)
    assert told in refusal(box.root / "s", box.spec)


def test_a_nodes_name_means_its_first_output(box: Box) -> None:
    box.spec["source"].update({"format": "FrozenGraph", "inputs": ["net/x"], "outputs": ["y", "y:1"]})
    (box.root / "s").write_text(json.dumps(box.spec))
    source = spec.read(box.root / "s", spec.JobSpec).source
    assert (source.inputs, source.outputs) == (("net/x:0",), ("y:0", "y:1"))


def test_int8_without_data_is_for_graphs_with_ranges_of_their_own(box: Box) -> None:
    box.spec["conversion"]["precision"] = "INT8"
    (box.root / "s").write_text(json.dumps(box.spec))
    assert spec.read(box.root / "s", spec.JobSpec).conversion.calibration is None


def test_a_names_folder_cannot_lead_out_of_the_store(box: Box) -> None:
    box.spec["model"]["namespace"] = ".."
    assert "model.namespace" in refusal(box.root / "s", box.spec)


@pytest.mark.parametrize("fraction", ["0", "1.1", "half", "0.5"])
def test_a_memory_fraction_belongs_to_a_gpu_and_lies_above_0_and_up_to_1(tmp_path: Path, fraction: str) -> None:
    server = {
        "version": 1,
        "model": {"namespace": "default", "name": "m"},
        "fingerprint": FINGERPRINT,
        "runtime": CPU_RUNTIME,
        "artifact": {"uri": "pvc://models/tftrt/default/m/cpu"},
        "memoryFraction": fraction,
        "maxQueueDelayMicroseconds": 0,
    }
    assert "memoryFraction" in refusal(tmp_path / "s", server, spec.ServerSpec)


def test_the_command_line_says_what_is_wrong_with_a_spec_and_exits_2(box: Box) -> None:
    box.spec["version"] = 2
    ended = box.run("fetch")
    assert (ended.code, ended.termination["code"], ended.termination["reason"]) == (2, 2, "UsageError")
    assert "version" in ended.message


def test_a_scheme_that_cannot_be_reached_exits_2(box: Box) -> None:
    box.spec["source"]["uri"] = "ftp://host/model"
    ended = box.run("fetch")
    assert ended.code == 2
    assert "ftp://host/model" in ended.message
