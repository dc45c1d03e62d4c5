"""The cluster as tests and the demo use it."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from . import (
    certificates,
    control_plane,
    devices,
    dns,
    images,
    metrics_server,
    network,
    node,
    node_images,
    policies,
    processes,
    storage,
    sysctls,
)
from .images import Image
from .layout import Layout, NodeLayout
from .prerequisites import require_node_packages, require_root
from .tools import binaries, metrics_server_program, network_policies
from .waiting import wait_for

VOLUMES = 4
NODE_PROCESSES = ("containerd", "kubelet", "proxy")
CONTROL_PLANE_PROCESSES = ("etcd", "apiserver", "controller-manager", "scheduler")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One instance of the embedded cluster."""

    instance: int = 0

    @property
    def layout(self) -> Layout:
        """Where it lives."""
        return Layout(self.instance)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig()

    def up(
        self,
        *,
        control_plane_only: bool = False,
        nodes: int = 1,
        gpus: int = 0,
        labels: Mapping[str, str] | None = None,
        metrics: bool = False,
    ) -> None:
        """Bring the cluster up, or to what is missing of it.

        `gpus` is a capacity that no device stands behind, of each node; so are `labels`. With `metrics`
        autoscalers know what pods use. What runs beyond that goes on.

        Raises:
            Missing: the machine lacks something; the message says what.
            TimeoutError, RuntimeError: a part does not come up; the message has the end of its log.
        """
        require_root()
        if not control_plane_only:
            require_node_packages()
        programs = binaries()
        network.up(self.layout)
        certificates.make(self.layout)
        control_plane.up(self.layout, programs)
        if control_plane_only:
            return
        sysctls.remember(self.layout)
        dns.up(self.layout, programs)
        for one in self.layout.nodes:
            if one.number <= nodes:
                self._start_node(one, programs, gpus, labels or {})
            elif not processes.is_alive(one, "kubelet"):
                self._forget_node(one)
        self._apply_storage()
        self.release_volumes()
        if metrics:
            self._start_metrics()
        elif not processes.is_alive(self.layout, metrics_server.PROCESS):
            self._forget_metrics()

    def up_api_server(self) -> None:
        """Bring up etcd and the API server, and no controller: nobody but their clients changes anything."""
        require_root()
        network.up(self.layout)
        certificates.make(self.layout)
        control_plane.up_api_server(self.layout, binaries())

    @contextmanager
    def api_server(self, crds: Path) -> Iterator[Self]:
        """Have an API server that nothing was on before, with the CRDs of a folder and no controller."""
        self.down(purge=True)  # what an earlier run may have left
        try:
            self.up_api_server()
            self.install_crds(crds)
            yield self
        finally:
            self.down(purge=True)

    def down(self, *, purge: bool = False) -> None:
        """End everything, and leave nothing behind. `purge` deletes the instance's folder too."""
        require_root()
        for one in reversed(self.layout.nodes):
            policies.stop(one)
            node.down(one)
        dns.down(self.layout)
        metrics_server.down(self.layout)
        sysctls.restore(self.layout)
        control_plane.down(self.layout)
        for one in reversed(self.layout.nodes):
            network.leave(one)
        if purge:
            shutil.rmtree(self.layout.folder, ignore_errors=True)

    @contextmanager
    def second_node(self) -> Iterator[NodeLayout]:
        """Have a second node for a while; its pods end with it."""
        _, second = self.layout.nodes
        self.up(nodes=second.number)
        try:
            yield second
        finally:
            self.kubectl("cordon", second.name)
            self.kubectl("delete", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={second.name}")
            node.down(second)
            network.leave(second)
            self._forget_node(second)

    def set_gpus(
        self, one: NodeLayout, count: int, device: devices.Device | None = None, *, labelled: bool = True
    ) -> None:
        """Give a node so many GPUs, which its containers see as this device, and the labels that name it."""
        devices.put(one, device)
        self.kubectl("patch", "node", one.name, "--subresource=status", "-p", devices.capacity(count))
        found = device.labels if device is not None and labelled else {}
        changed = [f"{key}={found[key]}" if key in found else f"{key}-" for key in devices.LABELS]
        self.kubectl("label", "node", one.name, "--overwrite", *changed)

    @contextmanager
    def metrics(self) -> Iterator[None]:
        """Have metrics-server for a while."""
        self._start_metrics()
        try:
            yield
        finally:
            self._forget_metrics()
            metrics_server.down(self.layout)

    def is_running(self) -> bool:
        """Return whether the API server answers."""
        return processes.is_alive(self.layout, "apiserver") and control_plane.is_ready(self.layout)

    def processes(self) -> dict[str, bool]:
        """Return which of the cluster's processes are alive."""
        first, *others = self.layout.nodes
        places = dict.fromkeys((*CONTROL_PLANE_PROCESSES, dns.PROCESS), self.layout)
        alive = {name: processes.is_alive(place, name) for name, place in places.items()}
        alive |= {name: processes.is_alive(first, name) for name in NODE_PROCESSES}
        for one in others:
            if one.namespace_path.exists():
                alive |= {f"{name} of {one.name}": processes.is_alive(one, name) for name in NODE_PROCESSES}
        return alive

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator, and return what it prints.

        Raises:
            subprocess.CalledProcessError: it failed; stderr says why.
        """
        return self._run("kubectl", *arguments, stdin=stdin)

    def helm(self, *arguments: str, stdin: str | None = None) -> str:
        """Run Helm as the administrator, and return what it prints.

        Raises:
            subprocess.CalledProcessError: it failed; stderr says why.
        """
        return self._run("helm", *arguments, stdin=stdin)

    def install_crds(self, folder: Path) -> None:
        """Apply CRDs, and wait until the API server serves them.

        kubectl's own wait fails where it looks before there is any condition.
        """
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))

        def established() -> bool:
            # Not by a jsonpath, which fails on a CRD that has no conditions yet.
            crds = json.loads(self.kubectl("get", "crds", "-o", "json"))["items"]
            told = [(crd.get("status") or {}).get("conditions") or () for crd in crds]
            return bool(told) and all(
                ("Established", "True") in {(c["type"], c["status"]) for c in one} for one in told
            )

        wait_for("the CRDs are established", established, 60)

    def load_image(self, image: Image) -> None:
        """Have the nodes know an image, unless they do."""
        for one in self._running_nodes():
            for wanted in (image.base, image):
                if wanted is not None and not node_images.has(one, wanted.full_name):
                    self._load(one, wanted)

    def with_another_tag(self, image: Image, tag: str) -> Image:
        """Have the nodes know an image that they have by another tag, too, and return it."""
        other = replace(image, tag=tag)
        for one in self._running_nodes():
            node_images.name_anew(one, image.full_name, other.full_name)
        return other

    def load_archive(self, archive: Path) -> None:
        """Import an image archive into the nodes."""
        for one in self._running_nodes():
            node_images.load(one, archive)

    def release_volumes(self) -> None:
        """Empty the volumes that a deleted claim has left, and offer them again."""
        listed = json.loads(self.kubectl("get", "persistentvolumes", "-o", "json"))
        for volume in listed["items"]:
            if volume.get("status", {}).get("phase") == "Released":
                name = volume["metadata"]["name"]
                storage.wipe(self.layout, name)
                self.kubectl("patch", "persistentvolume", name, "--type=merge", "-p", '{"spec":{"claimRef":null}}')

    def expire_watches(self) -> None:
        """Make every watch end in 410 Gone, as it does when it was cut for too long."""
        control_plane.expire_watches(self.layout, binaries())

    @contextmanager
    def without_api_server(self) -> Iterator[None]:
        """Have the API server away for a while."""
        control_plane.stop_api_server(self.layout)
        try:
            yield
        finally:
            control_plane.start_api_server(self.layout, binaries())

    @contextmanager
    def network_policies_in_force(self) -> Iterator[None]:
        """Have NetworkPolicies in force for a while.

        Raises:
            NotInForceError: this machine's kernel cannot; the message says why.
        """
        with ExitStack() as stack:
            for one in self._running_nodes():
                stack.callback(policies.stop, one)
                policies.start(one, network_policies())
            yield

    def _start_metrics(self) -> None:
        """Have metrics-server, and wait until it knows all nodes."""
        metrics_server.up(self.layout, metrics_server_program())
        self._apply(metrics_server.manifests(self.layout))

        def known() -> bool:
            if not processes.is_alive(self.layout, metrics_server.PROCESS):
                log = processes.log_tail(self.layout, metrics_server.PROCESS)
                raise RuntimeError(f"metrics-server ended:\n{log}")
            try:
                return len(self.kubectl("top", "nodes", "--no-headers").splitlines()) == len(self._running_nodes())
            except subprocess.CalledProcessError:  # not yet
                return False

        wait_for("metrics-server has seen all nodes", known, 120)

    def _forget_metrics(self) -> None:
        # The API server would go on asking nobody, and no namespace could be deleted.
        self.kubectl("delete", "apiservice", metrics_server.API_SERVICE, "--ignore-not-found")

    def _running_nodes(self) -> list[NodeLayout]:
        return [one for one in self.layout.nodes if processes.is_alive(one, "kubelet")]

    def _start_node(self, one: NodeLayout, programs: Path, gpus: int, labels: Mapping[str, str]) -> None:
        if not one.is_first:
            network.join(one)
        node.up(one, programs, images.pause_archive())
        if labels:
            self.kubectl("label", "node", one.name, "--overwrite", *(f"{key}={value}" for key, value in labels.items()))
        if gpus:
            self.kubectl("patch", "node", one.name, "--subresource=status", "-p", devices.capacity(gpus))

    def _load(self, one: NodeLayout, image: Image) -> None:
        first = self.layout.first
        if one.is_first or not node_images.has(first, image.full_name):
            node_images.load(one, image.archive)
        else:
            node_images.copy(image.full_name, first, one)

    def _forget_node(self, one: NodeLayout) -> None:
        self.kubectl("delete", "node", one.name, "--ignore-not-found")

    def _apply_storage(self) -> None:
        self._apply(list(storage.manifests(self.layout, VOLUMES)))

    def _apply(self, manifests: list[dict[str, Any]]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(items))

    def _run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        command = [str(binaries() / program), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            error = subprocess.CalledProcessError(done.returncode, " ".join(command), done.stdout, done.stderr)
            error.add_note(done.stderr)  # its own text leaves it out
            raise error
        return done.stdout
