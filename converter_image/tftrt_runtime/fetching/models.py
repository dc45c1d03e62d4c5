"""What must be in a model's tree, told from its files' names alone: before they are copied, where that can be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from tftrt_runtime.contract.errors import NotAModel

SAVED_MODEL = "saved_model.pb"
GRAPH = "graph.pb"
TOLD_NAMES = 5


def saved_model_folder(uri: str, paths: Iterable[PurePosixPath], *, nested: bool) -> PurePosixPath:
    """The folder with `saved_model.pb`: the tree itself, or, in an archive (`nested`), its only folder.

    Raises:
        NotAModel: there is none; what is there instead is told.
    """
    paths = list(paths)
    if PurePosixPath(SAVED_MODEL) in paths:
        return PurePosixPath()
    below = sorted(str(path.parent) for path in paths if path.name == SAVED_MODEL)
    if nested and len(below) == 1:
        return PurePosixPath(below[0])
    if below:
        raise NotAModel(
            f"{uri} has no {SAVED_MODEL}, but {', '.join(below[:TOLD_NAMES])} in it has one: name that folder instead."
        )
    raise NotAModel(f"{uri} is no SavedModel: there is no {SAVED_MODEL}; {_there(paths)}.")


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


def _there(paths: list[PurePosixPath]) -> str:
    names = sorted({path.parts[0] for path in paths})
    return f"it holds {', '.join(names[:TOLD_NAMES])}" if names else "it is empty"
