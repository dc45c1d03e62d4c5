"""What every type of the API shares: the frozen base, and the ways to say a bound or a rule in the CRD."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A frozen value of the API, written in camelCase and read in snake_case.

    Unknown keys are left out, as the API server prunes them: an older operator must read what a newer CRD allows.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return the schema extension for CEL rules, each an (expression, sentence) pair."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def list_type(kind: str, *keys: str) -> dict[str, Any]:
    """Return the schema extension that says how server-side apply merges a list: `set`, `map` by keys, or `atomic`."""
    extension: dict[str, Any] = {"x-kubernetes-list-type": kind}
    if keys:
        extension["x-kubernetes-list-map-keys"] = list(keys)
    return extension


ANY_SCALAR: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "maxProperties": 0,
    "maxItems": 0,
    "maxLength": 1024,
}
"""A value that is true or false, a number or a text: Kubernetes has no type for that, nor rules over one without."""

ANY_OBJECT: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""A value of a Kubernetes type that we hand on untouched and whose own schema would bloat the CRD."""
