"""The operator's timers, shorter: what is waited for by the minute would make runs of minutes.

One table for all operators of the harness, in seconds; `forker.py` sets it before an operator starts. What it does not
name is as it is in production.
"""

from collections.abc import Mapping

TIMERS: Mapping[str, Mapping[str, float]] = {
    "tftrt_operator.controller.queue": {"FIRST_BACKOFF_SECONDS": 0.05, "LONGEST_BACKOFF_SECONDS": 1},
    "tftrt_operator.controller.informer": {"FIRST_PAUSE_SECONDS": 0.05, "LONGEST_PAUSE_SECONDS": 0.5},
    "tftrt_operator.controller.model_watch": {
        "LOOK_FOR_CRD_SECONDS": 0.2,
        "CHECK_SECONDS": 1,
        "FIRST_PATIENCE_SECONDS": 10,
        "PATIENCE_SECONDS": 1,
        "LONGEST_PAUSE_SECONDS": 1,
    },
    "tftrt_operator.controller.cluster": {"REQUEST_TIMEOUT_SECONDS": 4},
    "tftrt_operator.domain.plan": {"OBSTACLE_INTERVAL": 1, "INVALID_INTERVAL": 1, "DELETION_INTERVAL": 1},
}
