"""What must be in a model's tree, told from its files' names alone: before they are copied, where that can be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from tftrt_runtime import log
from tftrt_runtime.contract.errors import NotAModel

SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")  # the second is the same as text
GRAPH = "graph.pb"
TOLD_NAMES = 5

_KERAS = (".keras", ".h5", ".hdf5")
_KERAS_WEIGHTS = ".weights.h5"
_SHARD = re.compile(r".+\.data-[0-9]{5}-of-[0-9]{5}")
_VERSION = re.compile(r"[0-9]+")


def saved_model_folder(uri: str, paths: Iterable[PurePosixPath]) -> PurePosixPath:
    """The folder with `saved_model.pb`: the tree itself.

    Raises:
        NotAModel: there is none; what is there instead is told.
    """
    paths = list(paths)
    below = _saved_models(paths)
    if PurePosixPath() in below:
        return PurePosixPath()
    if below:
        raise NotAModel(f"{uri} has no {SAVED_MODELS[0]}, but {_told(below)} in it has one: name that folder instead.")
    raise _no_saved_model(uri, paths)


def saved_model_in_archive(uri: str, paths: Iterable[PurePosixPath]) -> PurePosixPath:
    """The folder with `saved_model.pb` in an archive: its top, or its only one, or the last of several versions.

    Raises:
        NotAModel: there is none, or there are several models.
    """
    paths = list(paths)
    below = _saved_models(paths)
    if PurePosixPath() in below:
        return PurePosixPath()
    if len(below) > 1:
        # As TensorFlow Serving has the versions of a model, and serves the last one.
        if len({path.parent for path in below}) > 1 or not all(_VERSION.fullmatch(path.name) for path in below):
            raise NotAModel(f"{uri} holds several models, {_told(below)}: make an archive of one of them.")
        newest = max(below, key=lambda path: int(path.name))
        log.event("fetch", "Took the last of the versions in the archive", uri=uri, version=newest, of=len(below))
        return newest
    if not below:
        raise _no_saved_model(uri, paths)
    return below[0]


def frozen_graph(uri: str, paths: Iterable[PurePosixPath]) -> PurePosixPath:
    """The one file with a GraphDef.

    Raises:
        NotAModel: there is none, or several.
    """
    paths = list(paths)
    found = sorted(path for path in paths if path.suffix == ".pb")
    if [path.name for path in found] == [SAVED_MODELS[0]]:
        raise NotAModel(f"{uri} is a SavedModel, not a frozen graph: set spec.source.format to SavedModel.")
    if len(found) > 1:
        raise NotAModel(f"{uri} holds {_told(found)}: name the one file with the frozen graph.")
    if not found:
        raise NotAModel(
            f"{uri} is no frozen graph: there is no file that ends in .pb; {_there(paths)}.{_way_out(paths)}"
        )
    return found[0]


def expect_no_other_kind(uri: str, name: str) -> None:
    """Hold that the name of a file is not that of a model of another kind.

    Raises:
        NotAModel: it is; the way from it to a SavedModel is told.
    """
    if name in SAVED_MODELS:
        raise NotAModel(f"{uri} is a part of a SavedModel: name the folder that it lies in.")
    if way_out := _way_out([PurePosixPath(name)]):
        raise NotAModel(f"{uri} is no SavedModel.{way_out}")


def keras_file(uri: str, name: str) -> NotAModel:
    """The failure of a file that is one of Keras, whatever its name."""
    return NotAModel(f"{uri} is no SavedModel.{_of_keras(name)}")


def _saved_models(paths: list[PurePosixPath]) -> list[PurePosixPath]:
    return sorted({path.parent for path in paths if path.name in SAVED_MODELS})


def _no_saved_model(uri: str, paths: list[PurePosixPath]) -> NotAModel:
    return NotAModel(f"{uri} is no SavedModel: there is no {SAVED_MODELS[0]}; {_there(paths)}.{_way_out(paths)}")


def _there(paths: list[PurePosixPath]) -> str:
    names = sorted({path.parts[0] for path in paths})
    return f"it holds {', '.join(names[:TOLD_NAMES])}" if names else "it is empty"


def _told(paths: list[PurePosixPath]) -> str:
    return ", ".join(map(str, paths[:TOLD_NAMES])) + (", ..." if len(paths) > TOLD_NAMES else "")


def _way_out(paths: list[PurePosixPath]) -> str:
    """How what is there becomes a SavedModel, as a sentence with a space before it, or nothing."""
    names = {path.name for path in paths}
    if {"config.json", f"model{_KERAS_WEIGHTS}"} <= names:
        return _of_keras("model.keras")
    for path in sorted(paths):
        if path.name.endswith(_KERAS) and not path.name.endswith(_KERAS_WEIGHTS):
            return _of_keras(str(path))
    for path in sorted(paths):
        values = path.name.endswith(_KERAS_WEIGHTS) or (_SHARD.fullmatch(path.name) and path.parent.name != "variables")
        if values or ".ckpt" in path.name or path.name == "checkpoint":
            return (
                f" {path} is of a checkpoint, which holds a model's values and not its graph: restore it in the code "
                "that makes the model, where `model.export(FOLDER)` makes a SavedModel of both."
            )
    return ""


def _of_keras(name: str) -> str:
    return (
        f" {name} is a model as Keras saves it: `model.export(FOLDER)` makes a SavedModel, where `model` is what "
        f"`keras.models.load_model({name!r})` gives."
    )
