"""`tftrt-operator` runs the operator."""

import argparse
import logging
import socket
import sys
from pathlib import Path

import kopf

from .config import DEFAULT_PATH, ConfigurationError, read_catalogue
from .controller import handlers


def main() -> None:
    """Read the configuration and run until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="tftrt-operator", description="Runs the TRTModel operator.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="the configuration (default: %(default)s)")
    parser.add_argument("--health-port", type=int, default=8080, help="port of /healthz (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        catalogue = read_catalogue(arguments.config)
    except ConfigurationError as error:
        sys.exit(f"tftrt-operator: {error}")
    kopf.configure(log_format=kopf.LogFormat.JSON)
    for chatty in ("aiohttp.access", "kopf.objects"):  # a line for each probe and for each event of each object
        logging.getLogger(chatty).setLevel(logging.WARNING)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, catalogue)
    memo = kopf.Memo()
    kopf.run(
        registry=registry,
        standalone=True,
        memo=memo,
        clusterwide=True,
        # Without one kopf looks up the user's name, and a container's user has none.
        identity=socket.gethostname(),  # type: ignore[arg-type]
        liveness_endpoint=f"http://0.0.0.0:{arguments.health_port}/healthz",
    )
    if "health" in memo and memo.health.has_failed:
        sys.exit("tftrt-operator: the reconciler ended by itself; the log has why")


if __name__ == "__main__":
    main()
