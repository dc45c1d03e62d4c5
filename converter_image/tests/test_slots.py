"""What the process that runs the model reads of a slot, and writes into it; tritonserver's side is played here."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.serve import codes
from tftrt_runtime.serve.slots import ALIGNMENT, BELL, Made, Malformed, Refusal, Slot

X = Tensor(name="x", dtype="FP32", shape=(-1, 2))
WORDS = Tensor(name="words", dtype="BYTES", shape=(-1, 1))
Y = Tensor(name="y", dtype="INT64", shape=(-1, 1))
NAMES = Tensor(name="names", dtype="BYTES", shape=(-1, 1))


class Front:
    """tritonserver's end, as backend.c has it."""

    def __init__(self, made: Made) -> None:
        ends = made.tritons.own()
        self._socket, self._file = socket.socket(fileno=ends.socket), ends.file
        self.times = 0

    def ask(self, items: list[int], *tensors: tuple[tuple[int, ...], list[bytes]]) -> None:
        """Of each tensor its shape, the whole batch's, and the bytes of each request."""
        integers = 1 + len(items) + sum(2 + len(shape) + len(parts) for shape, parts in tensors)
        message, data = [len(items), *items], b""
        begin = -(-integers * 8 // ALIGNMENT) * ALIGNMENT
        for shape, parts in tensors:
            message += [len(shape), *shape, begin + len(data), *map(len, parts)]
            data += b"".join(parts).ljust(-(-sum(map(len, parts)) // ALIGNMENT) * ALIGNMENT, b"\0")
        backed = begin + len(data) + 4096
        os.posix_fallocate(self._file, 0, backed)
        os.pwrite(self._file, struct.pack(f"={integers}q", *message).ljust(begin, b"\0") + data, 0)
        self._socket.sendall(BELL.pack(backed, self.times, integers * 8))

    def answer(self, integers: int) -> tuple[list[int], mmap.mmap]:
        """So many integers of the answer, and the memory that it lies in."""
        backed, _, begin = BELL.unpack(self._socket.recv(BELL.size, socket.MSG_WAITALL))
        memory = mmap.mmap(self._file, backed)
        return np.frombuffer(memory, np.int64, integers, begin).tolist(), memory

    def close(self) -> None:
        self._socket.close()
        os.close(self._file)


@pytest.fixture
def ends() -> Iterator[tuple[Front, Slot]]:
    made = Made()
    front, slot = Front(made), Slot(made.models.own(), (X, WORDS), (Y, NAMES))
    made.close()
    yield front, slot
    front.close()


def text(*words: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


def numbers(*rows: tuple[float, float]) -> bytes:
    return np.array(rows, np.float32).tobytes()


def test_a_batch_is_read_where_it_lies(ends: tuple[Front, Slot]) -> None:
    front, slot = ends
    rows = [numbers((1, 2)), numbers((3, 4), (5, 6))]
    front.ask([1, 2], ((3, 2), rows), ((3, 1), [text(b"a"), text(b"", b"bc")]))
    question = slot.question()
    assert question is not None
    assert question.items == (1, 2)
    assert question.array(X).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert question.array(X).ctypes.data % ALIGNMENT == 0
    assert question.array(WORDS).tolist() == [[b"a"], [b""], [b"bc"]]


@pytest.mark.parametrize(
    "parts",
    [
        # As many texts as there should be, were they read as one: the first would have the second client's words.
        [struct.pack("<I", 10), text(b"secret"), text(b"own", b"abc")],
        [text(b"a", b"b"), b"", text(b"c")],
        [text(b"a"), text(b"b")[:-1], b"\0" + text(b"c")],
    ],
)
def test_no_text_reaches_into_another_requests(ends: tuple[Front, Slot], parts: list[bytes]) -> None:
    front, slot = ends
    front.ask([1, 1, 1], ((3, 2), [numbers((0, 0))] * 3), ((3, 1), parts))
    question = slot.question()
    assert question is not None
    with pytest.raises(Malformed):
        question.array(WORDS)


def test_a_shape_that_its_bytes_are_not_of_is_told_when_it_is_read(ends: tuple[Front, Slot]) -> None:
    front, slot = ends
    front.ask([1], ((1, 2), [b"abcd"]), ((1, 1), [text(b"a")]))
    question = slot.question()
    assert question is not None
    with pytest.raises(ValueError, match="cannot reshape"):
        question.array(X)


def test_answers_lie_behind_what_was_asked_and_say_whose_they_are(ends: tuple[Front, Slot]) -> None:
    front, slot = ends
    front.ask([1, 2], ((3, 2), [numbers((1, 2)), numbers((3, 4), (5, 6))]), ((3, 1), [text(b"a"), text(b"", b"bc")]))
    question = slot.question()
    assert question is not None
    asked = question.array(X).copy()
    answers: dict[str, NDArray[Any]] = {
        "y": np.array([[7], [8], [9]]),
        "names": np.array([[b"one"], [b""], [b"three"]], np.object_),
    }
    slot.answer(answers, question.items)
    (verdict, called, *y), memory = front.answer(14)
    assert (verdict, called) == (0, 1)
    assert (y[:3], y[4:6]) == ([2, 3, 1], [8, 16]), "dimensions, and the bytes of each request"
    assert np.frombuffer(memory, np.int64, 3, y[3]).tolist() == [7, 8, 9]
    assert (y[6:9], y[10:12]) == ([2, 3, 1], [7, 13])
    assert memory[y[9] : y[9] + 20] == text(b"one", b"", b"three")
    assert question.array(X).tolist() == asked.tolist()


def test_an_error_has_room_and_is_bounded(ends: tuple[Front, Slot]) -> None:
    front, slot = ends
    front.ask([1], ((1, 2), [numbers((1, 2))]), ((1, 1), [text(b"a")]))
    assert slot.question() is not None
    slot.refuse(Refusal(codes.INVALID_ARGUMENT, "ü" * 100_000), called=False)
    (code, called, length), _ = front.answer(3)
    assert (code, called, length) == (3, 0, 2000)


def test_memory_that_was_given_back_is_read_anew(ends: tuple[Front, Slot]) -> None:
    front, slot = ends
    for value in (1.0, 2.0):
        front.ask([1], ((1, 2), [numbers((value, value))]), ((1, 1), [text(b"a")]))
        question = slot.question()
        assert question is not None
        assert question.array(X).tolist() == [[value, value]]
        slot.apart(called=False)
        assert front.answer(2)[0] == [-1, 0]
        os.truncate(front._file, 0)
        front.times += 1


def test_the_end_of_tritonserver_is_the_end(ends: tuple[Front, Slot]) -> None:
    front, slot = ends
    front._socket.shutdown(socket.SHUT_RDWR)
    assert slot.question() is None
