"""Tensors of TensorFlow over memory that it has not allocated, and the address of one that it has. Imports TensorFlow.

By DLPack's structures of version 0 (github.com/dmlc/dlpack, include/dlpack/dlpack.h), which TensorFlow 2.14 reads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

CPU, GPU = 1, 2  # DLDeviceType's kDLCPU and kDLCUDA
CODES = {"i": 0, "u": 1, "f": 2}  # DLDataTypeCode by numpy's kind
NAME = b"dltensor"
# What the kernels of a processor take for granted of where a tensor begins: Eigen's with AVX-512.
ALIGNMENT = 64


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("dimensions", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class View:
    """Memory as tensors of one type and shape; it and the memory must outlive each of them."""

    def __init__(self, address: int, shape: Sequence[int], kind: np.dtype[Any], device: int, number: int = 0) -> None:
        """`number` is the device's as TensorFlow counts its logical ones."""
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        self._managed = _Managed(
            _Tensor(
                address,
                _Device(device, number),
                len(shape),
                _Type(CODES[kind.kind], kind.itemsize * 8, 1),
                self._shape,
                None,
                0,
            )
        )

    def tensor(self) -> Any:
        """A tensor over the memory, as it is and as it will be: nothing is copied."""
        return tf.experimental.dlpack.from_dlpack(_new(ctypes.addressof(self._managed), NAME, None))


def can_be_viewed(kind: np.dtype[Any]) -> bool:
    """Whether DLPack has the type: it has no bool, and no texts."""
    return kind.kind in CODES


def place(tensor: Any) -> tuple[int, int]:
    """DLPack's kind of the device that a tensor lies on, and the device's number as TensorFlow counts."""
    kind, number = tensor.device.split(":")[-2:]
    return GPU if kind == "GPU" else CPU, int(number)


def address(tensor: Any) -> int:
    """Where a tensor's memory begins."""
    capsule = tf.experimental.dlpack.to_dlpack(tensor)
    managed = ctypes.cast(_pointer(capsule, NAME), ctypes.POINTER(_Managed)).contents
    return int(managed.tensor.data) + int(managed.tensor.offset)
