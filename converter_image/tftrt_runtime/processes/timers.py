"""How late this process wakes up."""

from __future__ import annotations

import ctypes

PR_SET_TIMERSLACK = 29  # prctl(2)
NANOSECONDS = 1


def set_slack() -> None:
    """Let the sleeps of this thread, and of those that it starts from now on, end no later than a ns after their time.

    TensorFlow waits for the GPU by sleeping again and again for ten microseconds, each of which lasts 50 longer as
    Linux has it: of a call that takes a millisecond or two, a few per cent. It takes effect on threads started later,
    hence before TensorFlow makes its devices.
    """
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, NANOSECONDS, 0, 0, 0)
