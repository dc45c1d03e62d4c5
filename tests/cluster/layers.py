"""An image that is another one and a layer on it, as an archive of that layer alone.

Nothing is built, and the layers below are neither read nor written again: a node that imports this has them.
(https://github.com/opencontainers/image-spec, `image-layout.md`, `manifest.md` and `config.md`)
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_TYPE = "application/vnd.oci.image"


def write(archive: Path, name: str, base: Path, overlay: Path, place: str) -> None:
    """Write the archive of an image: `base`, which is an archive of Docker's form, with a folder's files at `place`."""
    layer = _tar({f"{place}/{path.relative_to(overlay)}": path.read_bytes() for path in _files(overlay)})
    config, below = _read(base)
    config["rootfs"]["diff_ids"].append(_digest(layer))
    config["history"].append({"created_by": f"files at /{place}"})
    described = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.manifest.v1+json",
        "config": _descriptor("config.v1+json", described),
        "layers": [*below, _descriptor("layer.v1.tar", layer)],
    }
    part = archive.with_suffix(".part")
    part.write_bytes(layout(name, json.dumps(manifest).encode(), described, layer))
    part.rename(archive)


def layout(name: str, manifest: bytes, config: bytes, *blobs: bytes) -> bytes:
    """Return an archive of an image with this manifest and this configuration, and of its layers these alone."""
    named = {
        "mediaType": json.loads(manifest)["mediaType"],
        "digest": _digest(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    index = {"schemaVersion": 2, "mediaType": f"{_TYPE}.index.v1+json", "manifests": [named]}
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
    contents = {f"blobs/sha256/{_digest(blob).partition(':')[2]}": blob for blob in (manifest, config, *blobs)}
    return _tar(files | contents)


def _read(base: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return an image's configuration, and its layers' descriptors: an archive of Docker's form has them unpacked."""
    with tarfile.open(base) as opened:

        def content(name: str) -> bytes:
            found = opened.extractfile(name)
            assert found is not None
            return found.read()

        (image,) = json.loads(content("manifest.json"))
        config: dict[str, Any] = json.loads(content(image["Config"]))
        sizes = [opened.getmember(name).size for name in image["Layers"]]
    below = [
        {"mediaType": f"{_TYPE}.layer.v1.tar", "digest": digest, "size": size}
        for digest, size in zip(config["rootfs"]["diff_ids"], sizes, strict=True)
    ]
    return config, below


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _tar(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            made.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _descriptor(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": f"{_TYPE}.{kind}", "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
