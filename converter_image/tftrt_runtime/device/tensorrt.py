"""The TensorRT that TensorFlow runs its engines with."""

from __future__ import annotations

import importlib.metadata

from tftrt_runtime.contract.errors import EngineDeviceMismatch

# With this, a part of the graph whose engine is missing fails instead of running in TensorFlow without a word.
NO_FALLBACK = {"TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION": "False"}


def version() -> str:
    """The version loaded, with its wheel's fourth number where it came from one; '' for none. Imports TensorFlow."""
    from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as tf2tensorrt

    if not tf2tensorrt.is_tensorrt_enabled():
        return ""
    loaded = ".".join(map(str, tf2tensorrt.get_loaded_tensorrt_version()))
    try:
        wheel = importlib.metadata.version("tensorrt")
    except importlib.metadata.PackageNotFoundError:
        return loaded
    return wheel if wheel.startswith(f"{loaded}.") else loaded


def expect(built: str, loaded: str) -> None:
    """Hold that the engines are run by the TensorRT that built them, as no other one takes them.

    Raises:
        EngineDeviceMismatch: they are not.
    """
    if built != loaded:
        raise EngineDeviceMismatch(
            f"The engines were built by TensorRT {built}, and this image has {loaded or 'none'}: serve them with the "
            "runtime that converted them, or convert again with this one."
        )
