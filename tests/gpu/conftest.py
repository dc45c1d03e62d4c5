"""The real command line on a real GPU: run with Python 3.10 from the folder that has `converter_image` in it.

PYTHONPATH=converter_image python -m pytest tests/gpu

With pytest-xdist and several GPUs, `-n` of them and `--dist loadgroup`: each process has a GPU of its own, and one
process runs the tests that share a converted model (with pytest before 9.2, whose items pytest-xdist 3.8 cannot group).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.cards import cards

CONVERTER = Path(__file__).parents[2] / "converter_image"
sys.path.insert(0, str(CONVERTER))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CONVERTER), os.environ.get("PYTHONPATH", "")]))
if "PYTEST_XDIST_WORKER" in os.environ:
    found = cards()
    os.environ["CUDA_VISIBLE_DEVICES"] = found[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % len(found)]

import importlib.util  # noqa: E402

# `tests` is the operator's package here; the converter's box of tools is loaded by its path.
_spec = importlib.util.spec_from_file_location("tftrt_box", CONVERTER / "tests" / "box.py")
assert _spec and _spec.loader
box_module = importlib.util.module_from_spec(_spec)
sys.modules["tftrt_box"] = box_module
_spec.loader.exec_module(box_module)
# TensorFlow on a GPU newer than itself compiles its kernels at first use, and TensorRT tries many tactics.
box_module.WAIT_SECONDS = 900

GPU_RUNTIME = {"name": "triton", "accelerator": "GPU", "tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}


def pytest_configure(config: pytest.Config) -> None:
    """Make pytest-xdist's marker known where it is not installed."""
    config.addinivalue_line("markers", "xdist_group(name): tests that one process of pytest-xdist runs")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one process run what shares a converted model; skip all where there is no GPU driver, and say so."""
    import ctypes

    for item in items:
        if "fp16" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("fp16"))
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="there is no NVIDIA driver on this machine"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of `models.py`, and those of the converter's own tests, made on the processor."""
    folder = tmp_path_factory.mktemp("models")
    own = CONVERTER / "tests"
    for script in (Path(__file__).with_name("models.py"), own / "tensorflow1.py", own / "exported.py"):
        command, environment = [sys.executable, str(script), str(folder)], {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    # What later versions of TensorFlow exported lies in the repository: none of them is needed here.
    for archive in (own / "keras3").glob("*.tar.gz"):
        stem = archive.name.removesuffix(".tar.gz")
        name = stem.replace(".", "-")  # which a model's name may have
        with tarfile.open(archive) as packed:
            packed.extractall(folder / name)
        if (kept := archive.with_name(f"{stem}.npz")).exists():
            shutil.copy(kept, folder / f"{name}.npz")
    return folder


@pytest.fixture
def new_box(models: Path, tmp_path: Path) -> Callable[..., Any]:
    """A function from a model's name and changes of `conversion` to a box for this GPU."""
    made: list[Any] = []

    def make(name: str, **conversion: object) -> Any:
        box = gpu_box(tmp_path / f"{name}-{len(made)}", name, models)
        box.spec["conversion"].update(conversion)
        made.append(box)
        return box

    return make


def gpu_box(root: Path, name: str, models: Path) -> Any:
    """A box whose spec is for a GPU."""

    class GPUBox(box_module.Box):  # type: ignore[misc, name-defined]
        def run(self, step: str) -> Any:
            """Run a step, and remember how it ended."""
            self.ended[step] = super().run(step)
            return self.ended[step]

        @property
        def product(self) -> Path:
            folder = self.pvc / "store/tftrt/default" / box_module.FINGERPRINT
            return next(iter(folder.iterdir()), folder / "none") if folder.exists() else folder / "none"

    root.mkdir(parents=True)
    box = GPUBox(root, name=name, models=models)
    box.ended = {}
    box.spec["runtime"] = GPU_RUNTIME
    box.spec["source"]["signature"] = "serving_default"
    return box


@pytest.fixture(scope="session")
def fp16(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A box in which `cnn` was converted to FP16 for the batch sizes 1 and 4, and published."""
    box = gpu_box(tmp_path_factory.mktemp("fp16") / "box", "cnn", models)
    box.spec["conversion"]["precision"] = "FP16"
    box.convert_and_publish()
    return box


@pytest.fixture(scope="session", autouse=True)
def no_server_outlives_the_tests() -> Iterator[None]:
    """End all servers."""
    yield
    for server in box_module.Server.started:
        if server.process.poll() is None:
            server.stop()
