"""What TensorFlow keeps of a call that an operation refused, given back. Imports TensorFlow.

Some hundred bytes each, in a vector that only grows, and with several threads whole pages, for each thread's allocator
has them between its own: clients that send what a model refuses would have the server reach its limit of memory.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import tensorflow as tf

from tftrt_runtime import log

LIBRARY = Path(__file__).with_name("libaborted_calls.so")
# The layout that aborted_calls.c relies on. With any other version nothing is given back: better a leak than a crash.
KNOWN_VERSION = "2.14.1"
_VECTOR = "_ZN10tensorflow15LocalRendezvous16aborted_rendezs_E"  # tensorflow::LocalRendezvous::aborted_rendezs_
_MUTEX = "_ZN10tensorflow15LocalRendezvous19aborted_rendezs_mu_E"
_LOCK, _UNLOCK = "_ZN3tsl5mutex4lockEv", "_ZN3tsl5mutex6unlockEv"


class AbortedCalls:
    """Those of this process."""

    def __init__(self) -> None:
        self._release = None
        if tf.__version__ != KNOWN_VERSION:
            self._leave_be(f"TensorFlow is {tf.__version__}, and what it keeps is known of {KNOWN_VERSION}")
            return
        try:
            framework = ctypes.CDLL(str(Path(tf.sysconfig.get_lib(), "libtensorflow_framework.so.2")))
            # References of C++, which the compiler makes pointers of.
            self._kept = ctypes.c_void_p.in_dll(framework, _VECTOR)
            self._mutex = ctypes.c_void_p.in_dll(framework, _MUTEX)
            self._lock, self._unlock = (
                ctypes.cast(getattr(framework, name), ctypes.c_void_p) for name in (_LOCK, _UNLOCK)
            )
            release = ctypes.CDLL(str(LIBRARY)).tftrt_release
        except (OSError, ValueError, AttributeError) as error:  # no library, or none of these symbols
            self._leave_be(str(error))
            return
        release.restype = ctypes.c_size_t
        self._release = release

    def _leave_be(self, why: str) -> None:
        log.event("serve", "Requests that the model refuses leave memory behind", why=why)

    @property
    def count(self) -> int:
        """How many entries there are: one of a call for each device that has aborted it."""
        begin, end, _ = (ctypes.c_size_t * 3).from_address(self._kept.value or 0)
        return (end - begin) // ctypes.sizeof(ctypes.c_void_p)

    def release(self) -> int:
        """Give back those that have ended; how many entries. Some microseconds, for any number of threads at a time."""
        if self._release is None:
            return 0
        return int(self._release(self._kept, self._mutex, self._lock, self._unlock))
