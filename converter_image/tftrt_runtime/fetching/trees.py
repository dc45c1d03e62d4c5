"""What opens a URI: a claim, a bucket, a web server, and on a person's own machine a path."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime.contract.errors import SourceNotFound
from tftrt_runtime.fetching.claim_tree import claim_tree, local_tree, what_is_there
from tftrt_runtime.fetching.remote_tree import bucket_tree, failure, web_tree
from tftrt_runtime.fetching.tree import Tree
from tftrt_runtime.storage.remote import WEB, Forbidden, NotThere, Unavailable, open_remote, scheme_of
from tftrt_runtime.storage.secret import Role


def open_tree(uri: str, role: Role) -> Tree:
    """The tree behind a URI.

    Raises:
        SourceNotFound: nothing is there, or nothing that may be read with the credentials at hand.
        NotAModel: links lead out of it.
        SourceUnavailable: the server cannot be reached.
    """
    if scheme_of(uri) == "pvc":
        return claim_tree(uri)
    try:
        remote = open_remote(uri, role)
        return web_tree(remote, role) if scheme_of(uri) in WEB else bucket_tree(remote, role)
    except (NotThere, Forbidden, Unavailable) as error:
        raise failure(error, uri, role) from error


def open_here(uri: str, role: Role) -> Tree:
    """The same for a person's own machine, where an absolute path is a place, too."""
    if not uri.startswith("/"):
        return open_tree(uri, role)
    if not Path(uri).exists():
        raise SourceNotFound(f"{uri} was not found{what_is_there(Path(uri))}.")
    return local_tree(uri, Path(uri), Path(uri).resolve())
