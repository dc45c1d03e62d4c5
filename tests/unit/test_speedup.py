"""A speed-up is what a client can have, from the converter's measurements to the gate and the columns.

The converter's part and the operator's are here as they are: `tftrt_runtime/benchmark/rows.py` makes the figure,
`tftrt_runtime/contract/termination.py` tells it, and `domain/` judges and shows it.
"""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrt_operator.api.crd import custom_resource_definition
from tftrt_operator.api.verification import Verification
from tftrt_operator.domain.gates import judge
from tftrt_operator.domain.record import Summary, parse_summary
from tftrt_operator.domain.speed import clients_speedup, devices_speedup

from .builders import summary, trtmodel

CONVERTER = Path(__file__).parents[2] / "converter_image"
MODEL = trtmodel()
FOLDER = "pvc://models/tftrt/default/engine"


@pytest.fixture(scope="module")
def converter() -> Any:
    """The converter's modules that make and tell the figures."""
    sys.path.append(str(CONVERTER))
    try:
        return SimpleNamespace(
            rows=importlib.import_module("tftrt_runtime.benchmark.rows"),
            termination=importlib.import_module("tftrt_runtime.contract.termination"),
        )
    finally:
        sys.path.remove(str(CONVERTER))


rates = st.floats(1e-3, 1e7)
microseconds = st.integers(1, 10**8)


@st.composite
def measurements(draw: Any) -> list[dict[str, Any]]:
    """Rows as a GPU gives them, some of which there was no time or memory for; the device's may be of any speed."""
    ways = ["Converted", "Native", *draw(st.sampled_from([[], ["FP32"]]))]
    found = [
        {
            "way": way,
            "batchSize": size,
            "input": place,
            "inFlight": in_flight,
            "itemsPerSecond": draw(rates),
            "p50Microseconds": draw(microseconds),
            "p99Microseconds": 10**9,
            "calls": 3,
        }
        for way in ways
        for size in (1, 32)
        for place in draw(st.sampled_from([("Host",), ("Device", "Host")]))
        for in_flight in range(1, draw(st.integers(1, 5)) + 1)
    ]
    shuffled: list[dict[str, Any]] = draw(st.permutations(found))
    return shuffled


def told(converter: Any, rows: list[Any]) -> Summary | None:
    """What the operator reads of a conversion with these measurements."""
    whole = summary(MODEL).model_dump(by_alias=True, mode="json")
    known = {name: value for name, value in whole.items() if name in converter.termination.Summary.model_fields}
    made = converter.termination.Summary.model_validate(known | {"benchmark": converter.rows.summary(rows)})
    return parse_summary(converter.termination.of_summary(made), FOLDER)


@settings(max_examples=200, deadline=None)
@given(measured=measurements(), least=st.decimals("0.01", "1000", places=2))
def test_what_is_judged_is_never_faster_than_what_was_measured_from_the_host(
    converter: Any, measured: list[dict[str, Any]], least: Any
) -> None:
    rows = [converter.rows.Row.model_validate(one) for one in measured]
    found = told(converter, rows)
    assert found is not None
    assert found.benchmark is not None
    of_host = {(row.way, row.inFlight): row for row in rows if (row.input, row.batchSize) == ("Host", 32)}
    in_flight = found.benchmark.in_flight
    converted, native = of_host["Converted", in_flight], of_host["Native", in_flight]
    exact = converted.itemsPerSecond / native.itemsPerSecond
    speedup = float(clients_speedup(found) or "nan")
    assert exact - 0.011 <= speedup <= exact * (1 + 1e-9)
    assert 1 <= converted.inFlight == native.inFlight <= converter.rows.AS_SERVED, "no more than a server has"
    passes = judge(Verification.model_validate({"minSpeedup": str(least)}), found) is None
    assert passes == (speedup >= float(least))

    others = [row if row.input == "Host" else row.model_copy(update={"itemsPerSecond": 1e9}) for row in rows]
    without_device = told(converter, [row for row in rows if row.input == "Host"])
    for same in (told(converter, others), without_device):
        assert same is not None
        assert clients_speedup(same) == clients_speedup(found), "whatever the device does"
    assert without_device is not None
    assert devices_speedup(without_device) is None


def test_the_column_is_what_a_client_can_have_and_none_is_of_the_device() -> None:
    (version,) = custom_resource_definition()["spec"]["versions"]
    columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
    assert columns["Speedup"] == ".status.conversion.speedup"
    assert not [path for path in columns.values() if "OnDevice" in path]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conversion"]["properties"]
    assert "as a client can have it" in status["speedup"]["description"]
    assert "no client over the network has" in status["speedupOnDevice"]["description"]
