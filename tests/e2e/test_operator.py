"""The operator itself: it runs under its own RBAC, not as an administrator, and says that it is healthy."""

import subprocess

import pytest

from tests.cluster import Cluster
from tests.cluster.deploy import NAMESPACE, RELEASE
from tests.support.trtmodels import conditions, trtmodel
from tests.support.waiting import eventually

from .conftest import ROOT, Workspace

CHART = ROOT / "charts" / "tftrt-operator"
ACCOUNT = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "pods --subresource=exec"),  # kubectl reads pods/exec as a pod of that name
        ("deletecollection", "configmaps"),
        ("update", "trtmodels"),
        ("delete", "trtmodels"),
        ("create", "clusterrolebindings"),
        ("delete", "namespaces"),
    ],
)
def test_the_operator_may_not_do_what_it_need_not(cluster: Cluster, verb: str, resource: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as no:
        cluster.kubectl("auth", "can-i", verb, *resource.split(), ACCOUNT, "--all-namespaces")
    assert no.value.stdout.strip() == "no"


def test_who_may_view_or_edit_a_namespace_may_so_with_its_trtmodels(workspace: Workspace) -> None:
    for role in ("view", "edit", "admin"):
        workspace.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")

    def may(user: str, verb: str, subresource: str = "") -> bool:
        what = ("trtmodels", f"--subresource={subresource}")
        try:
            return workspace.kubectl("auth", "can-i", verb, *what, f"--as={user}").strip() == "yes"
        except subprocess.CalledProcessError:
            return False

    for user in ("view", "edit", "admin"):
        eventually(lambda user=user: may(user, "list"))  # type: ignore[misc]  # a binding takes a moment to count
    assert not may("view", "create")
    assert may("edit", "create")
    assert may("edit", "patch", "scale")
    assert not may("edit", "patch", "status"), "the status is the operator's word"
    assert may("admin", "deletecollection")
    assert not may("nobody", "list")


def test_the_operators_pod_meets_the_restricted_standard(cluster: Cluster) -> None:
    label = ("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    done = cluster.kubectl(*label, "--dry-run=server")
    assert "Warning" not in done


def test_the_chart_has_no_fault_that_helm_knows(cluster: Cluster) -> None:
    assert "0 chart(s) failed" in cluster.helm("lint", "--strict", str(CHART))


def test_the_chart_goes_without_taking_anybodys_models_and_servers_along(workspace: Workspace) -> None:
    api, cluster = workspace.api, workspace.cluster
    api.create(trtmodel("tiny", source={"uri": "pvc://models/tiny"}))
    eventually(lambda: conditions(api, "tiny")["Ready"] == ("True", "Serving"), seconds=180)
    before = api.get("Deployment", "tiny")

    values = cluster.helm("get", "values", RELEASE, "--namespace", NAMESPACE, "--output", "yaml")
    cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    assert conditions(api, "tiny")["Ready"] == ("True", "Serving")
    assert api.get("Deployment", "tiny")["metadata"]["uid"] == before["metadata"]["uid"]
    cluster.helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-", "--wait", stdin=values)
    api.create(trtmodel("other", source={"uri": "pvc://models/tiny"}, serving={"replicas": 0}))
    eventually(lambda: conditions(api, "other")["Ready"] == ("True", "ScaledToZero"), seconds=60)
    assert api.get("Deployment", "tiny")["metadata"]["generation"] == before["metadata"]["generation"]
