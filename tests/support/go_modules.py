"""Custom resource definitions out of Go modules: those of the programs that read what the project writes for them."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import Cluster
from tests.cluster.layout import SOURCE
from tests.cluster.prerequisites import find


def module(tool: str, path: str) -> Path:
    """The folder of a Go module, in the version that this tool's go.mod pins and with the hash that its go.sum has."""
    go = find("go") or "/usr/local/go/bin/go"
    done = subprocess.run(
        [go, "mod", "download", "-json", path],
        cwd=SOURCE / "tools" / tool,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(done.stdout)["Dir"])


@contextmanager
def defined(cluster: Cluster, files: Sequence[Path]) -> Iterator[None]:
    """The cluster has these kinds for a while."""
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_plain(file) for file in files]})
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=made)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", "-", stdin=made)
    yield
    cluster.kubectl("delete", "-f", "-", stdin=made)


def tried(cluster: Cluster, text: str) -> str:
    """What the API server says to these objects, of which it keeps nothing."""
    return cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


def _plain(file: Path) -> Any:
    """What a file has, without the lines of a template around it, as Envoy Gateway's chart has them."""
    text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("{{"))
    return next(document for document in yaml.safe_load_all(text) if document)
