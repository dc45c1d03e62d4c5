"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from . import audit, processes
from .layout import Layout
from .progress import say
from .waiting import wait_for

ETCD = "http://127.0.0.1:2379"  # inside the instance's network namespace
ETCD_QUOTA_BYTES = 8 << 30
"""For what ten thousand models leave until etcd is compacted; its own 2 GiB are full before that."""


def up(layout: Layout, binaries: Path) -> None:
    """Start what does not run, and wait until it answers."""
    up_api_server(layout, binaries)
    _start_controllers(layout, binaries)
    wait_for(
        "the controller-manager makes the default ServiceAccount",
        lambda: _get(layout, "/api/v1/namespaces/default/serviceaccounts/default") is not None,
        60,
    )
    say("control plane ready")


def up_api_server(layout: Layout, binaries: Path) -> None:
    """Start etcd and the API server, unless they run, and wait until they answer."""
    _start_etcd(layout, binaries)
    _start_api_server(layout, binaries)


def down(layout: Layout) -> None:
    """End it all, etcd last."""
    for name in ("scheduler", "controller-manager", "apiserver", "etcd"):
        processes.stop(layout, name, seconds=5)


def expire_watches(layout: Layout, binaries: Path) -> None:
    """Make every watch that is open, or goes on at an old resource version, end in 410 Gone.

    etcd forgets its past, and the API server starts anew with a cache that begins now.
    """
    head = _etcd(layout, "range", {"key": base64.b64encode(b"/").decode()})["header"]["revision"]
    processes.stop(layout, "apiserver", seconds=1)  # with watches open it would take its time
    _etcd(layout, "compaction", {"revision": head, "physical": True})
    _start_api_server(layout, binaries)


def stop_api_server(layout: Layout) -> None:
    """End the API server, and only it: whoever wants something of it is refused the connection."""
    processes.stop(layout, "apiserver", seconds=1)


def start_api_server(layout: Layout, binaries: Path) -> None:
    """Start it again, and wait until it answers."""
    _start_api_server(layout, binaries)


def is_ready(layout: Layout) -> bool:
    """Return whether the API server answers that it is ready."""
    return layout.certificate("ca.crt").exists() and _get(layout, "/readyz") == b"ok"


def _start_etcd(layout: Layout, binaries: Path) -> None:
    peers = "http://127.0.0.1:2380"
    command = [str(binaries / "etcd"), "--name=etcd", f"--data-dir={layout.folder / 'etcd'}", "--log-level=warn"]
    command += ["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]
    command += [
        "--listen-peer-urls",
        peers,
        "--initial-advertise-peer-urls",
        peers,
        "--initial-cluster",
        f"etcd={peers}",
    ]
    command += [f"--quota-backend-bytes={ETCD_QUOTA_BYTES}"]
    command += ["--unsafe-no-fsync"]  # a test cluster may lose its past in a power cut
    processes.start(layout, "etcd", command)


def _start_api_server(layout: Layout, binaries: Path) -> None:
    def file(name: str) -> Path:
        return layout.certificate(name)

    flags = {
        "etcd-servers": ETCD,
        "bind-address": layout.control_plane_address,
        "advertise-address": layout.control_plane_address,
        "secure-port": 6443,
        "authorization-mode": "Node,RBAC",
        # The second as OpenShift has it: who changes an object's owners must have leave to delete it.
        "enable-admission-plugins": "NodeRestriction,OwnerReferencesPermissionEnforcement",
        "audit-policy-file": layout.audit_policy,
        "audit-log-path": layout.audit_log,
        "service-cluster-ip-range": layout.services,
        "allow-privileged": "true",
        "client-ca-file": file("ca.crt"),
        "tls-cert-file": file("apiserver.crt"),
        "tls-private-key-file": file("apiserver.key"),
        "kubelet-client-certificate": file("kubelet-client.crt"),
        "kubelet-client-key": file("kubelet-client.key"),
        "kubelet-certificate-authority": file("ca.crt"),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": file("service-accounts.pub"),
        "service-account-signing-key-file": file("service-accounts.key"),
        "requestheader-client-ca-file": file("ca.crt"),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": file("front-proxy.crt"),
        "proxy-client-key-file": file("front-proxy.key"),
    }
    audit.write_policy(layout)
    processes.start(layout, "apiserver", [binaries / "kube-apiserver", *_flags(flags)])

    def ready() -> bool:
        if not processes.is_alive(layout, "apiserver"):
            raise RuntimeError(f"kube-apiserver ended:\n{processes.log_tail(layout, 'apiserver')}")
        return is_ready(layout)

    wait_for("kube-apiserver is ready", ready, 90)


def _start_controllers(layout: Layout, binaries: Path) -> None:
    """After the API server: the controller-manager exits where it finds no RBAC roles yet."""

    def access(user: str) -> dict[str, object]:
        kubeconfig = layout.kubeconfig(user)
        return {
            "kubeconfig": kubeconfig,
            "authentication-kubeconfig": kubeconfig,
            "authorization-kubeconfig": kubeconfig,
            "bind-address": "127.0.0.1",
            "leader-elect": "false",
        }

    flags = access("controller-manager") | {
        "use-service-account-credentials": "true",
        "service-account-private-key-file": layout.certificate("service-accounts.key"),
        "root-ca-file": layout.certificate("ca.crt"),
        "cluster-signing-cert-file": layout.certificate("ca.crt"),
        "cluster-signing-key-file": layout.certificate("ca.key"),
        "allocate-node-cidrs": "false",
        "cluster-cidr": layout.pods,
        "service-cluster-ip-range": layout.services,
        "horizontal-pod-autoscaler-sync-period": "2s",  # tests wait for what an autoscaler says of itself
    }
    processes.start(layout, "controller-manager", [binaries / "kube-controller-manager", *_flags(flags)])
    processes.start(layout, "scheduler", [binaries / "kube-scheduler", *_flags(access("scheduler"))])


def _flags(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _get(layout: Layout, path: str) -> bytes | None:
    context = ssl.create_default_context(cafile=str(layout.certificate("ca.crt")))
    context.load_cert_chain(layout.certificate("admin.crt"), layout.certificate("admin.key"))
    try:
        with urllib.request.urlopen(layout.api_server + path, context=context, timeout=5) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return None


def _etcd(layout: Layout, call: str, body: dict[str, object]) -> dict[str, dict[str, str]]:
    """Call etcd's JSON gateway, which listens inside the namespace only."""
    code = (
        "import sys, urllib.request as r;"
        f"print(r.urlopen(r.Request('{ETCD}/v3/kv/{call}', data=sys.stdin.buffer.read()), timeout=30).read().decode())"
    )
    done = subprocess.run(
        ["nsenter", f"--net={layout.namespace_path}", "python3", "-c", code],
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, dict[str, str]] = json.loads(done.stdout)
    return answer
