"""How the tensors of a batch, which lie in shared memory, become TensorFlow's: without a copy of the processor's.

On a CPU they are computed on where they lie. For a GPU the device copies them to memory that is kept for them in
TensorFlow's pool, so that it counts in what the model takes. Imports TensorFlow.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import op_def_registry

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.device import dlpack
from tftrt_runtime.device.copies import Copies, PageLocked
from tftrt_runtime.device.cuda import Cuda
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.model.quick_call import OF_THE_HOST
from tftrt_runtime.serve.batching import Arrays
from tftrt_runtime.serve.slots import aligned

# Operations that have a state, and of which none keeps a tensor that it was given.
KEEP_NOTHING = {
    "Assert",
    "HashTableV2",
    "LookupTableFindV2",
    "LookupTableSizeV2",
    "PartitionedCall",
    "Placeholder",
    "PrintV2",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "StatefulPartitionedCall",
    "TRTEngineOp",
    "VarHandleOp",
    "While",
    "If",
    "Case",
}
# Of those that say that they have no state, which hold back what they are given until another call wants it.
KEEP_THOUGH_STATELESS = {"Unbatch", "UnbatchGrad"}


class Memory(Protocol):
    """Where a batch lies."""

    pages: PageLocked

    @property
    def memory(self) -> Any:
        """As a buffer."""

    @property
    def size(self) -> int:
        """In bytes."""


class Staging(Protocol):
    """Makes tensors of a batch."""

    def __call__(self, arrays: Arrays, memory: Memory, /) -> dict[str, Any]:
        """The tensors by name. They may lie where the arrays do: nothing is written there meanwhile."""


class Copied:
    """By TensorFlow itself, into memory of its own."""

    def __call__(self, arrays: Arrays, _memory: Memory) -> dict[str, Any]:
        """The tensors by name."""
        return {name: tf.constant(array) for name, array in arrays.items()}


class InPlace:
    """On a CPU, where they lie. For functions that keep nothing that they are given: `keeps_nothing`."""

    def __call__(self, arrays: Arrays, _memory: Memory) -> dict[str, Any]:
        """The tensors by name."""
        return {name: self._tensor(array) for name, array in arrays.items()}

    def _tensor(self, array: NDArray[Any]) -> Any:
        address = _address(array)
        # TensorFlow's kernels take for granted that its tensors are aligned.
        if not dlpack.can_be_viewed(array.dtype) or not array.flags.c_contiguous or address % dlpack.ALIGNMENT:
            return tf.constant(array)
        return dlpack.view(address, array.shape, array.dtype, dlpack.CPU, owner=array)


class OnDevice:
    """In memory of a logical device that is kept for one batch at a time, however large; one thread's at a time.

    The pages that the device reads are locked, once.
    """

    def __init__(self, cuda: Cuda, device: str, room: Mapping[str, int]) -> None:
        """`room` is the most bytes of each input that is staged; others are TensorFlow's to copy."""
        self._copies = Copies(cuda)
        self._cuda = cuda
        self._room = dict(room)
        with tf.device(device):
            self._kept = {name: tf.raw_ops.Empty(shape=[size], dtype=tf.uint8) for name, size in room.items()}
            tf.zeros([1]).numpy()  # behind all that TensorFlow may still do there with memory that it has given back
        self._addresses = {name: dlpack.address(tensor) for name, tensor in self._kept.items()}

    def __call__(self, arrays: Arrays, memory: Memory) -> dict[str, Any]:
        """The tensors by name."""
        staged = {name: array for name, array in arrays.items() if array.nbytes <= self._room.get(name, -1)}
        if staged:
            memory.pages.lock(self._cuda, _address(np.frombuffer(memory.memory, np.uint8)), memory.size)
            parts = ((self._addresses[name], _address(array), array.nbytes) for name, array in staged.items())
            self._copies.to_device(parts)
        return {
            name: self._tensor(name, array) if name in staged else tf.constant(array) for name, array in arrays.items()
        }

    def _tensor(self, name: str, array: NDArray[Any]) -> Any:
        kept = self._kept[name]
        return dlpack.view(self._addresses[name], array.shape, array.dtype, *dlpack.place(kept), owner=kept)


class Held:
    """A batch in memory such as a slot's, for those who have none."""

    def __init__(self, arrays: Arrays) -> None:
        self.pages = PageLocked()
        begins = np.cumsum([0, *(aligned(array.nbytes) for array in arrays.values())]).tolist()
        self.size = max(begins[-1], 1)
        self.memory = mmap.mmap(-1, self.size)
        self.arrays = {name: _placed(self.memory, begin, array) for (name, array), begin in zip(arrays.items(), begins)}


def _placed(memory: mmap.mmap, begin: int, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.object_:
        return array
    placed: NDArray[Any] = np.frombuffer(memory, array.dtype, array.size, begin).reshape(array.shape)
    np.copyto(placed, array)
    return placed


def room(inputs: Sequence[Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The bytes of each input of these shapes, of those whose type a GPU computes with."""
    of_the_host = {kind.name for kind in OF_THE_HOST} | {"bool"}
    return {
        tensor.name: int(np.prod(shapes[tensor.name], dtype=np.int64)) * numpy_type(tensor.dtype).itemsize
        for tensor in inputs
        if tensor.name in shapes and numpy_type(tensor.dtype).name not in (*of_the_host, "object")
    }


def keeps_nothing(function: Any) -> bool:
    """Whether no operation of a function, or of one that it calls, can keep a tensor beyond the call."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    functions = {body.signature.name for body in graph.library.function}
    return all(map(_keeps_nothing, {node.op for node in nodes} - KEEP_NOTHING - functions))


def _keeps_nothing(operation: str) -> bool:
    known = op_def_registry.get(operation)
    return known is not None and not known.is_stateful and operation not in KEEP_THOUGH_STATELESS


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
