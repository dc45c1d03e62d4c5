# mypy: disable-error-code="no-untyped-call"
"""What of the conversion with TensorRT shows without a GPU: what is fed to it, and that tables survive it.

Where TensorRT would rewrite the graph it is left as it is; all round that is TF-TRT's own code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.rounding import TERMS, assert_rounded_alike
from tests.test_shapes import given
from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.convert import calibration, engines
from tftrt_runtime.convert.messages import CalibrationData, CalibrationRequest, EnginesRequest
from tftrt_runtime.loading import constants
from tftrt_runtime.loading.messages import FreezeRequest
from tftrt_runtime.model import shapes
from tftrt_runtime.verification import reference
from tftrt_runtime.verification.messages import ReferenceRequest

IDS = Tensor(name="ids", dtype="INT32", shape=(-1, -1))
RANGE = {"ids": given(1, 8, 16)}


def request(source: Path, target: Path, **changes: Any) -> EnginesRequest:
    return EnginesRequest(
        **{
            "source": str(source),
            "signature": "serving_default",
            "target": str(target),
            "frozen": False,
            "inputs": (IDS,),
            "samples": (shapes.usual([IDS], {}, open_dimension=1),),
            "precision": "FP32",
            "max_workspace_size_bytes": 1 << 30,
            "minimum_segment_size": 3,
            "batch_sizes": (4, 8),
            "dynamic_shapes": None,
            "calibration": None,
            **changes,
        }
    )


def request_of(source: Path, target: Path, **changes: Any) -> EnginesRequest:
    """The request with the inputs that a SavedModel has, and the samples that it takes."""
    references = target.with_name(f"{target.name}-references")
    references.mkdir(parents=True)
    asked = ReferenceRequest(
        uri="pvc://models/net",
        source=str(source),
        signature="serving_default",
        tensorflow=tf.__version__,
        batch_sizes=(1, 3),
        input_shapes={},
        references=str(references),
        data=None,
        events=str(references / "events"),
    )
    _, answer = reference.ask(asked)
    return request(source, target, inputs=answer.inputs, samples=answer.samples, **changes)


@pytest.mark.parametrize("name", ["table", "vocabulary"])
@pytest.mark.usefixtures("no_tensorrt")
def test_tables_stay_bound_through_tf_trts_converter(models: Path, tmp_path: Path, name: str) -> None:
    frozen = tmp_path / "frozen"
    constants.save(FreezeRequest(uri="u", source=str(models / name), signature="serving_default", target=str(frozen)))
    asked = request(frozen, tmp_path / "converted", frozen=True)
    converter = engines.new_converter(asked)
    converter.convert()
    engines.save(converter, asked)
    with np.load(models / f"{name}.npz", allow_pickle=True) as arrays:
        words = tf.constant(arrays["input words"])
        expected = {key.partition(" ")[2]: arrays[key] for key in arrays if key.startswith("output ")}
    answers = tf.saved_model.load(asked.target).signatures["serving_default"](words=words)
    assert set(answers) == set(expected)
    for key, value in expected.items():
        if name in TERMS:
            assert_rounded_alike(answers[key].numpy(), value, TERMS[name])
        else:
            np.testing.assert_array_equal(answers[key].numpy(), value)


@pytest.mark.usefixtures("no_tensorrt")
def test_a_saved_model_names_no_gpu_so_that_it_runs_on_the_device_that_it_is_called_on(
    models: Path, tmp_path: Path
) -> None:
    asked = request(models / "two", tmp_path / "converted")
    converter = engines.new_converter(asked)
    converter.convert()
    gpu, cpu = (f"/job:localhost/replica:0/task:0/device:{name}" for name in ("GPU:0", "CPU:0"))
    placed, *others = (node for node in converter._converted_graph_def.node if node.op != "Placeholder")
    placed.device = cpu
    for node in others:
        node.device = gpu
    engines.save(converter, asked)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "converted/saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    devices = {node.name: node.device for function in functions for node in function.node_def}
    assert gpu not in devices.values()
    assert devices[placed.name].endswith("CPU:0")


@pytest.mark.parametrize(
    ("dynamic_shapes", "fed"),
    [
        (None, [(4, 1), (8, 1)]),
        ("Optimal", [(4, 1), (4, 8), (4, 16), (8, 1), (8, 8), (8, 16)]),
        ("Range", [(1, 1), (1, 8), (1, 16), (4, 1), (4, 8), (4, 16), (8, 1), (8, 8), (8, 16)]),
        ("Range+Optimal", [(1, 1), (1, 8), (1, 16), (4, 1), (4, 8), (4, 16), (8, 1), (8, 8), (8, 16)]),
    ],
)
def test_engines_are_built_for_every_shape_and_ranges_begin_at_one_item(
    tmp_path: Path, dynamic_shapes: str | None, fed: list[tuple[int, int]]
) -> None:
    sizes = RANGE if dynamic_shapes else {"ids": given(1, 1, 1)}
    every = shapes.distinct(shapes.usual([IDS], sizes, open_dimension=1), sizes)
    asked = request(tmp_path, tmp_path, samples=every, dynamic_shapes=dynamic_shapes)
    assert [batch["ids"].shape for batch in engines.shapes_to_build(asked)] == fed


@pytest.mark.parametrize("strategy", ["Range", "Optimal", "Range+Optimal"])
@pytest.mark.usefixtures("no_tensorrt")
def test_tf_trt_knows_every_profile_strategy(models: Path, tmp_path: Path, strategy: str) -> None:
    converter = engines.new_converter(request(models / "two", tmp_path, dynamic_shapes=strategy))
    assert converter._profile_strategy == strategy


class TestCalibration:
    """The check before a GPU is used, on the model `two` with its three inputs."""

    def check(self, models: Path, folder: Path, sizes: dict[str, ShapeRange], samples: int = 6) -> None:
        data = CalibrationData(folder=str(folder), samples=samples, batch_size=2)
        calibration.check(
            CalibrationRequest(
                uri="pvc://m", source=str(models / "two"), signature="serving_default", input_shapes=sizes, data=data
            )
        )

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        extra, unused = np.zeros((6, 3), np.float16), np.zeros((6, 1), np.bool_)
        np.savez(tmp_path / "samples.npz", ids=np.zeros((6, 5), np.int32), extra=extra, unused=unused)
        return tmp_path

    def test_data_that_fits_passes(self, models: Path, folder: Path) -> None:
        self.check(models, folder, RANGE)

    def test_calls_pass_where_only_the_answers_tell_whether_there_are_batches(
        self, models: Path, tmp_path: Path
    ) -> None:
        """A mean of the batch is no answer for each item; its model is asked later."""
        extra, unused = np.zeros((6, 7, 3), np.float16), np.zeros((6, 7, 1), np.bool_)
        np.savez(tmp_path / "samples.npz", ids=np.zeros((6, 7, 5), np.int32), extra=extra, unused=unused)
        self.check(models, tmp_path, {})

    def test_what_is_neither_batches_nor_calls_is_told_as_batches(self, models: Path, tmp_path: Path) -> None:
        extra, unused = np.zeros((6, 3), np.float16), np.zeros((6, 1), np.bool_)
        np.savez(tmp_path / "samples.npz", ids=np.zeros(6, np.int32), extra=extra, unused=unused)
        with pytest.raises(CalibrationDataUnfit, match=r"'ids' has shape \[6\], and a sample has \[any\]:"):
            self.check(models, tmp_path, RANGE)

    def test_fewer_samples_than_asked_for_are_refused_with_both_numbers(self, models: Path, folder: Path) -> None:
        with pytest.raises(CalibrationDataUnfit, match=r"makes 3 whole batches of 2, and .* asks for 8 samples"):
            self.check(models, folder, RANGE, samples=8)

    def test_samples_outside_of_the_engines_shapes_are_refused(self, models: Path, folder: Path) -> None:
        with pytest.raises(CalibrationDataUnfit, match=r"'ids' have shape \[5\], outside of .*, \[6\] to \[8\]"):
            self.check(models, folder, {"ids": given(6, 7, 8)})

    def test_data_for_another_model_is_refused(self, models: Path, tmp_path: Path) -> None:
        np.savez(tmp_path / "samples.npz", image=np.zeros((6, 4), np.float32))
        with pytest.raises(CalibrationDataUnfit, match="has nothing for the input 'extra': it has 'image'"):
            self.check(models, tmp_path, RANGE)
