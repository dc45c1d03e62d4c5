from decimal import Decimal
from random import Random

import pytest

from tftrt_operator.api.quantity import quantity_bytes, quantity_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4G", 4_000_000_000),
        ("4Gi", 4 * 2**30),
        ("512Mi", 512 * 2**20),
        ("1e9", 10**9),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("250m", Decimal("0.25")),
        ("1.5Gi", Decimal("1.5") * 2**30),
        ("12000000000", 12_000_000_000),
    ],
)
def test_a_quantity_has_its_exact_value(text: str, value: Decimal) -> None:
    assert quantity_value(text) == value


def test_a_part_of_a_byte_counts_as_a_whole_one() -> None:
    assert quantity_bytes("1500m") == 2


@pytest.mark.parametrize("text", ["", "4 GB", "G", "1e", "--1", "4gib"])
def test_what_is_no_quantity_is_refused_with_examples_of_some(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity: write a number with a unit such as 4G"):
        quantity_value(text)


@pytest.mark.parametrize(
    "text", ["1e999999", "1e9999999999", "1E-100", "9" * 33, "1" * 100_000, "1e1000000000000000000"]
)
def test_what_would_take_long_to_compute_is_refused_at_once_in_few_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity") as told:
        quantity_bytes(text)
    assert len(str(told.value)) < 150


@pytest.mark.parametrize("text", ["1e99", "9" * 32, "16E", "8Ei", "9223372036854775807"])
def test_more_than_kubernetes_holds_counts_as_the_most_that_it_does(text: str) -> None:
    assert quantity_bytes(text) == 2**63 - 1


def test_no_scalar_raises_anything_but_a_value_error() -> None:
    random = Random(7)
    for _ in range(20_000):
        text = "".join(random.choice("0123456789eE+-.kKmMiGn ") for _ in range(random.randint(0, 40)))
        try:
            quantity_bytes(text)
        except ValueError:
            continue
