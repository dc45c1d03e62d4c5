"""Kubernetes quantities: `4G`, `512Mi`, `250m`, `1e9`.

The grammar is that of k8s.io/apimachinery/pkg/api/resource.
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_SUFFIXES = {
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
# The grammar leaves an exponent open, which would be computed: two digits reach far past all that Kubernetes can hold.
PATTERN = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]{1,2}))?$"
MAX_LENGTH = 32
LARGEST = 2**63 - 1
"""What Kubernetes holds at most (apimachinery's `Quantity.Value` is an int64); larger ones count as this."""
_PARTS = re.compile(
    r"^(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE](?![+\-\d])|[eE][+-]?\d{1,2}|)$"
)


def quantity_value(quantity: str) -> Decimal:
    """Return the exact value of a Kubernetes quantity, in its base unit (bytes, cores).

    Raises:
        ValueError: the text is no quantity.
    """
    parts = _PARTS.match(quantity.strip()) if len(quantity) <= MAX_LENGTH else None
    if parts is None:
        raise ValueError(
            f"{quantity[:MAX_LENGTH]!r} is no quantity: write a number with a unit such as 4G, 512Mi or 250m"
        )
    number, suffix = Decimal(parts["number"]), parts["suffix"]
    if suffix in _SUFFIXES:
        return number * _SUFFIXES[suffix]
    return number.scaleb(int(suffix[1:]))


def quantity_bytes(quantity: str) -> int:
    """Return a quantity in whole bytes, at most 2 ** 63 - 1; fractions round up, as in Kubernetes.

    Raises:
        ValueError: the text is no quantity.
    """
    value = quantity_value(quantity)
    return LARGEST if value >= LARGEST else max(int(value.to_integral_value(ROUND_CEILING)), -LARGEST)


def _as_text(value: Any) -> str:
    text = str(value)
    quantity_value(text)
    return text


# YAML gives `4000000000` as an integer; Kubernetes takes both spellings everywhere, and so do we.
Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": MAX_LENGTH,
            "pattern": PATTERN,
        }
    ),
]
