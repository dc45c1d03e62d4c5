"""The operator on the cluster, as a user installs it: its own image, its own RBAC, by Helm."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from . import audit
from .cluster import Cluster
from .images import Image
from .layout import REPOSITORY
from .tools import kubernetes_version

NAMESPACE = audit.NAMESPACE
RELEASE = "tftrt-operator"
CHART = REPOSITORY / "charts" / "tftrt-operator"


def install_operator(cluster: Cluster, operator: Image, converter: Image, fake_gpu: Image | None = None) -> None:
    """Install or upgrade the chart, and wait until the operator is ready. `fake_gpu` is one runtime more."""
    versions = {"tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}
    on_gpu = {**versions, "accelerator": "GPU", "maxComputeCapability": "9.0"}
    played = [] if fake_gpu is None else [{"name": "fake-gpu", "image": fake_gpu.name, **on_gpu}]
    values = {
        "image": {"repository": operator.repository, "tag": operator.tag},
        "runtimes": [
            {"name": "triton", "image": converter.name, **on_gpu},
            {"name": "cpu", "image": converter.name, "tensorflow": "2.14.1", "accelerator": "None"},
            *played,
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(json.dumps(values))
        place = ("--namespace", NAMESPACE, "--create-namespace")
        cluster.helm(
            "upgrade", "--install", RELEASE, str(CHART), *place, "--values", str(file), "--wait", "--timeout", "120s"
        )


def rendered(
    cluster: Cluster, release: str, templates: Sequence[str], values: Mapping[str, Any], chart: Path = CHART
) -> list[Any]:
    """Return the objects that a release has from these templates."""
    shown = [argument for template in templates for argument in ("--show-only", f"templates/{template}.yaml")]
    place = ("--namespace", NAMESPACE, "--kube-version", kubernetes_version(), "--values", "-")
    text = cluster.helm("template", release, str(chart), *place, *shown, stdin=json.dumps(values))
    return [found for found in yaml.safe_load_all(text) if found is not None]


def account_kubeconfig(
    cluster: Cluster, release: str, folder: Path, values: Mapping[str, object], chart: Path = CHART
) -> Path:
    """Make what a release of the chart has besides its Deployment, and return its ServiceAccount's kubeconfig."""
    made = rendered(cluster, release, ("serviceaccount", "rbac"), values, chart)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    everything = {"apiVersion": "v1", "kind": "List", "items": [namespace, *made]}
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(everything))
    token = cluster.kubectl("create", "token", release, "--namespace", NAMESPACE, "--duration=24h").strip()
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    return path
