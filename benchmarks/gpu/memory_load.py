"""Clients of one server in a process of their own: `memory_load ANSWER ADDRESS CLIENTS BATCH SECONDS`."""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.gpu import serving


def main(answer: str, address: str, clients: str, batch: str, seconds: str) -> None:
    """Write what `serving.load` found to ANSWER."""
    images = np.random.default_rng(0).random((int(batch), 224, 224, 3), dtype=np.float32)
    row = serving.load(address, "resnet50", images, int(clients), "inline", float(seconds))
    Path(answer).write_text(json.dumps(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
