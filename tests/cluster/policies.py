"""NetworkPolicies in force, while a test wants them: the bridge of a node's CNI knows nothing of them.

kube-network-policies gives a verdict on the first packet of each connection. It would have nftables queue these, which
not every kernel can (it logs that); iptables can. What the node itself sends (the kubelet's probes) is not forwarded:
nobody is asked about it, as the API has it.
"""

import subprocess
from pathlib import Path

from . import processes
from .layout import NodeLayout
from .waiting import wait_for

_PROCESS = "networkpolicies"
_QUEUE = "100"
_RULE = ("FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", _QUEUE)


class NotInForceError(Exception):
    """This machine's kernel has not what it takes; the message says what is missing."""


def start(node: NodeLayout, program: Path) -> None:
    """Put the cluster's NetworkPolicies in force on a node.

    Raises:
        NotInForceError: the kernel cannot; the message says why.
    """
    bridge = _inside(node, "cat", "/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridge.stdout.strip() != "1":
        raise NotInForceError("NetworkPolicies are not in force: iptables does not see bridged packets (br_netfilter)")
    command: list[str | Path] = [
        program,
        f"-kubeconfig={node.cluster.kubeconfig()}",
        f"-node={node.name}",
        f"-queue={_QUEUE}",
    ]
    processes.start(node, _PROCESS, command)

    def listens() -> bool:
        if not processes.is_alive(node, _PROCESS):
            raise NotInForceError(f"NetworkPolicies are not in force:\n{processes.log_tail(node, _PROCESS)}")
        queues = _inside(node, "cat", "/proc/self/net/netfilter/nfnetlink_queue").stdout.splitlines()
        return any(queue.split()[0] == _QUEUE for queue in queues)

    try:
        wait_for("the verdicts' queue is read", listens, 30)
    except TimeoutError as error:
        stop(node)
        raise NotInForceError(f"NetworkPolicies are not in force: {error}") from error
    if _iptables(node, "-C").returncode != 0 and (made := _iptables(node, "-A")).returncode != 0:
        stop(node)
        raise NotInForceError(f"NetworkPolicies are not in force: {made.stderr.strip()}")


def stop(node: NodeLayout) -> None:
    """Let everything pass the node again."""
    if node.namespace_path.exists():
        _iptables(node, "-D")
    processes.stop(node, _PROCESS)


def _iptables(node: NodeLayout, action: str) -> subprocess.CompletedProcess[str]:
    return _inside(node, "iptables", "-w", "-t", "mangle", action, *_RULE)


def _inside(node: NodeLayout, *command: str) -> subprocess.CompletedProcess[str]:
    entering = ["nsenter", f"--net={node.namespace_path}", *command]
    return subprocess.run(entering, capture_output=True, text=True, check=False)
