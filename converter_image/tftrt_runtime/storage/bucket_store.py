"""Artifacts in an object store.

A key appears whole or not at all, so that a build is uploaded straight to its place, under a name that no other attempt
has; `manifest.json` comes last, by a request that the store refuses where there is one (If-None-Match: * on S3 and
Azure, generation 0 on Google Cloud Storage).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import BUILDS, MANIFEST, File, Manifest, expect_identity, parse_manifest
from tftrt_runtime.contract.errors import StoreUnavailable
from tftrt_runtime.storage import credentials, digest, files, secret
from tftrt_runtime.storage.download import download
from tftrt_runtime.storage.remote import Forbidden, NotThere, Remote, Unavailable, open_remote, scheme_of, told
from tftrt_runtime.storage.store import MakeManifest

FILES_AT_A_TIME = 8
ATTEMPTS = 5
_ROLE: secret.Role = "artifacts"

Answer = TypeVar("Answer")


class BucketStore:
    """The artifacts of one fingerprint: `<uri>/<product>/`, where the URI ends in the fingerprint."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._remote: Remote = self._write(lambda: open_remote(uri, _ROLE))

    def uri(self, product: str) -> str:
        """The URI of a product's artifact."""
        return f"{self._uri}/{product}"

    def manifests(self) -> dict[str, bytes]:
        """The text of every manifest that there is, by product."""
        found = {}
        for path in self._find(self._remote.path):
            product, _, name = path.removeprefix(f"{self._remote.path}/").partition("/")
            if name == MANIFEST:
                found[product] = self._read(path) or b""
        return found

    def manifest(self, product: str) -> Manifest | None:
        """A product's manifest, or None."""
        text = self._read(self._remote.child(f"{product}/{MANIFEST}"))
        if text is None:
            return None
        place = f"{self.uri(product)}/{MANIFEST}"
        return expect_identity(parse_manifest(text, place), self._uri.rpartition("/")[2], product, place)

    def publish(self, artifact: Path, build: str, product: str, make_manifest: MakeManifest) -> None:
        """Upload the build under a name of this attempt's own, and then the manifest, exclusively."""
        builds = self._remote.child(f"{product}/{BUILDS}")
        folder = f"{build}.{secrets.token_hex(4)}"
        try:
            uploaded = self._upload(artifact, f"{builds}/{folder}")
            text = make_manifest(folder, uploaded).model_dump_json(indent=1).encode()
            won = self._create(self._remote.child(f"{product}/{MANIFEST}"), text)
        except BaseException:
            # The request may have been heard and only its answer lost.
            if not self._is_named(product, folder):
                self._clear(f"{builds}/{folder}/")
            raise
        if not won:
            log.event("publish", "Another writer was first", folder=self.uri(product))
            self._clear(f"{builds}/{folder}/")

    def clear(self, build: str, product: str, manifest: Manifest) -> None:
        """Delete other attempts' files.

        Not before there is a manifest: one whose node was lost may still be writing, and could until then name its
        files in the manifest, some of them cleared away.
        """
        builds = self._remote.child(f"{product}/{BUILDS}")
        self._clear(f"{builds}/{build}.", but=f"{builds}/{manifest.build}/")

    def bring(self, product: str, manifest: Manifest, target: Path) -> None:
        """Download the artifact."""
        build = f"{product}/{BUILDS}/{manifest.build}"

        def one(file: File) -> None:
            place = self._remote.child(f"{build}/{file.path}")
            path = target / BUILDS / manifest.build / file.path
            self._write(lambda: download(self._remote, place, file.size, path, file.path, lambda _size: None))

        with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
            list(threads.map(one, manifest.files))
        (target / MANIFEST).write_text(manifest.model_dump_json(indent=1))

    def delete(self) -> None:
        """Delete all of it, the manifests first: what is left of it is never taken for whole."""
        paths = self._find(self._remote.path)
        if not paths:
            log.event("delete", "There is nothing to delete", folder=self._uri)
            return
        self._remove([path for path in paths if path.endswith(f"/{MANIFEST}")])
        self._remove([path for path in paths if not path.endswith(f"/{MANIFEST}")])
        log.event("delete", "Deleted", folder=self._uri)

    def _upload(self, artifact: Path, place: str) -> tuple[File, ...]:
        def one(path: Path) -> File:
            relative = path.relative_to(artifact).as_posix()
            self._write(lambda: self._remote.filesystem.put_file(str(path), f"{place}/{relative}"))
            return File(**digest.of_file(path, relative).model_dump())

        paths = [path for path in files.below(artifact) if path.is_file()]
        with ThreadPoolExecutor(FILES_AT_A_TIME) as threads:
            return tuple(threads.map(one, paths))

    def _create(self, path: str, text: bytes) -> bool:
        """Create a key; False where it exists. A repeated request may meet what the first one made: the caller sees."""
        try:
            self._write(lambda: self._remote.filesystem.pipe_file(path, text, mode="create"))
        except FileExistsError:
            return self._read(path) == text
        return True

    def _is_named(self, product: str, folder: str) -> bool:
        try:
            found = self.manifest(product)
        except Exception:
            return True  # not known: what may be an artifact is left alone
        return found is not None and found.build == folder

    def _clear(self, prefix: str, but: str | None = None) -> None:
        folder = prefix.rpartition("/")[0]
        found = [path for path in self._find(folder) if path.startswith(prefix)]
        self._remove([path for path in found if but is None or not path.startswith(but)])

    def _remove(self, paths: list[str]) -> None:
        if paths:
            self._write(lambda: self._remote.filesystem.rm(paths))

    def _find(self, place: str) -> list[str]:
        try:
            return sorted(self._do(lambda: self._remote.filesystem.find(place)))
        except NotThere:
            return []

    def _read(self, path: str) -> bytes | None:
        try:
            files.expect_note(int(self._do(lambda: self._remote.filesystem.info(path))["size"] or 0), path)
            return bytes(self._do(lambda: self._remote.filesystem.cat_file(path)))
        except NotThere:
            return None

    def _write(self, request: Callable[[], Answer]) -> Answer:
        """Make a request of a bucket that must be there."""
        try:
            return self._do(request)
        except NotThere as error:
            raise StoreUnavailable(
                f"The store {self._uri} has no such bucket, or not what was in it: {error}."
            ) from error

    def _do(self, request: Callable[[], Answer]) -> Answer:
        """Make a request, again where it may succeed then.

        Raises:
            NotThere: no such key, or no such bucket.
            StoreUnavailable: it did not succeed for another reason.
            FileExistsError: an exclusive creation found the key.
        """
        waits = wait_exponential(multiplier=0.2, max=5)
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(Unavailable), stop=stop_after_attempt(ATTEMPTS), wait=waits, reraise=True
            ):
                with attempt, told():
                    return request()
        except Forbidden as error:
            asked = credentials.whose(secret.read(_ROLE, scheme_of(self._uri)), _ROLE, self._uri)
            raise StoreUnavailable(f"The store {self._uri} refuses: {error}. {asked}") from error
        except Unavailable as error:
            raise StoreUnavailable(f"The store {self._uri} cannot be reached: {error}.") from error
        raise AssertionError("the last attempt raises")
