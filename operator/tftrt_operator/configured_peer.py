"""A peer of a NetworkPolicy as the administrator writes it: no API server has looked at it by the CRD's rules."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from .api.kubernetes import KEY_SENTENCE, LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN, VALUE_SENTENCE
from .api.network import IPBlock, LabelSelector, NetworkPolicyPeer


def peer(written: Any) -> NetworkPolicyPeer:
    """Parse a peer. No key is passed over here: a selector with its condition misspelled would select everybody.

    Raises:
        ValueError: it is none; the message says why.
    """
    found = NetworkPolicyPeer.model_validate(written)
    if found.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True) != written or not written:
        raise ValueError("must be a peer of a NetworkPolicy: podSelector, namespaceSelector, or ipBlock")
    if found.ip_block is not None:
        if found.pod_selector is not None or found.namespace_selector is not None:
            raise ValueError("an ipBlock stands alone: addresses have no labels")
        _look_at_block(found.ip_block)
    for selector in (found.pod_selector, found.namespace_selector):
        if selector is not None:
            _look_at_selector(selector)
    return found


def _look_at_block(block: IPBlock) -> None:
    whole = _ip_range(block.cidr)
    for part in map(_ip_range, block.except_):
        # Of another family nothing lies within it.
        if (
            part.version != whole.version
            or part.prefixlen <= whole.prefixlen
            or part.supernet(new_prefix=whole.prefixlen) != whole
        ):
            raise ValueError(f"except {part} must lie within cidr {whole}, and be smaller")


def _ip_range(written: str) -> IPv4Network | IPv6Network:
    try:
        if re.fullmatch(r"[0-9A-Fa-f.:]+/(0|[1-9][0-9]{0,2})", written):  # and not a netmask, nor an address alone
            return ip_network(written, strict=False)
    except ValueError:
        pass
    raise ValueError(f"{written!r} must be an IP range such as 10.0.0.0/8 or fd00::/8")


def _look_at_selector(selector: LabelSelector) -> None:
    _look_at_labels(selector.match_labels, selector.match_labels.values())
    for condition in selector.match_expressions:
        if (condition.operator in ("In", "NotIn")) != bool(condition.values):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist take none")
        _look_at_labels([condition.key], condition.values)


def _look_at_labels(keys: Iterable[str], values: Iterable[str]) -> None:
    for key in keys:
        if not re.fullmatch(LABEL_KEY_PATTERN, key) or key.find("/") > 253:
            raise ValueError(f"a label's key, which is {key!r}, {KEY_SENTENCE}")
    for value in values:
        if not re.fullmatch(LABEL_VALUE_PATTERN, value):
            raise ValueError(f"a label's value, which is {value!r}, {VALUE_SENTENCE}")
