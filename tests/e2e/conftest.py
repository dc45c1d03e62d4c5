"""A whole cluster with the operator in it, installed as a user would: its own image, its own RBAC, by Helm."""

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import Cluster, converter_image, fake_gpu_image, operator_image
from tests.cluster.deploy import install_operator
from tests.support.api import Api

INSTANCE = 2
# With a quota on them, every container has to say how much it asks for and may use.
COMPUTE = {"requests.cpu": "8", "requests.memory": "32Gi", "limits.cpu": "80", "limits.memory": "160Gi"}
ROOT = Path(__file__).parents[2]
CONVERTER_PYTHON = ROOT / "converter_image" / ".venv" / "bin" / "python"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster; taken down again only if this session brought it up."""
    found = Cluster(INSTANCE)
    was_running = found.is_running()
    try:
        found.up(gpus=1)
        operator, converter = operator_image(), converter_image()
        found.load_image(operator)
        found.load_image(converter)
        install_operator(found, operator, converter, fake_gpu_image())
        yield found
    finally:
        if not was_running:
            found.down()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, made once."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([CONVERTER_PYTHON, Path(__file__).with_name("make_models.py"), folder], check=True)
    return folder


class Workspace:
    """A namespace with the claim `models`, whose volume is a folder of this machine."""

    def __init__(self, cluster: Cluster, api: Api, volume: Path) -> None:
        self.cluster = cluster
        self.api = api
        self.volume = volume

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.api.namespace, *arguments, stdin=stdin)

    def address(self, service: str) -> str:
        """Return a Service's address as this machine reaches it."""
        return str(self.api.get("Service", service)["spec"]["clusterIP"])


def claim_with_models(cluster: Cluster, namespace: str, models: Path) -> Path:
    """Make a namespace's claim `models`, put the sources into it, and return the folder that it is."""
    kubectl = partial(cluster.kubectl, "--namespace", namespace)
    kubectl("apply", "-f", str(ROOT / "examples" / "models-pvc.yaml"))
    kubectl("wait", "pvc/models", "--for=jsonpath={.status.phase}=Bound", "--timeout=60s")
    bound = kubectl("get", "pvc", "models", "-o", "jsonpath={.spec.volumeName}")
    volume = Path(cluster.kubectl("get", "pv", bound, "-o", "jsonpath={.spec.local.path}"))
    shutil.copytree(models, volume, dirs_exist_ok=True)
    volume.chmod(0o755)  # the copy took over that of a folder which is its maker's alone
    return volume


@pytest.fixture
def workspace(cluster: Cluster, models: Path) -> Iterator[Workspace]:
    """An empty namespace with the sources in its claim."""
    with a_workspace(cluster, models) as found:
        yield found


@pytest.fixture
def neighbour(cluster: Cluster, models: Path) -> Iterator[Workspace]:
    """Another one, of somebody else."""
    with a_workspace(cluster, models) as found:
        yield found


@contextmanager
def a_workspace(cluster: Cluster, models: Path) -> Iterator[Workspace]:
    """A namespace as a platform team would give it: all that the operator makes there must be admitted."""
    admin = Api.from_kubeconfig(cluster.kubeconfig)
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    quota = {"metadata": {"name": "compute"}, "spec": {"hard": COMPUTE}}
    admin.within(name).create({"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    volume = claim_with_models(cluster, name, models)
    yield Workspace(cluster, admin.within(name), volume)
    # Nobody asks these servers any more: they need not drain.
    cluster.kubectl("--namespace", name, "delete", "trtmodels", "--all", "--timeout=60s")
    cluster.kubectl("--namespace", name, "delete", "pods", "--all", "--grace-period=0", "--force")
    cluster.kubectl("delete", "namespace", name, "--timeout=120s")
    cluster.release_volumes()


@contextmanager
def an_empty_namespace(cluster: Cluster, prefix: str) -> Iterator[Api]:
    """A namespace without sources, quota or Pod Security."""
    admin = Api.from_kubeconfig(cluster.kubeconfig)
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield admin.within(name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
