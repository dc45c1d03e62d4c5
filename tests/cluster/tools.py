"""The cluster's programs: pinned as Go tools, built once, kept by the hash of their modules.

Each has a go.mod of its own in `tools/`, so that their dependencies do not argue. To bump one, change its version
there and run `go mod tidy`; networkpolicies and metricsserver are to have what kubernetes has, which is then compiled
already.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .layout import SOURCE, cache
from .prerequisites import find, require_go
from .progress import say

MODULES = ("etcd", "kubernetes", "coredns", "helm")
_RENAMED = {"server": "etcd"}  # what `go install` calls etcd


def binaries() -> Path:
    """Return the folder with all programs, building what is not there yet."""
    return _built(cache() / "bin" / _hash(MODULES), MODULES)


def network_policies() -> Path:
    """Return the program that puts NetworkPolicies in force. Only few tests need it: it is built apart."""
    module = "networkpolicies"
    return _built(cache() / "bin" / f"{module}-{_hash((module,))}", (module,)) / module


def metrics_server_program() -> Path:
    """Return metrics-server. Only few tests need it: it is built apart."""
    module = "metricsserver"
    return _built(cache() / "bin" / f"{module}-{_hash((module,))}", (module,)) / "metrics-server"


def promql_program() -> Path:
    """Return the program that evaluates expressions with Prometheus' engine; no cluster has it."""
    module = "promql"
    return _built(cache() / "bin" / f"{module}-{_hash((module,))}", (module,)) / module


def envoy_gateway_program() -> Path:
    """Return Envoy Gateway's control plane. Only few tests need it: it is built apart."""
    module = "gateway"
    return _built(cache() / "bin" / f"{module}-{_hash((module,))}", (module,)) / "envoy-gateway"


def kubernetes_version() -> str:
    """Return the version that the kubernetes module is pinned to, such as v1.34.4."""
    text = (SOURCE / "tools" / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^(?:require )?\s*k8s\.io/kubernetes (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError("tools/kubernetes/go.mod pins no k8s.io/kubernetes")
    return found[1]


def _built(folder: Path, modules: Iterable[str]) -> Path:
    if not (folder / ".complete").exists():
        require_go()
        folder.mkdir(parents=True, exist_ok=True)
        for module in modules:
            _build(module, folder)
        (folder / ".complete").touch()
    return folder


def _build(module: str, folder: Path) -> None:
    say(f"building {module} from its Go modules (once; minutes on a cold cache)")
    build = folder / f"build-{module}"
    environment = {**os.environ, "GOBIN": str(build), "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    go = find("go") or "/usr/local/go/bin/go"
    done = subprocess.run(
        [go, "install", f"-ldflags={_link_flags(module)}", "tool"],
        cwd=SOURCE / "tools" / module,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"building {module} failed:\n{done.stderr[-3000:]}")
    for program in build.iterdir():
        program.rename(folder / _RENAMED.get(program.name, program.name))
    shutil.rmtree(build)


def _link_flags(module: str) -> str:
    flags = "-s -w"
    if module == "kubernetes":
        version = kubernetes_version()
        major, minor = version.removeprefix("v").split(".")[:2]
        package = "k8s.io/component-base/version"
        # Clients ask for it, and without it the API server says v0.0.0-master.
        flags += f" -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    return flags


def _hash(modules: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for module in modules:
        folder = SOURCE / "tools" / module
        for path in (folder / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
