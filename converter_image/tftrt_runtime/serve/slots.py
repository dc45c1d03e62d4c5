"""The memory through which tritonserver and the process that runs the model hand each other batches.

One slot is one batch at a time: an area with what is asked and, behind it, what is answered, and a socket that says
that something lies there. Messages are rows of 64-bit integers, tensors lie behind them. The other end is in C:
`backend/slot.h`, `question.h` and `answer.h` say what a message holds.

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
# Where tensors begin, and what there is room for behind a question in any case, as in slot.h.
ALIGNMENT, SENTENCE = 64, 4096
# Bytes that there is memory for; how often it was given back; a question's length, or where an answer begins.
BELL = struct.Struct("=QQQ")
INTEGER = 8
ANSWERED, APART, NO_ROOM = 0, -1, -2
MOST_CHARACTERS = 1000  # of an error; of at most four bytes each
# TRITONSERVER_DataType in tritonserver.h of 2.51.0, which counts from 1.
WHOLE = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
TYPES = {name: number for number, name in enumerate(("BOOL", *WHOLE, "FP16", "FP32", "FP64", "BYTES"), 1)}
# TRITONSERVER_Error_Code there.
ERRORS = {codes.INTERNAL: 1, codes.INVALID_ARGUMENT: 3, codes.UNAVAILABLE: 4, codes.CANCELLED: 7}


class NoSharedMemory(Exception):  # noqa: N818 - it is said of an answer
    """An answer finds no room in /dev/shm."""


class Malformed(ValueError):  # noqa: N818 - it is said of a request
    """A text is not as the protocol has texts."""


@dataclass(frozen=True)
class Refusal:
    """An error for every request of a batch."""

    code: str
    message: str


@dataclass(frozen=True)
class Part:
    """A tensor where it lies: its shape, the whole batch's; where it begins; how many bytes are each request's."""

    shape: tuple[int, ...]
    begin: int
    sizes: tuple[int, ...]


class Question:
    """A batch in a slot."""

    def __init__(self, memory: mmap.mmap, items: tuple[int, ...], parts: Mapping[str, Part], end: int) -> None:
        """`items` are those of each request, 1 where there is no batch; all of it lies before `end`."""
        self.items, self.end = items, end
        self._memory, self._parts = memory, parts

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """The batch's values of an input, which are not copied but for texts.

        Raises:
            Malformed: they are texts, and those of a request are not as many as it says, or do not end where it ends.
        """
        part = self._parts[tensor.name]
        if tensor.dtype != "BYTES":
            kind = numpy_type(tensor.dtype)
            return np.frombuffer(self._memory, kind, sum(part.sizes) // kind.itemsize, part.begin).reshape(part.shape)
        # Each request's alone: one whose texts are longer than they are would have another's.
        found, begin = [], part.begin
        for count, size in zip(self.items, part.sizes):
            shape = part.shape if len(self.items) == 1 else (count, *part.shape[1:])
            found.append(_texts(self._memory[begin : begin + size], shape))
            begin += size
        return found[0] if len(found) == 1 else np.concatenate(found)


@dataclass(frozen=True)
class Ends:
    """The file descriptors of one slot, which a process inherits."""

    socket: int
    file: int

    def __str__(self) -> str:
        """As `told` reads it, here and in backend.c."""
        return f"{self.socket}:{self.file}"

    def __iter__(self) -> Iterator[int]:
        return iter((self.socket, self.file))

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
            self._file = tempfile.TemporaryFile(dir=SHARED_MEMORY)  # noqa: SIM115 - see `close`
        except OSError as error:
            raise ServerFailed(
                f"{SHARED_MEMORY} cannot be written, and requests travel through it: {error}."
            ) from error
        self._sockets = socket.socketpair()
        self.tritons, self.models = (Ends(one.fileno(), self._file.fileno()) for one in self._sockets)

    def close(self) -> None:
        """Close this process's ends, when both others have theirs."""
        self._file.close()
        for one in self._sockets:
            one.close()


class Slot:
    """The end of the process that runs the model; one thread's."""

    def __init__(self, ends: Ends, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        for one in ends:
            os.set_inheritable(one, False)
        self._socket, self._file = socket.socket(fileno=ends.socket), ends.file
        self._inputs, self._outputs = inputs, outputs
        self._backed = self._times = self._behind = 0
        self.memory = mmap.mmap(-1, 1)
        self.pages = PageLocked()

    @property
    def size(self) -> int:
        """Bytes that there is memory for; it may have been mapped for more."""
        return self._backed

    def ready(self, batched: bool, largest: int) -> None:
        """Say that batches may come, and of what the model is asked and what it answers."""
        self._say([int(batched), largest, *_named(self._inputs), *_named(self._outputs)])

    def question(self) -> Question | None:
        """The next batch, once there is one; None when tritonserver has ended.

        Raises:
            OSError: its memory cannot be had.
        """
        bell = self._socket.recv(BELL.size, socket.MSG_WAITALL)
        if len(bell) < BELL.size:
            return None
        backed, times, length = BELL.unpack(bell)
        if times != self._times:
            self.pages.release()  # the device would read what lay there before
        self._backed, self._times = backed, times
        self._map(backed)
        read = iter(np.frombuffer(self.memory, np.int64, length // INTEGER).tolist())
        items = tuple(next(read) for _ in range(next(read)))
        parts, end = {}, length
        for tensor in self._inputs:
            shape = tuple(next(read) for _ in range(next(read)))
            begin = next(read)
            parts[tensor.name] = Part(shape, begin, tuple(next(read) for _ in items))
            end = begin + sum(parts[tensor.name].sizes)
        self._behind = aligned(end)
        return Question(self.memory, items, parts, end)

    def answer(self, arrays: Mapping[str, NDArray[Any]], items: Sequence[int]) -> None:
        """Answer a batch; the first dimension of each array is the batch's, if it is of several requests.

        Raises:
            NoSharedMemory: there is no room for it; nothing has been said.
        """
        message, parts = [ANSWERED, 1], []
        for tensor in self._outputs:
            array = arrays[tensor.name]
            if tensor.dtype == "BYTES":
                texts_of = [texts.written(part) for part in _split(array, items)]
                data, sizes = np.frombuffer(b"".join(texts_of), np.uint8), [len(text) for text in texts_of]
            else:
                data, sizes = array, [array.nbytes // sum(items) * count for count in items]
            message += [array.ndim, *array.shape]
            parts.append((len(message), data))
            message += [0, *sizes]
        self._say(message, parts)

    def refuse(self, refusal: Refusal, called: bool) -> None:
        """Answer every request of a batch with an error; `called` says whether the model was."""
        self._say([ERRORS[refusal.code], int(called), *_text(refusal.message[:MOST_CHARACTERS])])

    def apart(self, called: bool) -> None:
        """Ask for the requests of a batch one by one."""
        self._say([APART, int(called)])

    def no_room(self) -> None:
        """Say that the answers find no room."""
        self._say([NO_ROOM, 1])

    def _say(self, message: list[int], parts: Sequence[tuple[int, NDArray[Any]]] = ()) -> None:
        """Write a message behind what was asked, and the arrays behind it, whose places it holds; and ring."""
        begin = self._behind
        end = aligned(begin + len(message) * INTEGER)
        for index, array in parts:
            message[index], end = end, aligned(end + array.nbytes)
        self._back(end)
        np.frombuffer(self.memory, np.int64, len(message), begin)[:] = message
        for index, array in parts:
            np.copyto(np.frombuffer(self.memory, array.dtype, array.size, message[index]).reshape(array.shape), array)
        self._socket.sendall(BELL.pack(self._backed, self._times, begin))

    def _back(self, size: int) -> None:
        """Have memory for so many bytes.

        Raises:
            NoSharedMemory: there is not so much.
        """
        if size <= self._backed:
            return
        backed = aligned(size, mmap.PAGESIZE)
        try:
            os.posix_fallocate(self._file, 0, backed)
            self._map(backed)
        except OSError as error:
            raise NoSharedMemory(f"an answer of {size} bytes finds no room in {SHARED_MEMORY}: {error}") from error
        self._backed = backed

    def _map(self, size: int) -> None:
        if size <= len(self.memory) and self._mapped:
            return
        self.pages.release()
        # The old mapping goes with the last array that lies in it.
        self.memory = mmap.mmap(self._file, size)

    @property
    def _mapped(self) -> bool:
        return len(self.memory) > 1


def aligned(size: int, to: int = ALIGNMENT) -> int:
    """The least multiple of `to` that is no less."""
    return -(-size // to) * to


def _texts(data: bytes, shape: Sequence[int]) -> NDArray[np.object_]:
    try:
        return texts.read(data, shape)
    except ValueError as error:
        raise Malformed(str(error)) from error


def _split(array: NDArray[Any], items: Sequence[int]) -> list[NDArray[Any]]:
    return np.split(array, np.cumsum(items)[:-1]) if len(items) > 1 else [array]


def _named(tensors: Iterable[Tensor]) -> list[int]:
    made = [(TYPES[tensor.dtype], *_text(tensor.name)) for tensor in tensors]
    return [len(made), *(number for one in made for number in one)]


def _text(text: str) -> list[int]:
    """A text's length and its bytes, as integers."""
    data = text.encode()
    filled = data.ljust(aligned(len(data), INTEGER), b"\0")
    return [len(data), *np.frombuffer(filled, np.int64).tolist()]
