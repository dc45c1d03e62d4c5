"""Models that a script of these tests makes, in a process of its own: TensorFlow is loaded by none that runs tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def made_by(script: str, folder: Path, *names: str) -> Path:
    """The folder, with the models of that name, or all, that this script beside the tests makes.

    Raises:
        AssertionError: it failed; its last words are told.
    """
    command = [sys.executable, str(Path(__file__).with_name(script)), str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder
