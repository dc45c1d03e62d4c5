"""What the operator tells Prometheus is what docs/metrics.md says, and has no label that a tenant chooses."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tftrt_operator.controller.metrics import Metrics, Now
from tftrt_operator.domain.milestones import BecameReady, ConversionEnded
from tftrt_operator.domain.verdict import Standing

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
LABELS = {"outcome", "result", "reason", "method", "code", "kind", "standing", "le"}


def told(*, leads: bool = True) -> Metrics:
    metrics = Metrics()
    metrics.watch(lambda: Now(leads, 3, 1.5, {Standing.READY: 2, Standing.STALLED: 1}))
    metrics.passed("Done", 0.02)
    metrics.requested("GET", 200)
    metrics.refused("Job", 403)
    metrics.reached(ConversionEnded(True, "Converted"))
    metrics.reached(BecameReady(150.0))
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_it_counts_what_it_is_told() -> None:
    found = samples(told())
    assert found["tftrt_operator_reconcile_duration_seconds_count", (("outcome", "Done"),)] == 1
    assert found["tftrt_operator_api_requests_total", (("code", "200"), ("method", "GET"))] == 1
    assert found["tftrt_operator_writes_refused_total", (("code", "403"), ("kind", "Job"))] == 1
    assert found["tftrt_operator_conversions_total", (("reason", "Converted"), ("result", "Succeeded"))] == 1
    assert found["tftrt_operator_time_to_ready_seconds_sum", ()] == 150
    assert (found["tftrt_operator_queue_depth", ()], found["tftrt_operator_queue_oldest_seconds", ()]) == (3, 1.5)
    assert found["tftrt_operator_models", (("standing", "Ready"),)] == 2
    assert found["tftrt_operator_models", (("standing", "Reconciling"),)] == 0


def test_models_are_counted_by_the_replica_that_acts_alone() -> None:
    found = samples(told(leads=False))
    assert found["tftrt_operator_leader", ()] == 0
    assert not [name for name, _ in found if name == "tftrt_operator_models"]


def test_every_metric_has_a_help_text_and_labels_of_few_values() -> None:
    families = list(text_string_to_metric_families(told().exposition().decode()))
    assert all(family.documentation for family in families)
    assert {label for family in families for one in family.samples for label in one.labels} <= LABELS


def test_the_page_names_every_metric_and_no_other() -> None:
    families = text_string_to_metric_families(told().exposition().decode())
    suffix = {"counter": "_total"}
    ours = {family.name + suffix.get(family.type, "") for family in families if not family.name.endswith("_created")}
    documented = set(re.findall(r"^\| `(tftrt_operator_\w+)", PAGE.read_text(), re.MULTILINE))
    assert documented == ours
