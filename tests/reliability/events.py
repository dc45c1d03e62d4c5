"""What is done to a served model while clients ask it, each time with the end of it awaited."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from tests.cluster import Cluster
from tests.e2e.conftest import Workspace
from tests.e2e.test_served_model import is_serving
from tests.support.api import Json
from tests.support.waiting import eventually

MODEL = "totals"
REPLICAS = 2
QUIET_SECONDS = 600.0
MOST_SECONDS = 300
"""Of anything that is done; a rollout beside clients who take both processors is slow."""


@dataclass(slots=True)
class Scene:
    """The model that is served, and a number that no change had yet."""

    workspace: Workspace
    cluster: Cluster
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def change(self, spec: Json) -> None:
        """Change the model's spec."""
        self.workspace.api.patch("TRTModel", MODEL, {"spec": spec})

    def pods(self) -> list[Json]:
        """All servers, those that are ending, too."""
        return self.workspace.api.list("Pod", "app.kubernetes.io/component=server")

    def wait_until_served(self, replicas: int = REPLICAS, by: Callable[[Json], bool] = lambda _: True) -> None:
        """Wait until so many servers are there, all of this kind and ready, and none besides."""

        def served() -> bool:
            pods = self.pods()
            ready = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"] and by(pod)]
            return is_serving(self.workspace.api, MODEL) and len(ready) == len(pods) == replicas

        eventually(served, MOST_SECONDS)


def is_ready(pod: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def rolling_update(scene: Scene) -> None:
    """Another pod template: every server is replaced."""
    number = str(next(scene.numbers))
    scene.change({"serving": {"podAnnotations": {"example.com/rolled": number}}})
    scene.wait_until_served(by=lambda pod: pod["metadata"]["annotations"].get("example.com/rolled") == number)


def new_revision(scene: Scene) -> None:
    """The source has changed: it is converted again, on the same machine, and every server is replaced."""
    before = fingerprint(scene)
    scene.change({"source": {"revision": f"r{next(scene.numbers)}"}})
    eventually(lambda: fingerprint(scene) != before, MOST_SECONDS)
    scene.wait_until_served(by=lambda pod: pod["metadata"]["labels"]["tftrt.dev/fingerprint"] == fingerprint(scene))


def fingerprint(scene: Scene) -> str:
    return str(scene.workspace.api.get("TRTModel", MODEL)["status"]["fingerprint"])


def scale(scene: Scene) -> None:
    """Down to one server, and up again."""
    for replicas in (1, REPLICAS):
        scene.workspace.kubectl("scale", f"trtmodel/{MODEL}", f"--replicas={replicas}")
        scene.wait_until_served(replicas)


def nothing(scene: Scene) -> None:
    """Nothing happens, for ten minutes: what is waited for is that they have passed."""
    threading.Event().wait(QUIET_SECONDS)
    scene.wait_until_served()
