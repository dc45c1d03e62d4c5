"""Models made once, and a box in which the real command line runs as it does in a pod."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.authority import Authority
from tests.box import Box, Mount, Server
from tests.made import made_by
from tests.object_store import ObjectStore

MODELS = (
    "cnn",
    "resnet50",
    "table",
    "two",
    "counter",
    "slow",
    "several",
    "picky",
    "hungry",
    "reader",
    "frozen",
    "written",
    "vocabulary",
    "keras",
    "every-type",
    "tensorflow1",
    "unnamable",
)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of `models.py`."""
    return made_by("models.py", tmp_path_factory.mktemp("models"), *MODELS)


@pytest.fixture(scope="session")
def tensorflow1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of `tensorflow1.py`."""
    return made_by("tensorflow1.py", tmp_path_factory.mktemp("tensorflow1"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of `exported.py`."""
    return made_by("exported.py", tmp_path_factory.mktemp("exported"))


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF-TRT's converter believes in a GPU, and converts nothing."""

    from tensorflow.python.compiler.tensorrt import trt_convert

    class OnGPU:
        device = "/job:localhost/replica:0/task:0/device:GPU:0"

    class ArrayOps:
        zeros: ClassVar[Any] = staticmethod(lambda _shape: OnGPU)

    monkeypatch.setattr(trt_convert, "_check_trt_version_compatibility", lambda: None)
    monkeypatch.setattr(trt_convert, "array_ops", ArrayOps)
    monkeypatch.setattr(
        trt_convert.TrtGraphConverterV2, "_run_conversion", lambda _converter, meta_graph: meta_graph.graph_def
    )


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box without models, for what needs no TensorFlow."""
    return Box(tmp_path)


@pytest.fixture
def mount() -> Iterator[Mount]:
    """A function that mounts an empty file system on a folder, or changes the options of one that it mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount file systems")
    mounted: list[Path] = []

    def make(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if folder in mounted:
            options = f"remount,{options}"
        else:
            mounted.append(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tftrt-test", folder], check=True)

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who vouches for the tests' servers, and for nobody else."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def _object_store(authority: Authority) -> Iterator[ObjectStore]:
    store = ObjectStore(authority)
    yield store
    store.close()


@pytest.fixture
def s3(_object_store: ObjectStore) -> ObjectStore:
    """A real S3 endpoint with an empty bucket."""
    _object_store.empty()
    return _object_store


@pytest.fixture(scope="session")
def converted(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Box]:
    """A function from a model's name to the box in which it was converted and published, each once."""
    boxes: dict[str, Box] = {}

    def convert(name: str, **changes: object) -> Box:
        if name not in boxes:
            made = Box(tmp_path_factory.mktemp(name), name=name, models=models)
            made.spec.update(changes)
            made.convert_and_publish()
            boxes[name] = made
        return boxes[name]

    return convert


@pytest.fixture(scope="session", autouse=True)
def no_server_outlives_the_tests() -> Iterator[None]:
    """End all servers at once, whatever became of their tests: each takes some seconds to drain."""
    yield
    for server in Server.started:
        server.process.terminate()
    for server in Server.started:
        server.ended()


@pytest.fixture(scope="session")
def served(converted: Callable[..., Box]) -> Callable[[str], Server]:
    """A function from a model's name to a server of it that is ready, each started once."""
    servers: dict[str, Server] = {}

    def serve(name: str) -> Server:
        if name not in servers:
            servers[name] = converted(name).serve()
            servers[name].wait_until_ready()
        return servers[name]

    return serve
