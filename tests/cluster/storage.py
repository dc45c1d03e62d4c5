"""A static StorageClass `local`: a handful of volumes, each a folder of this machine.

All nodes are this machine, and each has every volume, as where nodes mount a shared file system at the same place.
"""

import shutil
from collections.abc import Iterator
from typing import Any

from .layout import Layout

STORAGE_CLASS = "local"


def manifests(layout: Layout, volumes: int) -> Iterator[dict[str, Any]]:
    """Yield the StorageClass and its volumes, whose folders are made here."""
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }
    names = [node.name for node in layout.nodes]
    for number in range(volumes):
        name = f"local-{number}"
        folder = layout.folder / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "50Gi"},
                "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": STORAGE_CLASS,
                "local": {"path": str(folder)},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": names}]}
                        ]
                    }
                },
            },
        }


def wipe(layout: Layout, volume: str) -> None:
    """Empty a volume, so that its next claim finds nothing of the last."""
    folder = layout.folder / "volumes" / volume
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
