"""`tftrt fetch`: bring the source and the data into the workspace, and digest them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tftrt_runtime import log
from tftrt_runtime.contract.errors import DigestMismatch, NotAModel, StoreUnavailable
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.fetching import archives, contents, models
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.fetching.tree import Entry, Tree, expect_unchanged
from tftrt_runtime.fetching.trees import open_tree
from tftrt_runtime.steps.workspace import Fetched, Workspace
from tftrt_runtime.storage import digest
from tftrt_runtime.storage.digest import FileDigest
from tftrt_runtime.storage.secret import Role

FILES_AT_A_TIME = 4

Open = Callable[[str, Role], Tree]
"""From a URI, and whose credentials to read it with."""


def run(spec: JobSpec, workspace: Workspace, opened: Open = open_tree) -> Fetched:
    """Copy everything that the conversion reads, and write `fetch.json`; `opened` knows which places may be read.

    Raises:
        SourceNotFound, SecretUnfit, NotAModel, SourceTooLarge: the user's to fix.
        DigestMismatch: the source is not the one that is pinned.
        SourceUnavailable: a server is not reached, or breaks off.
        StoreUnavailable: the workspace cannot be written.
    """
    source_tree = opened(spec.source.uri, "source")
    try:
        workspace.fetched.unlink(missing_ok=True)  # first: it says that the rest is whole
        for left in (workspace.source, workspace.calibration, workspace.verification):
            shutil.rmtree(left, ignore_errors=True)
        workspace.root.mkdir(parents=True, exist_ok=True)
        budget = Budget(workspace.root)
        source = _source(source_tree, spec.source.format == "FrozenGraph", workspace, budget)
        if spec.source.digest is not None and digest.of_tree(source) != spec.source.digest:
            raise DigestMismatch(
                f"{source_tree.uri} has the digest {digest.of_tree(source)}, and spec.source.digest pins "
                f"{spec.source.digest}: correct the one or the other."
            )
        calibration, verification = spec.conversion.calibration, spec.verification.uri
        ranges = _data(opened(calibration.uri, "calibration"), workspace.calibration, budget) if calibration else None
        samples = _data(opened(verification, "verification"), workspace.verification, budget) if verification else None
        everything = [*source, *(ranges or ()), *(samples or ())]
        fetched = Fetched(
            sourceDigest=digest.of_tree(source),
            calibrationDigest=None if ranges is None else digest.of_tree(ranges),
            verificationDigest=None if samples is None else digest.of_tree(samples),
            bytes=sum(file.size for file in everything),
            files=len(everything),
        )
        workspace.fetched.write_text(fetched.model_dump_json())
    except OSError as error:
        raise StoreUnavailable(f"What was fetched could not be written to {workspace.root}: {error}.") from error
    log.event("fetch", "Digested what was fetched", **fetched.model_dump())
    return fetched


def source(uri: str, workspace: Workspace, opened: Open) -> str:
    """Copy a model alone, a frozen graph where it is a file whose name ends in `.pb`; its digest.

    Raises:
        Failure: as `run` has it.
    """
    tree = opened(uri, "source")
    frozen = (
        tree.single and tree.entries[0].path.suffix == ".pb" and tree.entries[0].path.name not in models.SAVED_MODELS
    )
    with log.timed("fetch", "Fetched", uri=tree.uri):
        return digest.of_tree(_source(tree, frozen, workspace, Budget(workspace.root)))


def _source(tree: Tree, frozen: bool, workspace: Workspace, budget: Budget) -> list[FileDigest]:
    if tree.single:
        return _file(tree, frozen, workspace, budget)
    paths = [entry.path for entry in tree.entries]
    if frozen:
        return _graph(tree, models.frozen_graph(tree.uri, paths), workspace, budget)
    models.saved_model_folder(tree.uri, paths)
    return _copy(tree, [(entry, entry.path) for entry in tree.entries], workspace.source, budget)


def _file(tree: Tree, frozen: bool, workspace: Workspace, budget: Budget) -> list[FileDigest]:
    """Copy a frozen graph, or what is in an archive; where the name of the file does not tell, its content does."""
    (entry,) = tree.entries
    name = entry.path.name
    if frozen and entry.path.suffix == ".pb":
        return _graph(tree, models.frozen_graph(tree.uri, [entry.path]), workspace, budget)
    models.expect_no_other_kind(tree.uri, name)
    with tempfile.TemporaryDirectory(prefix="file-", dir=workspace.root) as place:
        _copy(tree, [(entry, entry.path)], Path(place), budget)
        file = Path(place, name)
        with file.open("rb") as reader:
            head = reader.read(archives.HEAD_BYTES)
        contents.expect_a_model(tree.uri, name, head)
        if archives.is_archive(name, head):
            return _unpacked(tree, frozen, file, workspace, budget)
        if not frozen:
            raise NotAModel(
                f"{tree.uri} is a file; a SavedModel is a folder with a {models.SAVED_MODELS[0]} in it, or an archive "
                f"of one ({', '.join(archives.SUFFIXES)}). For a frozen graph set spec.source.format to FrozenGraph, "
                "spec.source.inputs and spec.source.outputs."
            )
        _move(file, workspace.source / models.GRAPH)
    return _digests(workspace.source)


def _graph(tree: Tree, path: PurePosixPath, workspace: Workspace, budget: Budget) -> list[FileDigest]:
    (entry,) = [entry for entry in tree.entries if entry.path == path]
    return _copy(tree, [(entry, PurePosixPath(models.GRAPH))], workspace.source, budget)


def _data(tree: Tree, target: Path, budget: Budget) -> list[FileDigest]:
    """Copy data as it is: a folder's files, or a file under its own name."""
    return _copy(tree, [(entry, entry.path) for entry in tree.entries], target, budget)


def _copy(tree: Tree, entries: list[tuple[Entry, PurePosixPath]], target: Path, budget: Budget) -> list[FileDigest]:
    """Copy the entries to their places below `target`, all of one version.

    Raises:
        SourceUnavailable: somebody wrote to the tree meanwhile.
    """
    budget.expect(tree.uri, sum(entry.size or 0 for entry, _ in entries))

    def one(item: tuple[Entry, PurePosixPath]) -> FileDigest:
        entry, path = item
        copied = tree.copy(entry, target / path, budget)
        return copied.model_copy(update={"path": str(path)})

    with log.timed("fetch", "Copied", uri=tree.uri, files=len(entries)), ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
        copied = list(threads.map(one, entries))
    expect_unchanged(tree, [entry for entry, _ in entries])
    return copied


def _unpacked(tree: Tree, frozen: bool, archive: Path, workspace: Workspace, budget: Budget) -> list[FileDigest]:
    """Unpack the model in an archive, beside which there is room on the workspace's disk for a while."""
    folder = archive.with_name(f"{archive.name}.files")
    folder.mkdir()
    with log.timed("fetch", "Unpacked", uri=tree.uri):
        archives.unpack(archive, tree.uri, folder, budget)
    paths = [PurePosixPath(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    if frozen:
        _move(folder / models.frozen_graph(tree.uri, paths), workspace.source / models.GRAPH)
    else:
        _move(folder / models.saved_model_in_archive(tree.uri, paths), workspace.source)
    return _digests(workspace.source)


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def _digests(folder: Path) -> list[FileDigest]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [digest.of_file(path, path.relative_to(folder).as_posix()) for path in files]
