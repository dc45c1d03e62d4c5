"""The operator on the cluster, as a user installs it: its own image, its own RBAC, by Helm."""

import json
import tempfile
from pathlib import Path

from .cluster import Cluster
from .images import Image
from .layout import REPOSITORY

NAMESPACE = "tftrt-system"
RELEASE = "tftrt-operator"


def install_operator(cluster: Cluster, operator: Image, converter: Image) -> None:
    """Install or upgrade the chart, and wait until the operator is ready."""
    values = {
        "image": {"repository": operator.repository, "tag": operator.tag},
        "runtimes": [
            {
                "name": "triton",
                "image": converter.name,
                "tensorflow": "2.14.1",
                "tensorrt": "8.5.3.1",
                "accelerator": "GPU",
            },
            {"name": "cpu", "image": converter.name, "tensorflow": "2.14.1", "accelerator": "None"},
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(json.dumps(values))
        chart = str(REPOSITORY / "charts" / "tftrt-operator")
        place = ("--namespace", NAMESPACE, "--create-namespace")
        cluster.helm(
            "upgrade", "--install", RELEASE, chart, *place, "--values", str(file), "--wait", "--timeout", "120s"
        )
