"""What a container asks for and may use.

Every container has requests and limits of CPU and memory: a namespace with a compute quota takes no pod without them,
and one without requests is the first that its node evicts.
"""

from collections.abc import Mapping
from typing import Any

from ...api.kubernetes import ResourceRequirements
from ...api.quantity import quantity_bytes

Defaults = Mapping[str, tuple[str, str]]
"""By resource, its request and its limit, where the spec says nothing of it."""

CONVERSION: Defaults = {"cpu": ("500m", "8"), "memory": ("2Gi", "16Gi")}
"""For every container of a conversion. They run one after the other, so that a pod counts as its largest."""
CLEANUP: Defaults = {"cpu": ("100m", "1"), "memory": ("128Mi", "512Mi")}
"""For the container that deletes files: no field, since what deletes a large model needs no more."""


def serving(artifact_bytes: int, shared_memory: int) -> Defaults:
    """Return the defaults of a server, which grow with the model and with what lies in its /dev/shm, both in bytes.

    A server holds the artifact while it loads it, and TensorFlow's copy of it; Triton and TensorFlow take about 1 GiB
    more on a CPU, and CUDA's libraries as much again.
    """
    least = 2**30 + 2 * artifact_bytes + shared_memory
    most = 4 * 2**30 + 4 * artifact_bytes + shared_memory
    return {"cpu": ("250m", "8"), "memory": (str(least), str(most))}


def requirements(
    asked: ResourceRequirements, defaults: Defaults, extended: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a container's resources, with extended ones (the GPU), which Kubernetes wants as limits.

    A resource of which the spec names a request or a limit is taken as it says; of another both are the defaults.
    """
    requests, limits = dict(asked.requests), {**asked.limits, **(extended or {})}
    for resource, (request, limit) in defaults.items():
        if resource not in requests and resource not in limits:
            requests[resource], limits[resource] = request, limit
    return {"requests": requests, "limits": limits}


def with_more_memory(asked: ResourceRequirements, more: int) -> ResourceRequirements:
    """Return the same with more bytes of memory in each part that names any."""

    def grown(part: Mapping[str, str]) -> dict[str, str]:
        return {name: str(quantity_bytes(value) + more) if name == "memory" else value for name, value in part.items()}

    return ResourceRequirements(requests=grown(asked.requests), limits=grown(asked.limits))
