"""A device that computes nothing any more ends the server, with its reason."""

from __future__ import annotations

import os
import time
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.utils

from tests.gpu.conftest import CONVERTER
from tests.gpu.test_gpu import ask

ENDS_WITHIN_SECONDS = 60


def package_that_loses_its_device(folder: Path) -> Path:
    """The converter's package with `processes.timers` replaced, all else being the files themselves."""
    package = folder / "tftrt_runtime"
    processes = package / "processes"
    processes.mkdir(parents=True)
    for path in (CONVERTER / "tftrt_runtime").iterdir():
        if path.name != processes.name:
            (package / path.name).symlink_to(path)
    for path in (CONVERTER / "tftrt_runtime" / processes.name).iterdir():
        here = Path(__file__).with_name("lost_device.py")
        (processes / path.name).symlink_to(here if path.name == "timers.py" else path)
    return folder


def test_a_server_whose_device_is_lost_ends_with_its_reason(fp16: Any, models: Path, tmp_path: Path) -> None:
    import tftrt_box

    lose = tmp_path / "lose"
    overlay = package_that_loses_its_device(tmp_path / "overlay")

    class Box:
        root, spec, name = tmp_path, fp16.spec, fp16.name

        def environment(self, log: Path) -> dict[str, str]:
            made: dict[str, str] = fp16.environment(log)
            path = os.pathsep.join((str(overlay), made["PYTHONPATH"]))
            return {**made, "PYTHONPATH": path, "LOSE_DEVICE": str(lose)}

    running = tftrt_box.Server(Box(), memory_fraction="0.02", folder="lost")
    running.wait_until_ready()
    with np.load(models / "cnn.npz") as arrays:
        image, expected = arrays["image"], arrays["classes"]
    np.testing.assert_allclose(ask(running, image), expected, atol=0.01)

    lose.touch()
    end = time.monotonic() + ENDS_WITHIN_SECONDS
    failures = []
    while running.process.poll() is None:
        assert time.monotonic() < end, f"the server lives on; {lose.with_suffix('.codes').read_text()}; {failures[-3:]}"
        try:
            np.testing.assert_allclose(ask(running, image), expected, atol=0.01)
        except tritonclient.utils.InferenceServerException as error:
            failures.append(str(error))
    ended = running.ended()
    print(lose.with_suffix(".codes").read_text(), failures, ended.message)
    assert failures, "a call met the lost device"
    assert (ended.code, ended.termination["reason"]) == (37, "GPULost"), ended.log
    with pytest.raises(urllib.error.URLError):
        running.get("/v2/health/ready")
