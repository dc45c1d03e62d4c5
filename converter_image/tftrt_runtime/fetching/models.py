"""What must be in a model's tree, told from its files' names alone: before they are copied, where that can be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from tftrt_runtime.contract.errors import NotAModel

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_AS_TEXT = "saved_model.pbtxt"  # which TensorFlow reads, too
GRAPH = "graph.pb"
TOLD_NAMES = 5
KERAS = (".keras", ".h5", ".hdf5")
CHECKPOINT = re.compile(r".+\.(index|meta|ckpt|data-\d{5}-of-\d{5})")


def saved_model_folder(uri: str, paths: Iterable[PurePosixPath], *, nested: bool) -> PurePosixPath:
    """The folder with `saved_model.pb`: the tree itself, or, in an archive (`nested`), its only folder.

    Raises:
        NotAModel: there is none; what is there instead is told.
    """
    paths = list(paths)
    names = {SAVED_MODEL, SAVED_MODEL_AS_TEXT}
    if not names.isdisjoint(str(path) for path in paths):
        return PurePosixPath()
    below = sorted({str(path.parent) for path in paths if path.name in names})
    if nested and len(below) == 1:
        return PurePosixPath(below[0])
    if below:
        raise NotAModel(
            f"{uri} has no {SAVED_MODEL}, but {', '.join(below[:TOLD_NAMES])} in it has one: name that folder instead."
        )
    raise NotAModel(f"{uri} is no SavedModel: there is no {SAVED_MODEL}; {_there(paths)}.{way_out(paths)}")


def frozen_graph(uri: str, paths: Iterable[PurePosixPath]) -> PurePosixPath:
    """The one file with a GraphDef.

    Raises:
        NotAModel: there is none, or several.
    """
    paths = list(paths)
    found = sorted(path for path in paths if path.suffix == ".pb")
    if [path.name for path in found] == [SAVED_MODEL]:
        raise NotAModel(f"{uri} is a SavedModel, not a frozen graph: set spec.source.format to SavedModel.")
    if len(found) > 1:
        names = ", ".join(map(str, found[:TOLD_NAMES]))
        raise NotAModel(f"{uri} holds {names}: name the one file with the frozen graph.")
    if not found:
        raise NotAModel(f"{uri} is no frozen graph: there is no file that ends in .pb; {_there(paths)}.")
    return found[0]


def way_out(paths: Iterable[PurePosixPath]) -> str:
    """How a SavedModel is made of what these files are, as a sentence with a space before it; empty where unknown."""
    names = [path.name for path in paths]
    if any(name.endswith(KERAS) for name in names):
        return (
            " A file of Keras is no SavedModel: keras.models.load_model(FILE).export(FOLDER) makes one, with the Keras "
            "that wrote the file."
        )
    if any(name == "checkpoint" or CHECKPOINT.fullmatch(name) for name in names):
        return (
            " A checkpoint has a model's values and not the model: model.export(FOLDER), or tf.saved_model.save, makes "
            "a SavedModel in the program that has it."
        )
    return ""


def _there(paths: list[PurePosixPath]) -> str:
    names = sorted({path.parts[0] for path in paths})
    return f"it holds {', '.join(names[:TOLD_NAMES])}" if names else "it is empty"
