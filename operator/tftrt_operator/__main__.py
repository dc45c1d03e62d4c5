"""`tftrt-operator` runs the operator."""

import argparse
import asyncio
import ctypes
import gc
import logging
import sys
from pathlib import Path

import kopf

from .config import DEFAULT_PATH, ConfigurationError, read_configuration
from .controller import process


def _lease(written: str) -> tuple[str, str]:
    namespace, _, name = written.partition("/")
    if not namespace or not name or "/" in name:
        raise argparse.ArgumentTypeError(f"{written!r} is not NAMESPACE/NAME")
    return namespace, name


# mallopt(3)
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BYTES = 65536


def _spare_memory() -> None:
    """Have the C library give large pieces back at once, which are pages of lists, and all threads share one heap.

    Left to itself it keeps for the next time what was freed, and takes ever larger pieces from the heap. Another C
    library than glibc has no such call, and nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def main() -> None:
    """Read the configuration and run until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="tftrt-operator", description="Runs the TRTModel operator.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="the configuration (default: %(default)s)")
    parser.add_argument("--health-port", type=int, default=8080, help="of /healthz and /readyz (default: %(default)s)")
    parser.add_argument(
        "--lease", type=_lease, metavar="NAMESPACE/NAME", help="which replicas share, and whose holder acts"
    )
    arguments = parser.parse_args()
    try:
        configuration = read_configuration(arguments.config)
    except ConfigurationError as error:
        sys.exit(f"tftrt-operator: {error}")
    # What is parsed makes many objects and hardly a cycle; Python's own thresholds look through them at each 700.
    gc.set_threshold(10_000, 20, 50)
    _spare_memory()
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # a line for each event of each object
    for logger in ("kopf._core.reactor.running", "kopf._core.reactor.orchestration"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # how kopf ends is told in a line by who starts it again
    try:
        asyncio.run(process.run(configuration, arguments.health_port, arguments.lease))
    except process.EndedByItselfError as ended:
        logging.getLogger(__name__).critical("%s", ended, exc_info=ended)
        sys.exit(f"tftrt-operator: {ended} by itself; the log has why")


if __name__ == "__main__":
    main()
