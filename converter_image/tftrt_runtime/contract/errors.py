"""Every way in which a step can fail: each is a type, its name the reason and its `code` the exit code.

By these codes the operator tells the user's mistakes (2 and 10-29, never retried) from passing faults (30 and above).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class Failure(Exception):  # noqa: N818 - its types are named as reasons are
    """A step's failure; its text is one sentence that says what happened, where, and what to do."""

    code: ClassVar[int]

    @property
    def reason(self) -> str:
        """The stable CamelCase word that goes into a condition of the TRTModel."""
        return type(self).__name__

    @property
    def message(self) -> str:
        """The sentence."""
        return str(self)


class UsageError(Failure):
    """The command line, the environment or the spec is wrong."""

    code = 2


class SourceNotFound(Failure):
    """Nothing lies at the source's URI."""

    code = 11


class DigestMismatch(Failure):
    """The source is not the one that the spec pins."""

    code = 12


class NotAModel(Failure):
    """Something lies at the source's URI, but no SavedModel that can be loaded."""

    code = 13


class SignatureNotFound(Failure):
    """The SavedModel has no such signature, or one that cannot be served."""

    code = 14


class CalibrationDataUnfit(Failure):
    """INT8 needs calibration data, and there is none or it does not fit the model."""

    code = 15


class NothingConvertible(Failure):
    """TensorRT can convert nothing of the model, or could not build an engine for every batch size."""

    code = 16


class AccuracyBelowThreshold(Failure):
    """The converted model's answers are not the unconverted one's."""

    code = 17


class SpeedupBelowThreshold(Failure):
    """The converted model is not as much faster as was asked for. In a cluster the operator judges."""

    code = 18


class GPUOutOfMemory(Failure):
    """The device has not enough memory to build or run the engines."""

    code = 19


class GPUUnfit(Failure):
    """The conversion asks for a GPU or for TensorRT, which is absent or unfit."""

    code = 20


class SourceChanged(Failure):
    """The store holds an artifact of the same fingerprint made from other bytes."""

    code = 21


class ArtifactCorrupt(Failure):
    """What lies in the store is not what its manifest says, or what is to go there is not what a conversion leaves."""

    code = 22


class ArtifactNotFound(Failure):
    """There is no artifact of this fingerprint to serve."""

    code = 23


class EngineDeviceMismatch(Failure):
    """The artifact was built for another kind of device."""

    code = 24


class SourceTooLarge(Failure):
    """The source or the data is larger than the limit, or than what is free on the node."""

    code = 25


class SecretUnfit(Failure):
    """The Secret is not for the host that its keys would go to, or has not the keys that it should have."""

    code = 26


class CertificateNotTrusted(Failure):
    """No authority that is trusted here vouches for a server, or not for this host, or not at this time."""

    code = 27


class Internal(Failure):
    """Something that nobody foresaw."""

    code = 30


class StoreUnavailable(Failure):
    """The store or the workspace cannot be read or written: full, read-only, gone."""

    code = 31


class OutOfMemory(Failure):
    """The host has too little memory: the kernel killed TensorFlow at the container's limit, or gave it no more."""

    code = 32


class ChildAborted(Failure):
    """The TensorFlow process died by a signal that was not the kernel's out-of-memory killer."""

    code = 33


class InsufficientGPUMemory(Failure):
    """The device has less free memory than the server's limit promises."""

    code = 34


class ServerFailed(Failure):
    """tritonserver ended by itself."""

    code = 35


class SourceUnavailable(Failure):
    """The source or the data could not be fetched to the end: the server is not reached, or the connection broke."""

    code = 36


class GPULost(Failure):
    """The device, which worked, computes nothing any more: an error of CUDA that sticks, or a device that is gone."""

    code = 37


class Terminated(BaseException):
    """SIGTERM or SIGINT (the first argument): everything on the way out closes what it opened."""


def failure(reason: str, message: str) -> Failure:
    """The failure of this name, as another process reported it; `Internal` for an unknown name."""
    kinds = {kind.__name__: kind for kind in Failure.__subclasses__()}
    return kinds.get(reason, Internal)(message)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and after it what each came of, whether it was said or only happened so."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
