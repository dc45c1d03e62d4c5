"""What an error of a call tells of: a wrong request, a shortage, or the machine. Imports TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from tftrt_runtime.contract.errors import Failure, GPUUnfit, ServerFailed
from tftrt_runtime.model.saved_model import MACHINE_FAULTS
from tftrt_runtime.processes.child import one_line
from tftrt_runtime.serve import codes
from tftrt_runtime.serve.lost_device import gpu_lost

# How a model refuses what it is given; bytes that are no text are a ValueError, too.
REFUSALS = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, ValueError)
# What is short now may be there in a moment.
SHORTAGES = (tf.errors.ResourceExhaustedError, MemoryError)


def code(error: Exception) -> str:
    """The code to answer a request with whose call failed so."""
    if isinstance(error, REFUSALS):
        return codes.INVALID_ARGUMENT
    if isinstance(error, SHORTAGES):
        return codes.UNAVAILABLE
    return codes.INTERNAL


def of_the_machine(error: Exception) -> bool:
    """Whether the device, its driver or a library may be at fault, and then of every later call, too."""
    # What CUDA says itself, when inputs are brought to the device, has no type of TensorFlow's.
    return isinstance(error, (*MACHINE_FAULTS, GPUUnfit)) and not isinstance(error, SHORTAGES)


def lost(error: Exception, on_gpu: bool) -> Failure:
    """What ends a server that no longer answers what it answered when the model was loaded."""
    if not on_gpu:
        return ServerFailed(f"The model no longer answers what it answered when it was loaded: {one_line(error)}")
    return gpu_lost(one_line(error))
