"""Values as text: no larger than they are, and the same when they are looked into."""

import sys
from typing import Any

import pytest

from tftrt_operator.controller.packed import Packed, fingerprint_of, pack

BODY = {"kind": "Service", "spec": {"ports": [{"port": 8000, "name": "größer"}], "nothing": None, "half": 0.5}}


def test_it_is_the_same_value_and_no_larger_than_its_text() -> None:
    packed = Packed(BODY)
    assert dict(packed.items()) == dict(packed) == BODY
    assert (packed["kind"], packed.get("absent", 7), len(packed), packed == BODY) == ("Service", 7, 2, True)
    text = pack({"text": "x" * 3000})
    assert sys.getsizeof(text) < 3100, "orjson's own result keeps all the memory that it was written into"


def test_the_order_of_keys_makes_no_other_fingerprint_and_any_value_does() -> None:
    turned = {key: BODY[key] for key in reversed(BODY)}
    assert fingerprint_of(turned) == fingerprint_of(BODY)
    assert fingerprint_of(BODY | {"kind": "Job"}) != fingerprint_of(BODY)


@pytest.mark.parametrize("odd", ["\ud800", 2**70])
def test_what_orjson_does_not_write_is_written_all_the_same(odd: Any) -> None:
    assert Packed({"odd": odd})["odd"] == odd
