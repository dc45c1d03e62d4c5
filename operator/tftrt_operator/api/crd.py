"""The CustomResourceDefinition, written from the types of this package.

`python -m tftrt_operator.api.crd` prints it (`make crds`); a unit test fails when a committed file is stale.
"""

from typing import Any

import yaml

from . import GROUP, KIND, PLURAL, VERSION
from .schema import ApiModel
from .status import TRTModelStatus
from .written import TRTModelSpecAsWritten

_NAME_RULE = {
    "rule": "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "message": "metadata.name must be at most 40 characters of lower case letters, digits and '-', and start with a"
    " letter: the names of the Job and its Pods add to it",
}

# kstatus calls an object without conditions Current. The default keeps `kubectl wait` and Flux waiting
# for the operator's first word, as Gateway API does.
_PENDING_STATUS = {
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
    ]
}

_COLUMNS = [
    ("Precision", "string", ".spec.conversion.precision", 0),
    ("Engines", "integer", ".status.conversion.engines", 0),
    ("Speedup", "string", ".status.conversion.speedup", 0),
    ("Fraction", "string", ".status.serving.memoryFraction", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Status", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("GPU", "string", ".status.conversion.device.name", 1),
    ("Share", "string", ".status.conversion.convertedShare", 1),
    ("Top1", "string", ".status.conversion.top1Agreement", 1),
    ("Runtime", "string", ".status.conversion.versions.runtime", 1),
    ("URL", "string", ".status.serving.url", 1),
    ("Report", "string", ".status.conversion.reportUri", 1),
]


def structural_schema(model: type[ApiModel]) -> dict[str, Any]:
    """Return a type's schema in the structural form that Kubernetes asks for: no references, no titles."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.pop("$defs", {}))


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    if _is_optional(node):
        (only,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        return _structural({**only, **{key: value for key, value in node.items() if key != "anyOf"}}, definitions)
    result: dict[str, Any] = {}
    for key, value in node.items():
        match key:
            case "title":
                continue
            case "default" if value in (None, [], "", {}):
                continue
            case "properties":
                required = node.get("required", ())
                result[key] = {
                    name: _structural(child, definitions) if name in required else _property(child, definitions)
                    for name, child in value.items()
                }
            case "items" | "additionalProperties" if isinstance(value, dict):
                result[key] = _structural(value, definitions)
            case "additionalProperties":  # true, from a free-form object; Kubernetes has its own word for that
                continue
            case _:
                result[key] = value
    return result


def _property(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    result = _structural(node, definitions)
    # An object that may be left out but is never absent starts as {}: the API server then fills in the defaults below.
    if not _is_optional(node) and any("default" in child for child in result.get("properties", {}).values()):
        result["default"] = {}
    return result


def _is_optional(node: dict[str, Any]) -> bool:
    """Whether the node is `X | None`. The API server drops an explicit null by itself."""
    return any(option.get("type") == "null" for option in node.get("anyOf", ()))


def custom_resource_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of TRTModel."""
    status = structural_schema(TRTModelStatus) | {"default": _PENDING_STATUS}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["trtm"],
                # Not `all`: `kubectl delete all --all` would delete models, and their artifacts with some.
                "categories": ["tftrt"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A TensorFlow model that is converted with TensorRT and served.",
                            "required": ["spec"],
                            "x-kubernetes-validations": [_NAME_RULE],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": structural_schema(TRTModelSpecAsWritten),
                                "status": status,
                            },
                        }
                    },
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.serving.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
                        for name, kind, path, priority in _COLUMNS
                    ],
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def crd_yaml() -> str:
    """Return the text of the file in `crds/`."""
    head = "# Written by `make crds` from operator/tftrt_operator/api: change the types there.\n"
    return head + yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    print(crd_yaml(), end="")
