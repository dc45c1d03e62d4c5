"""Which web addresses a source may have."""

import re

import pytest

from tftrt_operator.api.storage import HTTP_URI


@pytest.mark.parametrize(
    "host", ["models.example", "10.0.0.1:8080", "[fd00::1]", "[fd00::1]:8443", "store_1", "me:word@models.example"]
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert re.fullmatch(HTTP_URI, f"https://{host}/a.zip")


@pytest.mark.parametrize(
    "host", ["", "[x", "a]b", "[fd00::1]x", "[fe80::1%25eth0]", "models example", "models.example:", "a:port", ":80"]
)
def test_what_no_address_can_be_made_of_is_no_host(host: str) -> None:
    assert not re.fullmatch(HTTP_URI, f"https://{host}/a.zip")
