"""What a file is that was fetched as a model and is none, told from how it begins."""

from __future__ import annotations

from tftrt_runtime.contract.errors import NotAModel
from tftrt_runtime.fetching import models

_HDF5 = b"\x89HDF\r\n\x1a\n"
_PAGES = (b"<!doctype html", b"<html")


def expect_a_model(uri: str, name: str, head: bytes) -> None:
    """Hold that a file is neither a web page nor of another kind of model.

    Raises:
        NotAModel: it is; the way out is told.
    """
    if head.lstrip().lower().startswith(_PAGES):
        raise NotAModel(
            f"{uri} is a web page, and no file of a model: name the address from which the archive is downloaded. A "
            "hub's is not that of its page: https://tfhub.dev/...?tf-hub-format=compressed, "
            "https://www.kaggle.com/api/v1/models/.../download."
        )
    if head.startswith(_HDF5):
        raise models.keras_file(uri, name)
