"""The cluster as tests and the demo use it."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import certificates, control_plane, images, network, node, policies, processes, storage
from .images import Image
from .layout import Layout
from .prerequisites import require_node_packages, require_root
from .tools import binaries, network_policies
from .waiting import wait_for

VOLUMES = 4
NODE_PROCESSES = ("containerd", "kubelet", "proxy", "coredns")
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
        gpus: int = 0,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Bring the cluster up, or to what is missing of it. `gpus` is a capacity that no device stands behind.

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
        node.up(self.layout, programs, images.pause_archive())
        self._apply_storage()
        self.release_volumes()
        if labels:
            pairs = [f"{key}={value}" for key, value in labels.items()]
            self.kubectl("label", "node", self.layout.node, "--overwrite", *pairs)
        if gpus:
            capacity = {
                "status": {"capacity": {"nvidia.com/gpu": str(gpus)}, "allocatable": {"nvidia.com/gpu": str(gpus)}}
            }
            patch = ("patch", "node", self.layout.node, "--subresource=status", "-p", json.dumps(capacity))
            self.kubectl(*patch)

    def down(self, *, purge: bool = False) -> None:
        """End everything, and leave nothing behind. `purge` deletes the instance's folder too."""
        require_root()
        policies.stop(self.layout)
        node.down(self.layout)
        control_plane.down(self.layout)
        network.down(self.layout)
        if purge:
            shutil.rmtree(self.layout.folder, ignore_errors=True)

    def is_running(self) -> bool:
        """Return whether the API server answers."""
        return processes.is_alive(self.layout, "apiserver") and control_plane.is_ready(self.layout)

    def processes(self) -> dict[str, bool]:
        """Return which of the cluster's processes are alive."""
        return {name: processes.is_alive(self.layout, name) for name in (*CONTROL_PLANE_PROCESSES, *NODE_PROCESSES)}

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
        """Have the node know an image, unless it does."""
        if not node.has_image(self.layout, image.full_name):
            node.load_image(self.layout, image.archive)

    def load_archive(self, archive: Path) -> None:
        """Import an image archive into the node."""
        node.load_image(self.layout, archive)

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
        policies.start(self.layout, network_policies())
        try:
            yield
        finally:
            policies.stop(self.layout)

    def _apply_storage(self) -> None:
        manifests = list(storage.manifests(self.layout, VOLUMES))
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
