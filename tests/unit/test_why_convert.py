"""Every input of an engine has a check that says what changed of it."""

from dataclasses import replace
from typing import Any

import pytest

from tftrt_operator.domain.fingerprint import EngineInputs, fingerprint
from tftrt_operator.domain.why_convert import changes

from .test_fingerprint import BASE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source_uri": "pvc://models/resnet101"}, "SourceChanged"),
        ({"source_revision": "2"}, "RevisionChanged"),
        ({"signature": "predict"}, "SignatureChanged"),
        ({"precision": "FP16"}, "PrecisionChanged"),
        ({"max_workspace_size": 1}, "WorkspaceSizeChanged"),
        ({"batch_sizes": (1, 32)}, "BatchSizesChanged"),
        ({"minimum_segment_size": 5}, "SegmentSizeChanged"),
        ({"source_digest": "sha256:" + "1" * 64}, "DigestChanged"),
        ({"source_format": "FrozenGraph"}, "FormatChanged"),
        ({"graph_inputs": ("input:0",)}, "TensorsChanged"),
        ({"graph_outputs": ("softmax:0",)}, "TensorsChanged"),
        ({"source_values": (("phase_train", "false"),)}, "ValuesChanged"),
        ({"served_inputs": (("image", "UINT8", ("1",), ("0",)),)}, "ServedTypesChanged"),
        ({"dynamic_shapes": "Range"}, "ShapesChanged"),
        ({"input_shapes": (("tokens", (1,), (64,), (128,)),)}, "ShapesChanged"),
        ({"calibration": ("s3://data/calibration", 512, 8)}, "CalibrationChanged"),
        ({"tensorflow": "2.17.1"}, "RuntimeChanged"),
        ({"tensorrt": "8.6.1"}, "RuntimeChanged"),
        ({"gpu_product": "NVIDIA-H100"}, "GPUChanged"),
        ({"gpu_resource_name": "nvidia.com/mig-1g.10gb"}, "GPUChanged"),
    ],
)
def test_each_input_has_a_check_that_names_it(change: dict[str, Any], reason: str) -> None:
    new = replace(BASE, **change)
    assert [found.reason for found in changes(BASE, new)] == [reason]
    assert fingerprint(new) != fingerprint(BASE)


def test_every_input_is_covered_by_a_check() -> None:
    for field in EngineInputs.__dataclass_fields__:
        assert changes(BASE, replace(BASE, **dict[str, Any]({field: "another"}))), field


def test_the_sentence_of_served_types_has_their_numbers_but_not_those_of_many_channels() -> None:
    few = replace(BASE, served_inputs=(("image", "UINT8", ("0.5",), ("1", "2", "3")),))
    many = replace(BASE, served_inputs=(("image", "UINT8", ("1",) * 64, ("0",)), ("mask", "FP16", ("1",), ("0",))))
    assert [found.message for found in changes(BASE, few)] == [
        "requests have image UINT8 0.5 1/2/3 (type, scale, offset), had the model's own types"
    ]
    assert [found.message for found in changes(few, many)] == [
        "requests have image UINT8 64 numbers 0, mask FP16 1 0 (type, scale, offset), had image UINT8 0.5 1/2/3"
    ]
