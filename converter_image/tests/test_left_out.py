"""What the images leave out of their packages is told in one place, and nothing that converts or serves misses it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.box import Box, Server

HERE = Path(__file__).parents[1]
DOCKERFILE = (HERE / "Dockerfile").read_text()
ENVIRONMENT = Path(sys.prefix)


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leave_out", HERE / "leave_out.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


leave_out = _module()
LISTED = {image: list(leave_out.left_out(image, leave_out.LIST.read_text())) for image in ("cpu", "gpu")}


@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_each_image_leaves_out_what_is_listed(image: str) -> None:
    stage = re.search(rf"^FROM builder AS {image}-dependencies\n(.*?)\n\n", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert stage
    assert f"leave_out.py /opt/tftrt {image} /opt/left-out" in stage[1]
    assert "PYC_INVALIDATION_MODE=UNCHECKED_HASH" in stage[1], "bytecode would not fit files of another date"
    assert f"COPY --from={image}-dependencies /opt/tftrt /opt/tftrt" in DOCKERFILE
    assert "--from=cpu-dependencies /opt/left-out" not in DOCKERFILE
    listed = (HERE / ".dockerignore").read_text().splitlines()
    assert {"!leave_out.py", "!left_out.txt"} <= set(listed)


def test_the_gpu_image_looks_for_libraries_only_where_it_has_some() -> None:
    path = re.search(r"LD_LIBRARY_PATH=(\S+)", DOCKERFILE)
    assert path
    folders = {one.removeprefix("/opt/tftrt/site/") for one in path[1].split(":")}
    gone = {pattern for pattern, _ in LISTED["gpu"]}
    assert not folders & {
        str(Path(pattern).parent) for pattern in gone if "libnccl" in pattern or "libcurand" in pattern
    }
    assert {"tensorrt", "nvidia/cudnn/lib", "nvidia/cublas/lib", "nvidia/cusolver/lib"} <= folders


def test_what_operations_need_is_not_listed() -> None:
    """Each was asked for in a library, or in TensorFlow's own code; and TensorFlow breaks without its `test`."""
    kept = [
        "nvidia/cudnn/lib/libcudnn_adv_train.so.8",  # an LSTM of Keras
        "nvidia/cudnn/lib/libcudnn_ops_train.so.8",
        "nvidia/cuda_cupti/lib/libcupti.so.11.8",
        "nvidia/cuda_nvcc/bin/ptxas",
        "nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc",
        "nvidia/cusolver/lib/libcusolver.so.11",
        "tensorrt/libnvinfer_builder_resource.so.8.5.3",
        "tensorrt/libnvinfer_plugin.so.8",
        "tensorflow/_api/v2/test",
        "pytriton/tritonserver/python_backend_stubs/3.10",
        "pytriton/tritonserver/python_backend_stubs/3.11",
    ]
    for path in kept:
        parents = [path, *map(str, Path(path).parents)]
        assert not [pattern for pattern, _ in LISTED["gpu"] if any(Path(one).match(pattern) for one in parents)], path


def test_a_path_that_is_not_there_any_more_is_told(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.10/site-packages").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"tensorflow/include is not in .* any more \(headers"):
        leave_out.take_out(tmp_path, "gpu", None)


def test_all_that_is_left_has_one_date(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "c").write_text("")
    (tmp_path / "a" / "link").symlink_to("nowhere")
    leave_out.date(tmp_path)
    assert {path.lstat().st_mtime for path in (tmp_path, *tmp_path.rglob("*"))} == {leave_out.MOMENT}


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site-packages of this environment, of which was left out what the CPU's image has not."""
    folder = tmp_path_factory.mktemp("lean")
    for part in ("lib", "bin"):
        shutil.copytree(ENVIRONMENT / part, folder / part, symlinks=True, copy_function=_linked)
    leave_out.take_out(folder, "cpu", None)
    (site,) = folder.glob("lib/python3.*/site-packages")
    yield site
    shutil.rmtree(folder)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def test_without_it_models_are_converted_and_served(
    lean: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(lean)]))
    # Not that of the environment, which has all packages as they were.
    python = [str(sys._base_executable), "-s"]  # type: ignore[attr-defined]
    look = "import tensorflow, pytriton; print(tensorflow.__file__, pytriton.__file__)"
    found = subprocess.run([*python, "-c", look], capture_output=True, text=True, check=True).stdout
    assert found.count(str(lean)) == 2
    box = Box(tmp_path, name="cnn", models=models)
    for step in ("lookup", "fetch", "convert", "publish"):
        done = subprocess.run(
            [*python, *box.command(step)[1:]],
            env=box.environment(tmp_path / "termination"),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    server = Server(box, within=lambda command: [*python, *command[1:]])
    server.wait_until_ready()
    assert (
        '"state":"READY"' in server.get("/v2/models/cnn/versions/1/stats") or server.get("/v2/models/cnn/ready") == ""
    )
    server.stop()
