"""What is done to a served model while clients ask it, each time with the end of it awaited."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count

from tests.cluster import Cluster, converter_image, fake_gpu_image, operator_image
from tests.cluster.deploy import NAMESPACE, RELEASE, install_operator
from tests.e2e.conftest import Workspace
from tests.e2e.test_served_model import is_serving
from tests.support.api import Api, Json
from tests.support.waiting import eventually

MODEL = "totals"
REPLICAS = 2
QUIET_SECONDS = 600.0
MOST_SECONDS = 300
"""Of anything that is done; a rollout beside clients who take both processors is slow."""
ROLLED = "example.com/rolled"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(slots=True)
class Scene:
    """The model that is served, and numbers that no change has had."""

    workspace: Workspace
    cluster: Cluster
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def api(self) -> Api:
        """The model's namespace."""
        return self.workspace.api

    @property
    def fingerprint(self) -> str:
        """Of the engine that is served."""
        return str(self.api.get("TRTModel", MODEL)["status"]["fingerprint"])

    def change(self, **spec: Json) -> None:
        """Change the model's spec."""
        self.api.patch("TRTModel", MODEL, {"spec": spec})

    def roll(self) -> Callable[[Json], bool]:
        """Change the servers' template; tells its pods from others."""
        number = str(next(self.numbers))
        self.change(serving={"pods": {"annotations": {ROLLED: number}}})
        return lambda pod: bool(pod["metadata"]["annotations"].get(ROLLED) == number)

    def wait_until_served(self, replicas: int = REPLICAS, by: Callable[[Json], bool] = lambda _: True) -> None:
        """Wait until so many servers are there, all of this kind and ready, and none that ends."""

        def served() -> bool:
            pods = self.api.list("Pod", "app.kubernetes.io/component=server")
            ready = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and is_ready(pod) and by(pod)]
            return is_serving(self.api, MODEL) and len(ready) == len(pods) == replicas

        eventually(served, MOST_SECONDS)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is done again and again, and what there must be meanwhile."""

    name: str
    do: Callable[[Scene], None]
    during: Callable[[Scene], AbstractContextManager[object]] = lambda _: nullcontext()


def is_ready(pod: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def rolling_update(scene: Scene) -> None:
    """Another pod template: every server is replaced."""
    scene.wait_until_served(by=scene.roll())


def new_revision(scene: Scene) -> None:
    """The source has changed: it is converted again, on the same machine, and every server is replaced."""
    before = scene.fingerprint
    scene.change(source={"revision": f"r{next(scene.numbers)}"})
    eventually(lambda: scene.fingerprint != before, MOST_SECONDS)
    made = scene.fingerprint
    scene.wait_until_served(by=lambda pod: bool(pod["metadata"]["labels"]["tftrt.dev/fingerprint"] == made))


def scale(scene: Scene) -> None:
    """Down to one server, and up again. The one that goes is the older one, to which clients are connected.

    Kubernetes would take the younger one, which has nobody's connections from the second time on.
    """
    pods = scene.api.list("Pod", "app.kubernetes.io/component=server")
    oldest = min(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))["metadata"]["name"]
    scene.workspace.kubectl("annotate", "pod", oldest, f"{DELETION_COST}=-100")
    for replicas in (1, REPLICAS):
        scene.workspace.kubectl("scale", f"trtmodel/{MODEL}", f"--replicas={replicas}")
        scene.wait_until_served(replicas)


@contextmanager
def second_node(scene: Scene) -> Iterator[None]:
    """Have another node, on which nothing runs in the end."""
    cluster = scene.cluster
    with cluster.second_node() as second:
        cluster.load_image(operator_image())
        cluster.load_image(converter_image())
        yield
        # It goes now, with what runs on it.
        cluster.kubectl("drain", second.name, *DRAIN)
        scene.wait_until_served()


DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={MOST_SECONDS}s")


def drain(scene: Scene) -> None:
    """Each of both nodes is drained, the operator's pod with it, while the other one takes what has to go."""
    for node in scene.cluster.layout.nodes:
        scene.cluster.kubectl("drain", node.name, *DRAIN)
        scene.wait_until_served(by=lambda pod, name=node.name: bool(pod["spec"]["nodeName"] != name))  # type: ignore[misc]
        scene.cluster.kubectl("uncordon", node.name)


def new_operator(scene: Scene) -> None:
    """Helm upgrades to images of another tag, the operator's and its runtime's: every server is replaced."""
    cluster, tag = scene.cluster, f"new-{next(scene.numbers)}"
    before = scene.fingerprint
    operator, converter = (cluster.with_another_tag(image, tag) for image in (operator_image(), converter_image()))
    install_operator(cluster, operator, converter, fake_gpu_image())
    running = cluster.kubectl("--namespace", NAMESPACE, "get", "deploy", RELEASE, "-o", "jsonpath={..image}")
    assert running == operator.name
    scene.wait_until_served(by=lambda pod: bool(pod["spec"]["containers"][0]["image"] == converter.name))
    assert scene.fingerprint == before, "an upgrade converts nothing"


@contextmanager
def installed_again(scene: Scene) -> Iterator[None]:
    """Have the images of the usual tags in the end."""
    yield
    install_operator(scene.cluster, operator_image(), converter_image(), fake_gpu_image())
    scene.wait_until_served()


def nothing(scene: Scene) -> None:
    """Nothing happens, for ten minutes: what is waited for is that they have passed."""
    threading.Event().wait(QUIET_SECONDS)
    scene.wait_until_served()


EVENTS = (
    Event("rolling update", rolling_update),
    Event("conversion of a new source.revision", new_revision),
    Event(f"scaled from {REPLICAS} to 1 and back", scale),
    Event("kubectl drain of one node, then of the other", drain, second_node),
    Event("a new operator version, by Helm", new_operator, installed_again),
    Event("nothing at all, for ten minutes", nothing),
)
