"""NetworkPolicies in force, while a test wants them: the bridge of the node's CNI knows nothing of them.

kube-network-policies gives a verdict on the first packet of each connection. It would have nftables queue these, which
not every kernel can (it logs that); iptables can. What the node itself sends (the kubelet's probes) is not forwarded:
nobody is asked about it, as the API has it.
"""

import subprocess
from pathlib import Path

from . import processes
from .layout import Layout
from .waiting import wait_for

_PROCESS = "networkpolicies"
_QUEUE = "100"
_RULE = ("FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", _QUEUE)


class NotInForceError(Exception):
    """This machine's kernel has not what it takes; the message says what is missing."""


def start(layout: Layout, program: Path) -> None:
    """Put the cluster's NetworkPolicies in force.

    Raises:
        NotInForceError: the kernel cannot; the message says why.
    """
    bridge = _inside(layout, "cat", "/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridge.stdout.strip() != "1":
        raise NotInForceError("NetworkPolicies are not in force: iptables does not see bridged packets (br_netfilter)")
    command: list[str | Path] = [
        program,
        f"-kubeconfig={layout.kubeconfig()}",
        f"-node={layout.node}",
        f"-queue={_QUEUE}",
    ]
    processes.start(layout, _PROCESS, command)

    def listens() -> bool:
        if not processes.is_alive(layout, _PROCESS):
            raise NotInForceError(f"NetworkPolicies are not in force:\n{processes.log_tail(layout, _PROCESS)}")
        queues = _inside(layout, "cat", "/proc/self/net/netfilter/nfnetlink_queue").stdout.splitlines()
        return any(queue.split()[0] == _QUEUE for queue in queues)

    try:
        wait_for("the verdicts' queue is read", listens, 30)
    except TimeoutError as error:
        stop(layout)
        raise NotInForceError(f"NetworkPolicies are not in force: {error}") from error
    if _iptables(layout, "-C").returncode != 0 and (made := _iptables(layout, "-A")).returncode != 0:
        stop(layout)
        raise NotInForceError(f"NetworkPolicies are not in force: {made.stderr.strip()}")


def stop(layout: Layout) -> None:
    """Let everything pass again."""
    if layout.namespace_path.exists():
        _iptables(layout, "-D")
    processes.stop(layout, _PROCESS)


def _iptables(layout: Layout, action: str) -> subprocess.CompletedProcess[str]:
    return _inside(layout, "iptables", "-w", "-t", "mangle", action, *_RULE)


def _inside(layout: Layout, *command: str) -> subprocess.CompletedProcess[str]:
    entering = ["nsenter", f"--net={layout.namespace_path}", *command]
    return subprocess.run(entering, capture_output=True, text=True, check=False)
