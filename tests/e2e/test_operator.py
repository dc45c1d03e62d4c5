"""The operator itself: it runs under its own RBAC, not as an administrator, and says that it is healthy."""

import subprocess

import pytest

from tests.cluster import Cluster
from tests.cluster.deploy import NAMESPACE, RELEASE

ACCOUNT = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "configmaps"),
        ("update", "trtmodels"),
        ("delete", "trtmodels"),
        ("create", "clusterrolebindings"),
        ("delete", "namespaces"),
    ],
)
def test_the_operator_may_not_do_what_it_need_not(cluster: Cluster, verb: str, resource: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as no:
        cluster.kubectl("auth", "can-i", verb, resource, ACCOUNT, "--all-namespaces")
    assert no.value.stdout.strip() == "no"


def test_the_operators_pod_meets_the_restricted_standard(cluster: Cluster) -> None:
    label = ("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    done = cluster.kubectl(*label, "--dry-run=server")
    assert "Warning" not in done
