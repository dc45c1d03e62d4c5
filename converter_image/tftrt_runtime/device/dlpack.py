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


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)

# What TensorFlow has been handed and has not given back, by address: it may do so a while after the last reference to a
# tensor has gone.
_handed: dict[int, tuple[_Managed, Any, Any]] = {}


def _forget(address: int) -> None:
    del _handed[address]


_given_back = _Deleter(_forget)


def view(
    address: int, shape: Sequence[int], kind: np.dtype[Any], device: int, number: int = 0, owner: object = None
) -> Any:
    """A tensor over memory, as it is and as it will be: nothing is copied.

    `number` is the device's as TensorFlow counts its logical ones. `owner` has the memory, which must be there for as
    long as the tensor is; it is kept until then.
    """
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    code = _Type(CODES[kind.kind], kind.itemsize * 8, 1)
    managed = _Managed(_Tensor(address, _Device(device, number), len(shape), code, sizes, None, 0), None, _given_back)
    place = ctypes.addressof(managed)
    _handed[place] = managed, sizes, owner
    return tf.experimental.dlpack.from_dlpack(_new(place, NAME, None))


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
