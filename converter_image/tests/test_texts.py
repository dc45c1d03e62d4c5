"""Texts of the Open Inference Protocol are read as they were written, and malformed ones refused."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from tftrt_runtime.serve import texts

TEXTS = np.array([[b"", b"a\0b"], ["für".encode(), b"x" * 70_000]], np.object_)


def test_what_is_written_is_what_nvidias_client_reads() -> None:
    assert texts.written(TEXTS) == serialize_byte_tensor(TEXTS).item()
    assert deserialize_bytes_tensor(texts.written(TEXTS)).tolist() == TEXTS.reshape(-1).tolist()


def test_what_nvidias_client_writes_is_read() -> None:
    np.testing.assert_array_equal(texts.read(serialize_byte_tensor(TEXTS).item(), (2, 2)), TEXTS)
    assert texts.read(b"", (0, 3)).shape == (0, 3)
    assert texts.read(serialize_byte_tensor(TEXTS[:1, :1]).item(), ()).shape == ()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x01\x00", "a string's length is four bytes, and 2 are left"),
        (b"\x08\x00\x00\x00abc", "expected a string of 8 bytes, but 3 are left"),
        (b"\x01\x00\x00\x00a", "expected 2 string elements, got 1"),
        (b"\x01\x00\x00\x00a" * 3, "expected 2 string elements, got 3"),
    ],
)
def test_malformed_texts_are_refused_by_what_is_wrong_with_them(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        texts.read(data, (2,))
