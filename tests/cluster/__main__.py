"""`python -m tests.cluster`: the embedded cluster from the command line."""

import argparse
import subprocess
import sys
from pathlib import Path

from . import Cluster, Missing, converter_image, operator_image
from .layout import MOST_NODES
from .progress import say
from .tools import binaries, promql_program


def main() -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args()
    cluster = Cluster(arguments.instance)
    try:
        return _run(cluster, arguments)
    except Missing as missing:
        print(f"tests.cluster: {missing}", file=sys.stderr)
        return 2
    except (RuntimeError, TimeoutError) as fault:
        print(f"tests.cluster: {fault}", file=sys.stderr)
        return 1


def _run(cluster: Cluster, arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            labels = dict(label.split("=", 1) for label in arguments.label)
            only = arguments.control_plane_only
            amounts = {"nodes": arguments.nodes, "gpus": arguments.gpus}
            cluster.up(control_plane_only=only, labels=labels, metrics=arguments.metrics, **amounts)
            say(f"up; export KUBECONFIG={cluster.kubeconfig}")
        case "down":
            cluster.down(purge=arguments.purge)
            say("down")
        case "status":
            alive = cluster.processes()
            for name, runs in alive.items():
                print(f"{name:20} {'running' if runs else 'not running'}")
            return 0 if cluster.is_running() else 1
        case "kubeconfig":
            print(cluster.kubeconfig)
        case "load-image":
            cluster.load_archive(arguments.archive)
        case "build":
            print(binaries())
            print(promql_program())
            for image in (operator_image(), converter_image()):
                print(image.name)
        case "kubectl":
            try:
                print(cluster.kubectl(*arguments.arguments), end="")
            except subprocess.CalledProcessError as error:
                print(error.stderr, end="", file=sys.stderr)
                return int(error.returncode)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A real Kubernetes on one machine.")
    parser.add_argument("--instance", type=int, choices=range(10), default=0, help="which of them (default: 0)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run")
    up.add_argument("--control-plane-only", action="store_true", help="without a node: enough for integration tests")
    up.add_argument("--nodes", type=int, choices=range(1, MOST_NODES + 1), default=1, help="how many (default: 1)")
    up.add_argument("--gpus", type=int, default=0, help="a capacity of nvidia.com/gpu that no device stands behind")
    up.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the nodes")
    up.add_argument("--metrics", action="store_true", help="with metrics-server, for autoscalers and kubectl top")
    down = commands.add_parser("down", help="end everything and leave nothing behind")
    down.add_argument("--purge", action="store_true", help="delete the instance's folder too")
    commands.add_parser("status", help="say what runs; exit code 0 if the API server answers")
    commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig")
    load = commands.add_parser("load-image", help="import an image archive into the nodes")
    load.add_argument("archive", type=Path)
    commands.add_parser("build", help="build what the cache lacks: programs, the operator's and the converter's image")
    kubectl = commands.add_parser("kubectl", help="run kubectl as the administrator")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
