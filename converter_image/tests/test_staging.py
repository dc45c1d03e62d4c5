"""Tensors of a batch are computed on where they lie, if that can do no harm."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.device import dlpack
from tftrt_runtime.device.cuda import Cuda
from tftrt_runtime.serve import staging
from tftrt_runtime.serve.staging import Held


def aligned(values: Any, kind: str, offset: int = 0) -> NDArray[Any]:
    """An array that begins so many bytes behind a multiple of what TensorFlow's kernels want."""
    wanted = np.asarray(values, kind)
    room = np.zeros(wanted.nbytes + 2 * dlpack.ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % dlpack.ALIGNMENT + offset
    array: NDArray[Any] = room[begin : begin + wanted.nbytes].view(kind).reshape(wanted.shape)
    array[...] = wanted
    return array


@pytest.fixture
def area() -> Held:
    return Held({})


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"])
def test_aligned_numbers_are_not_copied(kind: str, area: Held) -> None:
    array = aligned([[1, 2], [3, 4]], kind)
    tensor = staging.InPlace()({"x": array}, area)["x"]
    assert dlpack.address(tensor) == array.ctypes.data
    assert (tensor.dtype.name, tensor.numpy().tolist()) == (kind, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "array",
    [aligned([1.0, 2.0], "float32", offset=4), np.array([True, False]), np.array([b"a", b""], np.object_)],
    ids=["not aligned", "bool", "texts"],
)
def test_what_kernels_cannot_compute_on_is_copied(array: NDArray[Any], area: Held) -> None:
    tensor = staging.InPlace()({"x": array}, area)["x"]
    assert tensor.numpy().tolist() == array.tolist()
    assert array.dtype.kind not in "f" or dlpack.address(tensor) != array.ctypes.data


def test_memory_is_kept_for_as_long_as_a_tensor_lies_in_it(area: Held) -> None:
    array = aligned([1.0, 2.0], "float32")
    gone = weakref.ref(array)
    tensor = staging.InPlace()({"x": array}, area)["x"]
    del array
    assert gone() is not None
    assert tensor.numpy().tolist() == [1.0, 2.0]
    del tensor
    assert gone() is None


def test_a_batch_in_place_gives_the_answers_of_one_that_was_copied(area: Held) -> None:
    array = aligned(np.random.default_rng(0).random((5, 7, 7, 3)), "float32")
    kernel = tf.constant(np.random.default_rng(1).random((3, 3, 3, 16)), tf.float32)
    answers = [
        tf.nn.conv2d(made({"x": array}, area)["x"], kernel, 1, "SAME").numpy()
        for made in (staging.InPlace(), staging.Copied())
    ]
    np.testing.assert_array_equal(*answers)


def function(python: Callable[[Any], Any]) -> Any:
    return tf.function(python, input_signature=[tf.TensorSpec([None], tf.float32)]).get_concrete_function()


def test_a_function_that_writes_what_it_is_given_into_a_variable_keeps_it() -> None:
    kept = tf.Variable(tf.zeros([1]), shape=[None])

    def writes(x: Any) -> Any:
        kept.assign(x)
        return x

    inner = tf.function(writes)
    assert not staging.keeps_nothing(function(writes))
    assert not staging.keeps_nothing(function(lambda x: inner(x) + 1))
    assert not staging.keeps_nothing(function(lambda x: tf.cond(x[0] > 0, lambda: inner(x), lambda: x)))


def test_a_function_that_only_reads_variables_and_tables_keeps_nothing() -> None:
    weight = tf.Variable(2.0)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2.0]), 0.0)

    def reads(x: Any) -> Any:
        looked_up = table.lookup(tf.cast(x, tf.int32))
        return tf.while_loop(lambda y: y[0] < 9, lambda y: (y + weight,), (looked_up,))[0]

    assert staging.keeps_nothing(function(reads))


def test_room_is_made_for_what_a_gpu_computes_with() -> None:
    kinds = {"image": "FP32", "bytes": "UINT8", "ids": "INT32", "words": "BYTES", "mask": "BOOL", "open": "FP16"}
    tensors = [Tensor(name=name, dtype=kind, shape=(-1, 3)) for name, kind in kinds.items()]
    shapes = {name: (8, 3) for name in kinds if name != "open"}
    assert staging.room(tensors, shapes) == {"image": 96, "bytes": 24}


def test_a_batch_that_is_held_is_the_one_that_was_given_at_addresses_that_kernels_take() -> None:
    arrays: dict[str, NDArray[Any]] = {
        "a": np.arange(7, dtype=np.uint8),
        "b": np.eye(3, dtype=np.float32),
        "c": np.array([b"x"], np.object_),
    }
    held = Held(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(held.arrays[name], array)
    assert held.arrays["b"].ctypes.data % dlpack.ALIGNMENT == 0


class Driver:
    """The part of CUDA's driver that copies, of a device whose memory is the machine's."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.called.append(name)
            if name == "cuMemcpyHtoDAsync_v2":
                target, source, size, _stream = arguments
                ctypes.memmove(target.value, source.value, size.value)
            return 0

        return call


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    played = Driver()
    monkeypatch.setattr("ctypes.CDLL", lambda *_: played)
    return played


def test_a_batch_is_copied_by_the_device_to_memory_that_is_kept_for_it(driver: Driver) -> None:
    staged = staging.OnDevice(Cuda(), "/CPU:0", {"x": 16})
    for first in (1.0, 5.0):
        held = Held({"x": np.array([first, 2.0], np.float32), "words": np.array([b"a"], np.object_)})
        tensors = staged(held.arrays, held)
        assert tensors["x"].numpy().tolist() == [first, 2.0]
        assert tensors["words"].numpy().tolist() == [b"a"]
    assert driver.called.count("cuMemcpyHtoDAsync_v2") == 2, "texts are TensorFlow's to copy"
    large = Held({"x": np.arange(5, dtype=np.float32)})
    assert staged(large.arrays, large)["x"].numpy().tolist() == [0, 1, 2, 3, 4], "which has no room there"
    assert driver.called.count("cuMemcpyHtoDAsync_v2") == 2


def test_where_the_device_has_nothing_to_copy_no_memory_is_locked_for_it(driver: Driver) -> None:
    held = Held({"words": np.array([b"a"], np.object_)})
    assert staging.OnDevice(Cuda(), "/CPU:0", {})(held.arrays, held)["words"].numpy().tolist() == [b"a"]
    assert not {"cuMemHostRegister_v2", "cuEventSynchronize"} & set(driver.called)
