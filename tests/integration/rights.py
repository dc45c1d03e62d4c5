"""What the operator is granted, and what of it it has used."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.cluster.audit import Call


class Right(NamedTuple):
    """One verb on one kind; a subresource stands as in a role, after a slash."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{self.group and '.' + self.group}"


OF_ADMISSION = {
    # Without it no object is made that blocks its owner's deletion.
    Right("tftrt.dev", "trtmodels/finalizers", "update"): "test_what_somebody_deletes_or_changes_comes_back",
    # Without it no owner is corrected.
    **{
        Right(group, resource, "delete"): "test_an_owner_that_is_named_by_an_older_version_of_the_api"
        for group, resource in (("apps", "deployments"), ("", "services"), ("networking.k8s.io", "networkpolicies"))
    },
}
"""What OwnerReferencesPermissionEnforcement asks for, which no call shows, by the test that fails without it."""


def granted(objects: Iterable[Any]) -> Iterator[Right]:
    """Yield what the roles among a chart's objects grant."""
    for found in objects:
        for rule in found.get("rules", ()):
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield Right(group, resource, verb)


def taken(call: Call) -> Right:
    """Return what a call takes."""
    resource = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
    return Right(call.group, resource, call.verb)


def used(calls: Iterable[Call]) -> Iterator[Right]:
    """Yield what it took to make those calls that were allowed."""
    for call in calls:
        if call.authorized:
            yield taken(call)
            if (call.verb, call.status) == ("patch", 201):
                yield taken(call)._replace(verb="create")  # an apply that makes the object takes this, too
