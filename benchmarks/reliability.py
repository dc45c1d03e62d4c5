"""Writes docs/reliability.md from zero-loss.json, bad-requests.json and reliability.json in `results/`.

That is `make reliability-results`. A unit test holds the page to be just what this makes of the files: no figure in it
is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reliability.md"
MEGABYTES_A_ROW = 224 * 224 * 3 / 1e6

HEAD = """# Reliability

Written by `make reliability-results` from [zero-loss.json](../benchmarks/results/zero-loss.json),
[bad-requests.json](../benchmarks/results/bad-requests.json) and
[reliability.json](../benchmarks/results/reliability.json), which `make zero-loss`, `make bad-requests` and `make
reliability` wrote; a test fails when page and files differ.
"""

ZERO_LOSS = """## No request is lost

On the embedded cluster, the operator installed by Helm, a model of uint8 images was served on the CPU by two replicas,
and twelve clients asked its Service all the time, each in a process of its own with one connection, and on it one call
at a time. None of our own code asks twice: any error, any wrong answer and any call of more than {longest:.0f} s is a
failure. Libraries do: tritonclient's HTTP sends a request again by itself where the connection that it had kept was
closed before an answer began, and its gRPC a call of which the server says that it has not seen it. `httpx`, which
keeps its connection, and `grpc`, a plain channel with gRPC's own retries switched off, send nothing again: they ask
most, and of them alone there are 20,000 and more in each row, of which 3,000 of 5 MB and 500 of 19 MB.
"""
LONGEST_SECONDS = 60.0
REPEATS_NOTHING = ("httpx", "grpc")

IN_PLACE = """## A rollout in place

With one replica, on the only GPU of the cluster (which is played: [decision
34](decisions/0034-a-second-node-and-a-gpu-that-is-played.md)), `rollout.strategy: Surge` waits for another GPU and says
`InsufficientGPU`. `InPlace` goes on without one, and costs the time from the end of one server until the next one is
ready: in {times} rollouts {failures:,} of {requests:,} requests failed, for at most {unanswered} s at a time, of at
most {replaced} s from the change until the new server answered.
"""

BAD_REQUESTS = """## Bad requests

`tftrt serve` on the CPU with a model of four inputs, one of them text, got {requests:,} bad requests in {minutes:.0f}
minutes (commit {commit}, {cores} cores, Python {python}). What came of each:
"""

TOGETHER = """When this was measured a model with a text input was served without batching, by Triton's Python
backend: each of these requests was a call of its own. They are put together with others now
([metrics](metrics.md#text)).
"""

MEMORY = """The resident memory of the server's processes, and by how much it grew, by least squares over all but the
first quarter. On Python 3.11 it is some 26 MiB an hour more for the process that holds the model ([decision
35](decisions/0035-clients-count-lost-requests.md)).
"""

GREW = """{process} grew: from {first} to {last} MiB in {minutes:.0f} minutes, of which {soon:.1f} in the first one,
and after the first quarter still by {slope} MiB an hour, while it went up and down between {least} and {most} MiB. That
memory does not grow is true of it within that alone. What takes the memory, and whether it would stop in a longer run,
is not known.
"""
GREW_BY = 5.0
"""MiB an hour from which a process has its own sentence; in decision 35 is what the model's grows by, and why."""

OWN = """Some of these answers are not the project's, and would be others if they were: tritonserver says 500 over HTTP
to what it cannot read as a request, and gRPC says INTERNAL to a message that is no protobuf, both before a model is
asked.
"""

FAULTS = """## No fault between the operator and the API server changes the end

`make reliability` plays scenarios of a model's life on a real API server, {atOnce} at a time, each in a namespace of
its own with an operator of its own, a process that knows of no other namespace. A proxy between the two does one thing
wrong in each run, at a write, a question or an event that takes turns. The end has to be that of the scenario without a
fault, object by object and with as many Jobs, a second pass has to write nothing, and no model may have been said to be
Ready, or to be stalled, that was not. Timers of minutes are shortened to seconds
([table](../tests/reliability/timers.py)); operators are forked from a process that has loaded their modules; Jobs,
Deployments, pods and garbage collection are played. Of {runs:,} runs in {minutes:.0f} minutes the fault came in
{fired:,}, {kills} of them with `kill -9`; {failures} failed.
"""

OLDER_BUILD = """### What the same harness says of an older build

`python -m tests.reliability --baseline` ran some of it on {commit}, of which it was known that what fails for long is
never told, that two Jobs can be made for one engine, and that a list that comes late makes it take its own Job for
somebody else's. Of {runs} runs the fault came in {fired}, and {failures} failed:
"""

LEADER = """## The leader may die

Of two replicas the one that acted was ended by `kill -9` {kills} times, while {models} models were converted, and
another was started in its place. A replica acted again {median} s after the kill in the middle, and {longest} s at
most. {jobs} Jobs were made, and the end was object by object that of the same {models} models without a kill.
"""


def page(results: Path) -> str:
    """The whole page; a part whose file is not there is left out."""
    parts = [HEAD]
    for name, part in (("zero-loss", _zero_loss), ("bad-requests", _bad_requests), ("reliability", _faults)):
        if (file := results / f"{name}.json").exists():
            parts += part(json.loads(file.read_text()))
    return "\n".join(parts)


def _zero_loss(result: dict[str, Any]) -> Iterable[str]:
    if in_place := result.get("inPlace"):
        yield IN_PLACE.format(**in_place, **_longest(in_place))
        yield f"Measured on {_where(in_place)}.\n"
    events = result["events"]
    if not events:
        return
    yield ZERO_LOSS.format(longest=LONGEST_SECONDS)
    yield _table(
        (
            "what was done",
            "times",
            "in s",
            "requests",
            "of 5 MB",
            "of 19 MB",
            "of them by httpx and grpc",
            "of 5 MB",
            "of 19 MB",
            "failures",
            "longest call s",
        ),
        [(event, told["times"], told["seconds"], *_sums(told["clients"])) for event, told in events.items()],
    )
    yield "By client:\n"
    yield _table(
        ("what was done", "client", "MB a request", "requests", "failures", "longest call s"),
        [
            (
                event,
                row["client"],
                f"{row['rows'] * MEGABYTES_A_ROW:.1f}",
                f"{row['requests']:,}",
                len(row["failures"]),
                row["longestSeconds"],
            )
            for event, told in events.items()
            for row in told["clients"]
        ],
    )
    seen = sorted({_where(told) for told in events.values()})
    yield "Measured on " + "; ".join(seen) + ".\n"


def _longest(in_place: dict[str, Any]) -> dict[str, object]:
    return {
        "times": len(in_place["replacedSeconds"]),
        "unanswered": max(in_place["unansweredSeconds"]),
        "replaced": max(in_place["replacedSeconds"]),
    }


def _sums(clients: Sequence[dict[str, Any]]) -> Sequence[object]:
    def requests(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        sizes: tuple[tuple[int, ...], ...] = ((1, 32, 128), (32,), (128,))
        return tuple(f"{sum(row['requests'] for row in rows if row['rows'] in size):,}" for size in sizes)

    plain = [row for row in clients if row["client"] in REPEATS_NOTHING]
    failures = sum(len(row["failures"]) for row in clients)
    return *requests(clients), *requests(plain), failures, max(row["longestSeconds"] for row in clients)


def _where(told: dict[str, Any]) -> str:
    machine = told["machine"]
    return (
        f"{machine['cores']} cores of {machine['processor']} with Kubernetes {machine['kubernetes']}, which clients "
        f"and servers shared, {told['finishedAt'][:10]}, commit {_commit(told)}"
    )


def _commit(told: dict[str, Any]) -> str:
    """What was run: git's hash, and in words the + that says that it was not quite that."""
    hash_, plus, _ = str(told["commit"]).partition("+")
    return f"{hash_} with changes that were not committed" if plus else hash_


def _bad_requests(result: dict[str, Any]) -> Iterable[str]:
    yield BAD_REQUESTS.format(
        requests=result["requests"],
        minutes=result["seconds"] / 60,
        commit=_commit(result),
        cores=result["machine"]["cores"],
        python=result["machine"]["python"],
    )
    cases = result["cases"]
    yield _table(
        ("kind", "HTTP", "gRPC"),
        [
            (
                kind,
                *(
                    _answers(case for case in cases if (case["kind"], case["protocol"]) == (kind, one))
                    for one in ("HTTP", "gRPC")
                ),
            )
            for kind in dict.fromkeys(case["kind"] for case in cases)
        ],
    )
    yield OWN
    yield _table(
        ("kind", "which", "protocol", "answer", "whose"),
        [
            (case["kind"], case["variant"], case["protocol"], case["expected"], case["own"])
            for case in cases
            if case["own"]
        ],
    )
    yield "Beside them honest clients asked questions of their own, and every answer was compared with the right one:\n"
    yield _table(
        ("protocol", "clients", "requests", "failures or wrong answers", "longest call s"),
        [
            (row["protocol"], row["clients"], f"{row['requests']:,}", row["failures"], row["longestSeconds"])
            for row in result["honest"]
        ],
    )
    yield TOGETHER
    yield MEMORY
    yield _table(
        ("process", "at first MiB", "at last MiB", "MiB an hour"),
        [(row["process"], row["atFirst"], row["atLast"], f"{row['mebibytesAnHour']:+}") for row in result["memory"]],
    )
    yield from (_grew(row, result["seconds"] / 60) for row in result["memory"] if row["mebibytesAnHour"] >= GREW_BY)


def _grew(row: dict[str, Any], minutes: float) -> str:
    minute = row["eachMinute"]
    later = minute[len(minute) // 4 :]
    return GREW.format(
        process=row["process"],
        first=row["atFirst"],
        last=row["atLast"],
        minutes=minutes,
        soon=minute[1] - minute[0],
        slope=row["mebibytesAnHour"],
        least=min(later),
        most=max(later),
    )


def _faults(result: dict[str, Any]) -> Iterable[str]:
    if (leader := result.get("leader")) is not None:
        took = sorted(leader["takeOverSeconds"])
        yield LEADER.format(**leader, median=took[len(took) // 2], longest=took[-1])
        yield f"Measured on {_where(leader)}.\n"
    if (faults := result.get("faults")) is None:
        return
    cells = faults["cells"]
    failures = sum(cell["failures"] for cell in cells)
    yield FAULTS.format(**faults, failures=failures, minutes=faults["seconds"] / 60)
    scenarios = tuple(dict.fromkeys(cell["scenario"] for cell in cells))
    yield _table(
        ("runs / fired / failures", *scenarios),
        [
            (fault, *(f"{one['runs']} / {one['fired']} / {one['failures']}" for one in cells if one["fault"] == fault))
            for fault in dict.fromkeys(cell["fault"] for cell in cells)
        ],
    )
    yield f"Measured on {_where(faults)}.\n"
    if (older := result.get("baseline")) is not None:
        failed = [cell for cell in older["cells"] if cell["failures"]]
        yield OLDER_BUILD.format(**older, failures=sum(cell["failures"] for cell in failed))
        yield _table(
            ("fault", "scenario", "runs", "fired", "failures", "such as"),
            [
                (*(cell[name] for name in ("fault", "scenario", "runs", "fired", "failures")), _why(cell))
                for cell in failed
            ],
        )
        yield f"Measured on {_where(older)}.\n"


def _why(cell: Mapping[str, Any]) -> str:
    """The shortest sentence on what was wrong: others have whole objects in them."""
    return min((str(why) for one in cell["why"] for why in one["why"]), key=len)


def _answers(cases: Iterable[dict[str, Any]]) -> str:
    """The answers of a kind over a protocol with how many there were."""
    counts: dict[str, int] = {}
    for case in cases:
        for code, count in case["answers"].items():
            counts[code] = counts.get(code, 0) + count
    return ", ".join(f"{code} ({count:,})" for code, count in counts.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(HERE / "results"))
