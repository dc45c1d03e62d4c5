"""The memory through which tritonserver and the process that runs the model hand each other batches.

One slot is one batch at a time: an area with what is asked, an area with what is answered, and a socket that says that
something lies there. Messages are rows of 64-bit integers at the beginning of an area, tensors lie behind them. The
other end is in C: `backend/slot.h`, `question.h` and `answer.h` say what a message holds.

The areas are files in /dev/shm that have no name: nobody else can open them, and nothing of them is left when both
processes have ended, however they did.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import ServerFailed
from tftrt_runtime.device.copies import PageLocked
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.serve import codes, texts

SHARED_MEMORY = Path("/dev/shm")
# Where tensors begin, as in slot.h.
ALIGNMENT = 64
# A file's size by now, and the length of the message in it.
BELL = struct.Struct("=QQ")
INTEGER = 8
ANSWERED, APART = 0, -1
# TRITONSERVER_DataType in tritonserver.h of 2.51.0.
TYPES = {
    name: number
    for number, name in enumerate(
        (
            "BOOL",
            "UINT8",
            "UINT16",
            "UINT32",
            "UINT64",
            "INT8",
            "INT16",
            "INT32",
            "INT64",
            "FP16",
            "FP32",
            "FP64",
            "BYTES",
        ),
        1,
    )
}
# TRITONSERVER_Error_Code there.
ERRORS = {codes.INTERNAL: 1, codes.INVALID_ARGUMENT: 3, codes.UNAVAILABLE: 4, codes.CANCELLED: 7}


class NoSharedMemory(Exception):  # noqa: N818 - it is said of an answer
    """An answer finds no room in /dev/shm."""


@dataclass(frozen=True)
class Refusal:
    """An error for every request of a batch."""

    code: str
    message: str


@dataclass(frozen=True)
class Question:
    """A batch: the items of each request in it, and the tensors of all, where they lie in the slot."""

    items: tuple[int, ...]
    arrays: Mapping[str, NDArray[Any]]
    """[batch, ...]; of texts the bytes as they came."""
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Ends:
    """The file descriptors of one slot, which a process inherits."""

    socket: int
    asked: int
    answered: int

    def __str__(self) -> str:
        """As `told` reads it, here and in backend.c."""
        return f"{self.socket}:{self.asked}:{self.answered}"

    def __iter__(self) -> Iterator[int]:
        return iter((self.socket, self.asked, self.answered))

    def own(self) -> Ends:
        """Copies, which stay open when these are closed."""
        return Ends(*map(os.dup, self))


def told(text: str) -> list[Ends]:
    """The ends that a variable of the environment tells."""
    return [Ends(*map(int, one.split(":"))) for one in text.split()]


class Made:
    """A slot as the parent of both processes makes it."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            ServerFailed: there is no shared memory.
        """
        try:
            self._files = [tempfile.TemporaryFile(dir=SHARED_MEMORY) for _ in range(2)]  # noqa: SIM115 - see `close`
        except OSError as error:
            raise ServerFailed(
                f"{SHARED_MEMORY} cannot be written, and requests travel through it: {error}."
            ) from error
        self._sockets = socket.socketpair()
        asked, answered = (file.fileno() for file in self._files)
        self.tritons, self.models = (Ends(one.fileno(), asked, answered) for one in self._sockets)

    def close(self) -> None:
        """Close this process's ends, when both others have theirs."""
        for file in self._files:
            file.close()
        for one in self._sockets:
            one.close()


class Area:
    """A file that both processes have mapped; it only grows."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.memory = mmap.mmap(-1, 1)
        self.size = 0
        self.pages = PageLocked()

    def hold(self, size: int) -> None:
        """Have at least so many bytes mapped, with memory behind each.

        Raises:
            OSError: there is not so much.
        """
        if size <= self.size:
            return
        there = os.fstat(self._file).st_size
        if there < size:
            there = _aligned(size, mmap.PAGESIZE)
            os.posix_fallocate(self._file, 0, there)
        self.pages.release()
        # The old mapping goes with the last array that lies in it.
        self.memory = mmap.mmap(self._file, there)
        self.size = there


class Slot:
    """The end of the process that runs the model; one thread's."""

    def __init__(self, ends: Ends, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self._socket = socket.socket(fileno=ends.socket)
        self.asked, self._answered = Area(ends.asked), Area(ends.answered)
        self._inputs, self._outputs = inputs, outputs

    def ready(self, batched: bool, largest: int) -> None:
        """Say that batches may come, and of what the model is asked and what it answers."""
        message = [int(batched), largest, *_named(self._inputs), *_named(self._outputs)]
        self._say(message, ())

    def question(self) -> Question | None:
        """The next batch, once there is one; None when tritonserver has ended."""
        bell = self._socket.recv(BELL.size, socket.MSG_WAITALL)
        if len(bell) < BELL.size:
            return None
        size, length = BELL.unpack(bell)
        self.asked.hold(size)
        read = iter(np.frombuffer(self.asked.memory, np.int64, length // INTEGER).tolist())
        items = tuple(next(read) for _ in range(next(read)))
        arrays, shapes = {}, {}
        for tensor in self._inputs:
            shape = tuple(next(read) for _ in range(next(read)))
            begin, size = next(read), next(read)
            # Texts are as long as they are; all else is of its type.
            kind = np.dtype(np.uint8) if tensor.dtype == "BYTES" else numpy_type(tensor.dtype)
            array = np.frombuffer(self.asked.memory, kind, size // kind.itemsize, begin)
            arrays[tensor.name] = array if tensor.dtype == "BYTES" else array.reshape(shape)
            shapes[tensor.name] = shape
        return Question(items, arrays, shapes)

    def answer(self, arrays: Mapping[str, NDArray[Any]], items: Sequence[int]) -> None:
        """Answer a batch; the first dimension of each array is the batch's, if it is of several requests.

        Raises:
            NoSharedMemory: there is no room for it; nothing has been said.
        """
        message = [ANSWERED]
        parts: list[tuple[int, NDArray[Any]]] = []
        for tensor in self._outputs:
            array = arrays[tensor.name]
            if tensor.dtype == "BYTES":
                texts_of = [texts.written(part) for part in _split(array, items)]
                data, sizes = np.frombuffer(b"".join(texts_of), np.uint8), [len(text) for text in texts_of]
            else:
                data, sizes = array, [array.nbytes // sum(items) * count for count in items]
            message += [array.ndim, *array.shape, len(parts), *sizes]
            parts.append((len(message) - 1 - len(sizes), data))
        self._say(message, parts)

    def refuse(self, refusal: Refusal) -> None:
        """Answer every request of a batch with an error."""
        self._say([ERRORS[refusal.code], *_text(refusal.message)], ())

    def apart(self) -> None:
        """Ask for the requests of a batch one by one."""
        self._say([APART], ())

    def _say(self, message: list[int], parts: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Write a message and the arrays behind it, whose places it holds at the given indices, and ring."""
        length = len(message) * INTEGER
        end = _aligned(length, ALIGNMENT)
        for index, array in parts:
            message[index], end = end, _aligned(end + array.nbytes, ALIGNMENT)
        try:
            self._answered.hold(end)
        except OSError as error:
            raise NoSharedMemory(f"an answer of {end} bytes finds no room in {SHARED_MEMORY}: {error}") from error
        memory = self._answered.memory
        np.frombuffer(memory, np.int64, len(message))[:] = message
        for index, array in parts:
            np.copyto(np.frombuffer(memory, array.dtype, array.size, message[index]).reshape(array.shape), array)
        self._socket.sendall(BELL.pack(self._answered.size, length))


def _aligned(size: int, to: int) -> int:
    return -(-size // to) * to


def _split(array: NDArray[Any], items: Sequence[int]) -> list[NDArray[Any]]:
    return np.split(array, np.cumsum(items)[:-1]) if len(items) > 1 else [array]


def _named(tensors: Iterable[Tensor]) -> list[int]:
    made = [(TYPES[tensor.dtype], *_text(tensor.name)) for tensor in tensors]
    return [len(made), *(number for one in made for number in one)]


def _text(text: str) -> list[int]:
    """A text's length and its bytes, as integers."""
    data = text.encode()
    filled = data.ljust(_aligned(len(data), INTEGER), b"\0")
    return [len(data), *np.frombuffer(filled, np.int64).tolist()]
