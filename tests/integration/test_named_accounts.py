"""Who writes a TRTModel gets no identity that they may not use."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.cluster.deploy import RELEASE, rendered
from tests.support.api import Api, Json, Refused
from tests.support.trtmodels import trtmodel
from tests.support.waiting import eventually

from .conftest import OperatorProcess

ACCOUNT = "reader-of-models"
RBAC = "rbac.authorization.k8s.io"
POLICY = f"{RELEASE}-service-accounts"
TEMPLATE = "service-account-policy"
RULE = f'{{apiGroups: [""], resources: [serviceaccounts], resourceNames: [{ACCOUNT}], verbs: [use]}}'
PLACES = (("pods",), ("conversion", "pods"), ("serving", "pods"), ("serving",))
"""Where a spec can name one: for all pods, for the conversion's, for the servers', and for these until v0.1.0."""
in_every_place = pytest.mark.parametrize("place", PLACES, ids=".".join)
USE = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [ACCOUNT], "verbs": ["use"]}


def bind(api: Api, role: str, user: str, kind: str = "Role") -> None:
    """Give a user a role in the namespace."""
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{role}-{user}"},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
    api.create(binding)


def allow(api: Api, user: str, *rules: Json) -> Api:
    """Let a user write TRTModels and do this besides; returns the namespace as that user sees it."""
    models = {"apiGroups": ["tftrt.dev"], "resources": ["trtmodels", "trtmodels/scale"], "verbs": ["*"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": user}, "rules": [models, *rules]}
    api.create(role)
    bind(api, user, user)
    there = api.as_user(user)
    eventually(lambda: does(lambda: there.list("TRTModel")))
    return there


def does(write: Callable[[], object]) -> bool:
    """Try something, and return whether it was not refused."""
    try:
        write()
    except Refused:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def policy(cluster: Cluster) -> Iterator[None]:
    """The chart's policy."""
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": rendered(cluster, RELEASE, [TEMPLATE], {})})
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=made)
    yield
    cluster.kubectl("delete", "-f", "-", stdin=made)


@pytest.fixture
def author(bare_api: Api) -> Api:
    """Somebody who may write TRTModels; the policy is in force."""
    found = allow(bare_api, "author")
    eventually(lambda: not does(lambda: found.create(named(ACCOUNT), "?dryRun=All")))
    return found


@pytest.fixture
def user_of_account(bare_api: Api) -> Api:
    """Somebody who may write TRTModels, and use the ServiceAccount."""
    return allow(bare_api, "user-of-account", USE)


def names(place: tuple[str, ...], account: str | None) -> Json:
    """The part of a spec that names an account there."""
    found: Json = {"serviceAccountName": account}
    for field in reversed(place):
        found = {field: found}
    return found


def named(account: str, place: tuple[str, ...] = ("pods",), **spec: Any) -> Json:
    return trtmodel(**spec, **names(place, account))


@in_every_place
def test_who_may_not_use_a_service_account_cannot_name_it(bare_api: Api, author: Api, place: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        author.create(named(ACCOUNT, place))
    assert refused.value.status == 403
    assert re.search(
        r"serviceAccountName of spec\.pods or spec\.(conversion|serving)\.pods: you may not use ServiceAccount "
        + ACCOUNT,
        refused.value.message,
    )
    assert f"a RoleBinding to a Role with the rule {RULE}" in refused.value.message
    author.create(trtmodel())
    with pytest.raises(Refused, match="you may not use"):
        author.patch("TRTModel", "resnet50", {"spec": names(place, ACCOUNT)})
    with pytest.raises(Refused, match="you may not use"):
        author.apply(named(ACCOUNT, place))
    assert ACCOUNT not in str(bare_api.get("TRTModel", "resnet50")["spec"])


@in_every_place
def test_who_may_use_it_may_name_it_and_no_other(user_of_account: Api, author: Api, place: tuple[str, ...]) -> None:
    user_of_account.create(named(ACCOUNT, place))
    with pytest.raises(Refused, match="you may not use ServiceAccount another"):
        user_of_account.apply(named("another", place))


@in_every_place
def test_everybody_else_goes_on_with_a_model_whose_name_another_has_chosen(
    user_of_account: Api, author: Api, place: tuple[str, ...]
) -> None:
    user_of_account.apply(named(ACCOUNT, place))
    author.patch("TRTModel", "resnet50", {"spec": {"replicas": 3}}, "/scale")
    author.apply(named(ACCOUNT, place), manager="gitops")
    author.patch("TRTModel", "resnet50", {"spec": {"conversion": {"maxBatchSize": 4}}})
    author.patch("TRTModel", "resnet50", {"metadata": {"labels": {"team": "vision"}}})
    author.patch("TRTModel", "resnet50", {"spec": names(place, "")})
    with pytest.raises(Refused, match="you may not use"):
        author.patch("TRTModel", "resnet50", {"spec": names(place, ACCOUNT)})


def test_a_name_may_move_to_another_field_as_long_as_no_other_pods_get_it(user_of_account: Api, author: Api) -> None:
    user_of_account.create(named(ACCOUNT, ("serving",)))
    author.patch(
        "TRTModel",
        "resnet50",
        {"spec": {"serving": {"serviceAccountName": None} | {"pods": {"serviceAccountName": ACCOUNT}}}},
    )
    with pytest.raises(Refused, match=r"spec\.conversion\.pods: you may not use"):
        author.patch("TRTModel", "resnet50", {"spec": names(("pods",), ACCOUNT) | names(("serving", "pods"), None)})


def test_who_administers_the_namespace_can_let_others_use_one(bare_api: Api, author: Api) -> None:
    bind(bare_api, "admin", "owner", "ClusterRole")
    owner = bare_api.as_user("owner")
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "use"}, "rules": [USE]}
    # Nobody grants what they do not have, and the controller of Kubernetes' own roles may be just starting.
    eventually(lambda: does(lambda: owner.create(role)), seconds=90)
    bind(owner, "use", "author")
    eventually(lambda: does(lambda: author.create(named(ACCOUNT))))


def test_the_operator_goes_on_with_it_too(user_of_account: Api, author: Api, operator: OperatorProcess) -> None:
    user_of_account.create(named(ACCOUNT, artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"}))
    eventually(lambda: user_of_account.get("TRTModel", "resnet50")["metadata"]["finalizers"])


def test_the_policy_has_no_fault_that_the_api_server_knows(bare_api: Api) -> None:
    def status() -> Json:
        found = bare_api.get("ValidatingAdmissionPolicy", POLICY)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        return dict(found["status"])

    assert eventually(status, seconds=90).get("typeChecking", {}) == {}
