"""Clients of one server in a process of their own: `memory_load ANSWER ADDRESS MODEL ITEMS WAY CLIENTS SECONDS`."""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.gpu import serving


def main(answer: str, address: str, model: str, items: str, way: str, clients: str, seconds: str) -> None:
    """Write to ANSWER what `serving.load` found, which asks for the batch in the file ITEMS."""
    row = serving.load(address, model, np.load(items), int(clients), way, float(seconds))
    Path(answer).write_text(json.dumps(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
