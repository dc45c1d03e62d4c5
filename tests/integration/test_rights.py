"""The operator has the rights that it needs, and no others. These run after all tests of this folder."""

import pytest

from tests.cluster import Cluster, audit
from tests.cluster.deploy import NAMESPACE, RELEASE, rendered
from tests.support.api import Api

from .conftest import STARTED, left_out
from .rights import OF_ADMISSION, Right, granted, taken, used


@pytest.fixture(scope="module")
def calls(cluster: Cluster) -> list[audit.Call]:
    """All that operators have asked of the API server in this session."""
    return list(audit.calls(cluster.layout, STARTED))


@pytest.fixture(scope="module")
def rights(cluster: Cluster) -> set[Right]:
    """All that the chart grants the operator."""
    return set(granted(rendered(cluster, RELEASE, ["rbac"], {})))


@pytest.fixture
def whole_suite(request: pytest.FixtureRequest) -> None:
    """Skip where a part of the tests has run: what is unused then tells nothing."""
    session = request.session
    there = {path.name for path in request.path.parent.glob("test_*.py")}
    ran = {item.path.name for item in session.items if item.path.parent == request.path.parent}
    if there != ran or left_out or any("::" in argument for argument in session.config.args):
        pytest.skip("only a part of the integration tests was asked for: what the others use is not known")
    if session.testsfailed:
        pytest.skip("a test failed: what it would have had the operator do is not known")


def test_nothing_that_the_operator_asked_was_more_than_it_may(calls: list[audit.Call]) -> None:
    # What was allowed at another time is granted: an API server that has just started knows no role for a moment.
    allowed = set(used(calls))
    refused = [call for call in calls if not call.authorized and taken(call) not in allowed]
    assert not {f"{call.user}: {call.verb} {call.path}" for call in refused}


@pytest.mark.usefixtures("whole_suite")
def test_every_right_is_one_that_some_test_had_the_operator_use(calls: list[audit.Call], rights: set[Right]) -> None:
    unused = rights - set(used(calls)) - set(OF_ADMISSION)
    assert not sorted(str(right) for right in unused)


@pytest.mark.usefixtures("whole_suite")
def test_what_admission_asks_for_is_granted_for_a_test_that_there_is(
    request: pytest.FixtureRequest, rights: set[Right]
) -> None:
    tests = [item.name for item in request.session.items]
    for right, test in OF_ADMISSION.items():
        assert right in rights
        assert any(name.startswith(test) for name in tests)


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "update", "patch", "delete"])
def test_secrets_are_none_of_the_operators_affair(admin: Api, verb: str) -> None:
    attributes = {"resource": "secrets", "verb": verb, "namespace": "default"}
    user = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
    review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    answer = admin.create(review | {"spec": {"user": user, "resourceAttributes": attributes}})
    assert not answer["status"]["allowed"]
