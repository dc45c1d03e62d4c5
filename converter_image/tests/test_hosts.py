"""Which hosts a Secret names."""

from __future__ import annotations

import pytest
from yarl import URL

from tftrt_runtime.storage import hosts


@pytest.mark.parametrize(
    ("named", "url"),
    [
        ("models.example.com", "https://models.example.com/x.zip"),
        ("Models.Example.COM", "https://models.example.com/x.zip"),
        ("other.example.com, models.example.com", "https://models.example.com"),
        ("other.example.com\nmodels.example.com\n", "https://models.example.com"),
        ("minio.storage.svc:9000", "https://minio.storage.svc:9000/bucket"),
        ("models.example.com:443", "https://models.example.com"),
        ("*.example.com", "https://a.example.com"),
        ("*.example.com", "https://a.b.example.com"),
        ("*.example.com:9000", "https://a.example.com:9000"),
        ("10.0.0.7:9000", "https://10.0.0.7:9000"),
        ("[fd00::7]:9000", "https://[fd00::7]:9000"),
        ("localhost:8443", "https://localhost:8443"),
        ("models.example.com", "https://models.example.com./x.zip"),
        ("models.example.com.", "https://models.example.com/x.zip"),
        ("models.example.com.:8443", "https://models.example.com:8443"),
        ("*.example.com.", "https://a.example.com./x.zip"),
        ("s3.example.com", "https://bucket.s3.example.com./key"),
        ("xn--bcher-kva.example", "https://b\u00fccher.example/x"),
        # By the bucket's name, as Amazon's hosts are called.
        ("s3.eu-central-1.amazonaws.com", "https://bucket.s3.eu-central-1.amazonaws.com/key"),
        ("s3.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com/bucket/key"),
    ],
)
def test_a_host_is_named_by_itself_or_by_a_domain_above_it(named: str, url: str) -> None:
    assert hosts.is_named(URL(url), hosts.parse(named), "bucket")


@pytest.mark.parametrize(
    ("named", "url"),
    [
        ("", "https://models.example.com"),
        ("models.example.com", "https://models.example.com.attacker.example"),
        ("models.example.com", "https://attackermodels.example.com"),
        ("models.example.com", "https://models.example.com@attacker.example/"),
        ("models.example.com", "https://attacker.example/models.example.com"),
        ("models.example.com", "https://a.models.example.com"),
        ("models.example.com", "https://models.example.com:8443"),
        ("models.example.com:8443", "https://models.example.com"),
        ("*.example.com", "https://example.com"),
        ("*.example.com", "https://attackerexample.com"),
        ("*.example.com", "https://a.example.com:8443"),
        ("s3.example.com", "https://other.s3.example.com"),
        ("models.example.com", "https://models.example.com../x.zip"),
        ("s3.example.com", "https://a.bucket.s3.example.com"),
    ],
)
def test_no_other_host_is_named(named: str, url: str) -> None:
    assert not hosts.is_named(URL(url), hosts.parse(named), "bucket")


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "*.com",
        "*.*.com",
        "a.*.com",
        "https://a.example.com",
        "a.example.com/path",
        "a_key=/+",
        "a.example.com:x",
        ":443",
    ],
)
def test_what_names_no_host_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(ValueError, match="entry 2 of `hosts` is none") as refused:
        hosts.parse(f"good.example.com {entry}")
    assert entry not in str(refused.value).replace("*.domain", "")


def test_the_line_that_names_a_host_is_told_as_it_is_to_be_written() -> None:
    for url in (
        "https://a.example.com/x",
        "https://a.example.com./x",
        "https://a.example.com:9000",
        "https://[fd00::7]:9000/x",
    ):
        assert hosts.is_named(URL(url), hosts.parse(hosts.line_for(URL(url))), None)
    assert hosts.line_for(URL("https://a.example.com/x")) == "a.example.com"
    assert hosts.line_for(URL("https://a.example.com:9000/x")) == "a.example.com:9000"
