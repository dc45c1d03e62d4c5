"""Two namespaces with two users: neither reads, mounts, renames, stops or speaks for what is the other's."""

import json
import stat
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.api import Api, Json, Refused
from tests.support.trtmodels import conditions, message, trtmodel
from tests.support.waiting import eventually

from .conftest import Workspace
from .inference import infer, relative_error
from .test_served_model import TOLERANCE, is_serving

CHILDREN = ("TRTModel", "Deployment", "Service", "NetworkPolicy", "ConfigMap", "Pod", "Job")


def editor(workspace: Workspace, name: str) -> Api:
    """The workspace as a user who may edit it, and nothing else."""
    user = f"{name}-{uuid.uuid4().hex[:8]}"
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    workspace.api.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **binding})
    inside = workspace.api.as_user(user)
    eventually(lambda: may(inside, "list", "TRTModel"))  # a binding takes a moment to count
    return inside


def may(api: Api, verb: str, kind: str, body: Json | None = None) -> bool:
    try:
        if verb == "list":
            api.list(kind)
        elif verb == "create" and body is not None:
            api.create(body)
        elif verb == "patch":
            api.patch(kind, "tiny", {"metadata": {"labels": {"seen": "yes"}}})
        elif verb == "delete":
            api.delete(kind, "tiny")
        else:
            api.get(kind, "tiny")
    except Refused as refused:
        assert refused.status == 403, refused
        return False
    return True


def identities(api: Api) -> dict[str, tuple[str, Any]]:
    """What must not change when a neighbour does something: each object with its UID, and its spec."""
    return {
        f"{kind} {item['metadata']['name']}": (item["metadata"]["uid"], item.get("spec") or item.get("data"))
        for kind in CHILDREN
        for item in api.list(kind, "" if kind == "TRTModel" else "app.kubernetes.io/managed-by=tftrt-operator")
    }


def tiny(**spec: Any) -> Json:
    return trtmodel("tiny", **({"source": {"uri": "pvc://models/tiny"}} | spec))


def test_two_users_who_call_their_models_the_same_have_nothing_of_each_other(
    workspace: Workspace, neighbour: Workspace
) -> None:
    alice, bob = editor(workspace, "alice"), editor(neighbour, "bob")
    second_claim(alice, "store")
    sources = owners_and_modes(workspace.volume)
    for user, claim in ((alice, "store"), (bob, "models")):
        user.create(tiny(artifacts={"uri": f"pvc://{claim}/tftrt", "deletionPolicy": "Delete"}))
    for user in (alice, bob):
        eventually(lambda user=user: is_serving(user, "tiny"), seconds=300)  # type: ignore[misc]
    bobs, his_artifact = identities(bob), bob.get("TRTModel", "tiny")["status"]["conversion"]["artifact"]
    his_files = sorted(path for path in neighbour.volume.rglob("*") if path.is_file())

    there = alice.within(bob.namespace)
    for kind in CHILDREN:
        for verb in ("list", "get", "patch", "delete"):
            assert not may(there, verb, kind), f"alice may {verb} bob's {kind}"
    for body in (trtmodel("mine"), event_about(bob.get("TRTModel", "tiny"))):
        assert not may(there, "create", body["kind"], body)

    # What she may write at home, as if it were about his: a record that names his artifact, objects of his model.
    (record,) = alice.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator")
    forged = json.loads(record["data"]["record.json"])
    forged["summary"]["artifact"] = his_artifact
    his_uid = bob.get("TRTModel", "tiny")["metadata"]["uid"]
    alice.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "tftrt-" + "0" * 20,
                "labels": record["metadata"]["labels"],
                "ownerReferences": [{**record["metadata"]["ownerReferences"][0], "uid": his_uid}],
            },
            "data": {"record.json": json.dumps(forged)},
        }
    )
    thief = tiny(source={"uri": his_artifact}, artifacts={"uri": "pvc://store/tftrt"})
    alice.create(thief | {"metadata": {"name": "thief"}})
    eventually(lambda: conditions(alice, "thief").get("Stalled") == ("True", "SourceNotFound"), seconds=120)
    assert bob.namespace in message(alice, "Ready", "thief"), "it was looked for in her own claim of that name"

    alice.delete("TRTModel", "tiny")
    eventually(lambda: not alice.exists("TRTModel", "tiny"), seconds=180)
    assert owners_and_modes(workspace.volume) == sources, "a claim that is only read keeps its owners and modes"
    assert identities(bob) == bobs
    assert sorted(path for path in neighbour.volume.rglob("*") if path.is_file()) == his_files
    assert is_serving(bob, "tiny")
    known = np.load(neighbour.volume / "tiny.npz")
    answer = infer(neighbour.address("tiny"), "tiny", images=known["images"][:1])
    assert relative_error(answer, known["scores"][:1]) < TOLERANCE


def event_about(model: Json) -> Json:
    metadata = model["metadata"]
    about = {"kind": "TRTModel", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "word"},
        "involvedObject": about,
        "reason": "Serving",
        "message": "all is well",
    }


def test_a_claim_that_is_only_read_and_may_not_be_read_is_named_and_stays_as_it_is(workspace: Workspace) -> None:
    api = workspace.api
    second_claim(api, "store")
    (workspace.volume / "tiny").chmod(0o750)
    before = owners_and_modes(workspace.volume)
    api.create(tiny(artifacts={"uri": "pvc://store/tftrt"}))
    eventually(lambda: conditions(api, "tiny").get("Stalled") == ("True", "SourceNotFound"), seconds=120)
    assert "user 65532" in message(api, "Ready", "tiny")
    assert owners_and_modes(workspace.volume) == before


def second_claim(api: Api, name: str) -> None:
    """A claim beside `models`, of the same kind."""
    first = api.get("PersistentVolumeClaim", "models")["spec"]
    spec = {key: first[key] for key in ("accessModes", "resources", "storageClassName")}
    api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})


def owners_and_modes(volume: Path) -> dict[str, tuple[int, int, str]]:
    return {
        str(path.relative_to(volume)): (found.st_uid, found.st_gid, stat.filemode(found.st_mode))
        for path in [volume, *volume.rglob("*")]
        for found in [path.stat()]
    }
