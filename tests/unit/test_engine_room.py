"""What `make bench` counts, plays and concludes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import performance
from benchmarks.engine_room import bare
from benchmarks.engine_room.asked import LONGEST_STANDSTILL_SECONDS, Progress
from benchmarks.engine_room.client import APPLY, MERGE
from benchmarks.engine_room.controllers import pod_of_job_succeeds
from benchmarks.engine_room.driver import Place
from benchmarks.engine_room.processes import Memory
from benchmarks.engine_room.results import Delays, Idle, Phase, Run, Start
from benchmarks.engine_room.summary import document, rows, with_run
from benchmarks.machine import Machine
from tests.cluster.audit import Call, Follower
from tests.cluster.layout import Layout
from tftrt_operator.domain.record import parse_summary

MACHINE = Machine(2, "a processor", 24, "v1.37.0", "3.11.2")
PHASE = Phase(models=1000, seconds=8.0, driver_seconds=2.0, cpu_seconds={"operator": 7.0, "driver": 1.0})
START = Start(seconds=9.0, cpu_seconds=4.0, requests={"list pods": 3}, writes=0, memory=Memory(100.0, 110.0))
IDLE = Idle(minutes=6.0, requests={}, watches=9, cpu_seconds=0.1)
RUN = Run(
    build="this build",
    commit="abc1234",
    models=1000,
    namespaces=10,
    jobs=PHASE,
    servers=PHASE,
    bare_jobs=replace(PHASE, seconds=4.0),
    bare_servers=PHASE,
    bare_writes_a_model=5,
    writes_a_model_in_second_phase=5.0,
    cpu_milliseconds_a_model=20.0,
    cpu_milliseconds_a_model_in_second_phase=9.0,
    writes_a_model={"patch trtmodels/status": 4.0, "create jobs": 1.0},
    reads_a_model={"get trtmodels": 2.0},
    memory=Memory(now=110.0, peak=130.0),
    start=START,
    idle=IDLE,
    change_when_idle=Delays.of([0.01] * 200),
    change_while_others_convert=Delays.of([0.5] * 200),
    change_requests_while_others_convert=Delays.of([0.3] * 200),
    others=1000,
    load_before=0.1,
)
BASELINE = replace(RUN, build="baseline", commit="645c5b7", cpu_milliseconds_a_model=51.0)


def missed(run: Run) -> list[str]:
    return [row.what for row in rows(document(MACHINE, [BASELINE, run])) if not row.is_reached]


def test_rates_are_called_so_that_none_is_taken_for_the_other_builds() -> None:
    found = document(MACHINE, [BASELINE, RUN])
    assert (found["baseline"]["jobs"]["baseline_rate"], found["baseline"]["servers"]["baseline_rate"]) == (125.0, 125.0)
    assert (found["rows"][0]["jobs"]["models_per_second"], found["rows"][0]["servers"]["models_per_second"]) == (
        125,
        125,
    )
    assert "models_per_second" not in found["baseline"]["jobs"]
    assert json.loads(json.dumps(found)) == found


def test_a_run_that_is_good_enough_reaches_everything() -> None:
    assert missed(RUN) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"jobs": replace(PHASE, seconds=10.1)}, "all Jobs created"),
        ({"servers": replace(PHASE, seconds=10.1)}, "all Deployments"),
        ({"cpu_milliseconds_a_model": 20.5}, "CPU of the operator"),
        ({"cpu_milliseconds_a_model_in_second_phase": 10.1}, "in the second phase"),
        ({"writes_a_model": {"patch trtmodels/status": 10.1}}, "writes a model, from apply"),
        ({"memory": Memory(121.0, 121.0)}, "with all models Ready: resident"),
        ({"start": replace(START, memory=Memory(121.0, 121.0))}, "memory after a start"),
        ({"start": replace(START, cpu_seconds=20.1)}, "start with all models"),
        ({"start": replace(START, writes=1)}, "start with all models"),
        ({"change_when_idle": Delays.of([0.01] * 197 + [0.3] * 3)}, "nothing else to do"),
        ({"change_while_others_convert": Delays.of([1.1] * 200)}, "others are converted"),
        ({"idle": replace(IDLE, requests={"list trtmodels": 1})}, "requests a minute"),
    ],
)
def test_each_goal_can_be_missed(changed: dict[str, Any], words: str) -> None:
    (what,) = missed(replace(RUN, **changed))
    assert words in what


def test_the_second_phase_may_be_slow_where_a_bare_client_is_hardly_faster() -> None:
    slow = replace(RUN, servers=replace(PHASE, seconds=20.0))
    assert missed(replace(slow, bare_servers=replace(PHASE, seconds=17.0))) == []
    assert missed(replace(slow, bare_servers=replace(PHASE, seconds=15.0))) != []


def test_what_is_no_doing_of_the_operators_stands_beside_it_without_a_goal() -> None:
    told = {row.what: row for row in rows(document(MACHINE, [BASELINE, RUN]))}
    request = told["- until the API server has answered the change itself, p99, ms"]
    assert (request.figures, request.goal, request.reached) == (("300",), "", (None,))
    bare = [row.figures for row in rows(document(MACHINE, [BASELINE, RUN])) if row.what.startswith("- a bare client")]
    assert bare == [("250.0",), ("125.0",)]


def test_more_models_may_take_more_memory_and_of_more_than_that_nothing_is_said() -> None:
    assert missed(replace(RUN, models=10_000, memory=Memory(399.0, 399.0))) == []
    assert missed(replace(RUN, models=10_000, memory=Memory(401.0, 401.0))) != []
    assert missed(replace(RUN, models=20_000, memory=Memory(4000.0, 4000.0))) == []


def test_the_page_says_what_the_file_says(tmp_path: Path) -> None:
    run = replace(
        RUN, models=5000, servers=replace(PHASE, seconds=20.0), idle=replace(IDLE, requests={"list trtmodels": 36})
    )
    (tmp_path / "engine-room.json").write_text(json.dumps(document(MACHINE, [BASELINE, RUN, run])))
    page = performance.page(tmp_path)
    assert "| build, models | 645c5b7, 1,000 | abc1234, 1,000 | abc1234, 5,000 | reach |  |" in page
    assert "| 125.0 | 125.0 | 50.0 | >= 100, or 0.8 of the bare client | reached / missed |" in page
    assert "| 0 | 0 | 6 | 0 | reached / missed |" in page
    assert "| patch trtmodels/status | 4.0 | 4.0 | 4.0 |" in page
    assert "| get trtmodels | 2.0 | 2.0 | 2.0 |" in page


def test_builds_and_sizes_may_be_measured_one_after_the_other_and_each_part_is_kept_once_it_is_known(
    tmp_path: Path,
) -> None:
    found = document(MACHINE, [])
    cut = Run("this build", "abc1234", 5000, 10, 1000, 0.1, jobs=replace(PHASE, seconds=9.0))
    for run in (RUN, BASELINE, replace(RUN, models=5000, commit="older00"), cut):
        found = with_run(found, MACHINE, run)
    assert [row["models"] for row in found["rows"]] == [1000, 5000]
    assert found["rows"][1] == {
        "commit": "abc1234",
        "models": 5000,
        "namespaces": 10,
        "others": 1000,
        "load_before": 0.1,
        "jobs": found["rows"][1]["jobs"],
    }
    by_name = {row.what: row for row in rows(found)}
    assert by_name["applied -> all Jobs created, models/s"].reached == (True, True)
    assert by_name["start with all models Ready: CPU s / s until quiet / writes"].figures[1] == ""
    for parts in (found, document(MACHINE, [cut]), document(MACHINE, [BASELINE])):
        (tmp_path / "engine-room.json").write_text(json.dumps(parts))
        assert "applied -> all Jobs created" in performance.page(tmp_path)
    assert "| reached /  |" not in performance.page(tmp_path)


def test_what_comes_no_further_is_given_up_and_what_takes_long_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.engine_room.asked.time", SimpleNamespace(monotonic=lambda: now))
    progress = Progress("Jobs", 10_000)
    for done in range(10):
        now += LONGEST_STANDSTILL_SECONDS - 1
        progress.see(done)
    progress.see(9)
    now += LONGEST_STANDSTILL_SECONDS + 1
    with pytest.raises(TimeoutError, match="Jobs: 9 of 10000"):
        progress.see(9)


def test_delays_are_by_nearest_rank() -> None:
    found = Delays.of([number / 1000 for number in range(200, 0, -1)])
    assert (found.changes, found.p50, found.p99, found.worst) == (200, 100.0, 198.0, 200.0)


def logged(name: str, **changed: object) -> bytes:
    event = {
        "verb": "create",
        "user": {"username": "system:serviceaccount:tftrt-system:tftrt-operator"},
        "requestURI": "/api/v1/namespaces/default/services",
        "objectRef": {"resource": "services", "namespace": "default", "name": name},
        "responseStatus": {"code": 201},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.250000Z",
        "stageTimestamp": "2026-01-01T00:00:00.500000Z",
    }
    return json.dumps(event | changed).encode() + b"\n"


def test_the_audit_log_is_read_once_also_where_a_line_is_half_written_or_the_file_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFTRT_CLUSTER_ROOT", str(tmp_path))
    log = Layout(6).audit_log
    log.parent.mkdir(parents=True)
    line = logged("second")
    log.write_bytes(logged("first") + line[:40])
    follower = Follower(Layout(6))
    (first,) = follower.read()
    assert (first.name, first.status, first.answered - first.received) == ("first", 201, 0.25)
    with log.open("ab") as file:
        file.write(line[40:] + logged("third"))
    log.rename(log.with_name("audit-2026.log"))
    log.write_bytes(logged("fourth"))
    assert [call.name for call in follower.read()] == ["second", "third", "fourth"]
    assert list(follower.read()) == []


def call(verb: str, path: str, sent: object) -> Call:
    return Call("", verb, "", "", "", "", path, "", 200, True, 0.0, 0.0, sent)  # type: ignore[arg-type]


def test_a_bare_client_sends_what_the_operator_sent_about_other_models() -> None:
    labels = {"tftrt.dev/fingerprint": "f" * 32, "tftrt.dev/engine": "e" * 20}
    job = {"metadata": {"name": "mine-ffffffff-1234", "labels": labels}}
    model = {"metadata": {"uid": "my-uid", "name": "mine", "namespace": "home"}}
    sent = [
        call("create", "/namespaces/home/configmaps?fieldManager=o", {"name": "tftrt-" + "e" * 20, "of": "f" * 32}),
        call("patch", "/namespaces/home/services/mine?fieldManager=o&force=true", {"owner": "my-uid"}),
        call("patch", "/namespaces/home/jobs/mine-ffffffff-1234?fieldManager=o", {"ttl": 3600}),
    ]
    words = bare.words(job, model, {Place("away", "theirs"): "their-uid", Place("away", "others"): "other-uid"})
    (theirs, _) = bare.Writes.parse(bare.Writes.of(sent, words).text()).rows()
    create, apply, patch = theirs
    assert [one.method for one in (create, apply, patch)] == ["POST", "PATCH", "PATCH"]
    assert [one.content_type for one in (create, apply, patch)] == ["application/json", APPLY, MERGE]
    assert apply.path == "/namespaces/away/services/theirs?fieldManager=o&force=true"
    assert json.loads(apply.body) == {"owner": "their-uid"}
    assert patch.path.startswith("/namespaces/away/jobs/theirs-")
    record = json.loads(create.body)
    assert record["name"] != "tftrt-" + "e" * 20
    assert len(record["of"]) == 32
    assert "home" not in create.path
    assert "mine" not in patch.path


def test_the_played_pod_ends_with_a_summary_that_the_operator_takes() -> None:
    task = {
        "artifacts": {"uri": "pvc://models/tftrt"},
        "model": {"namespace": "home"},
        "fingerprint": "f" * 32,
        "runtime": {"name": "cpu", "tensorrt": ""},
        "conversion": {"batchSizes": [1, 8]},
    }
    template = {
        "metadata": {"annotations": {"tftrt.dev/spec": json.dumps(task)}},
        "spec": {"initContainers": [{"name": "fetch"}], "containers": [{"name": "publish"}]},
    }
    job = {"metadata": {"namespace": "home", "name": "job"}, "spec": {"template": template}}
    request = pod_of_job_succeeds(job)
    assert request.path.startswith("/api/v1/namespaces/home/pods/job-00000/status")
    status = json.loads(request.body)["status"]
    assert status["phase"] == "Succeeded"
    summary = parse_summary(status["containerStatuses"][0]["state"]["terminated"]["message"], "")
    assert summary is not None
    assert summary.fingerprint == "f" * 32
