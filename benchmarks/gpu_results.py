"""Writes docs/gpu-results.md from the files under `results/`, which `gpu/run.py` printed on a GPU (`make gpu-results`).

A unit test holds the page to be just what this makes of the files: no figure in it is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import independence_results, memory_results, served_results
from benchmarks.tables import table

# Place of the input, batch size and calls in flight.
Key = tuple[str, int, int]
# What was measured, by the way to run the model.
Timed = dict[str, dict[Key, dict[str, Any]]]
Goal = tuple[str, str, str, float]

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "gpu-results.md"

# In the order of the columns. A file is <model>-<step>.json; `run.py` says what the steps are.
WAYS = {
    "time-native-fp32": "TensorFlow FP32",
    "time-native-tf32": "TensorFlow TF32",
    "time-FP32": "TF-TRT FP32",
    "time-FP16": "TF-TRT FP16",
    "time-INT8": "TF-TRT INT8",
    "time-onnx": "TensorRT FP16",
}
BASELINE, PURE, PURE_PRECISION = "time-native-fp32", "time-onnx", "FP16"
LONGEST_LAYERS = 8
LEADS_NEED = {"firstAnswerSeconds": "first answer after s", "outsideThePoolMiB": "outside the pool MiB"}
CALL_PARTS = {
    "call": "the call",
    "beforeTheGPUWorks": "before the GPU works",
    "working": "the GPU works",
    "idleInBetween": "it is idle in between",
    "afterTheGPUWorked": "after it worked",
}
PRECISIONS = ("FP32", "FP16", "INT8")
ACCURACIES = ("native", *PRECISIONS)
# Ratio, of which way, to which other one, at least: the project's own goals for batches 32 and 128.
GOALS = (
    ("FP16 at least 8 x true FP32", "time-FP16", BASELINE, 8.0),
    ("INT8 at least 10 x true FP32", "time-INT8", BASELINE, 10.0),
    ("FP16 at least 0.9 x pure TensorRT FP16", "time-FP16", PURE, 0.9),
)
MEMORY = "memory"  # what servers take, by `gpu/memory.py`
INDEPENDENCE = "independence"  # of a batch's items, by `gpu/independence.py`
SERVED = "served"  # what clients get, by `gpu/served.py`
GOAL_MODEL, GOAL_BATCHES = "resnet50", (32, 128)

HEAD = """# GPU results

Written by `make gpu-results` from the JSON files in [benchmarks/results](../benchmarks/results), which
`benchmarks/gpu/run.py` printed on the GPU named; a test fails when page and files differ. TensorFlow FP32 is true FP32:
TF32 is switched off. Every way runs in a process of its own, warm, the median of three rounds; the result is copied to
host memory at every call. "In flight" is how many threads call at a time. "x" is against TensorFlow FP32 in that row.
Rows whose input is on the device, and the goals that are made of them, tell what an engine does. No client over the
network has that: those with the input in host memory are nearer to it, and the sections on serving are it
([decision 48](decisions/0048-a-speed-up-is-what-a-client-can-have.md)).

The number after a folder's name is the run's. From run 5 on, two or three calls of a converted model are computed on
two CUDA streams, as by its server where the memory allows ([decision 13](decisions/0013-a-stream-for-each-batch.md));
TensorFlow has one, unless a lead says otherwise. The pure TensorRT engine and the engine alone have one for each call.

The figures "served" of run 1 were made with a queue policy that has gone since
([decision 7](decisions/0007-no-queue-policy.md)): it made Triton wait for half a second at a time.

The FP16 engines of run 3 had the padding of the first convolution folded into a kernel of 8 x 8, which made them slower
than those of run 2 and has gone since ([decision 10](decisions/0010-padding.md)). Run 4 is the
first with what took its place, and tried what might be lost in biases and batch normalisation: nothing is.

Runs 7 and 8 had a machine with four cards, on each of which something was converted or timed all the time: what a call
costs the processors is more than in runs 4 to 6. In run 7 padding before max pooling had become a part of it, for which
TF-TRT cut ResNet-50 and DenseNet121 into two engines; that has gone since ([decision 10](decisions/0010-padding.md)).
Run 8 is the code before, on the card of run 7's ResNet-50, right after it. Two processes of run 7's leads failed, which
timed several streams in pools that grow, as nothing does now
([decision 15](decisions/0015-neighbours-on-the-device.md)). The Transformer was compared on made-up tokens, of which
there are two ([decision 14](decisions/0014-layer-normalization.md)).

Run 9 had four cards, too, each with a benchmark of its own. There the Transformer was compared on tokens of its whole
vocabulary. Padding before max pooling was still a layer of its own in it; the "stems" are the ways to be rid of it.

Run 10 had four cards. Padding before max pooling is a part of it there. The parts of the Transformer show what was
wrong with its answers in runs 2, 7 and 9: TensorRT answers an equation of its attention wrongly
([decision 17](decisions/0017-einsum.md)). So the Transformer's rows of those runs are of engines that compute something
else.

Run 11 had four cards, one with the tests of `tests/gpu` on it, and called a model by its function's name unless a lead
says otherwise. Run 12 called by an operation ([decision 18](decisions/0018-quick-calls.md)). ResNet-50's ways in its
first tables were timed one after the other with nothing else on the machine: FP16 and the pure engine as run 11 had
built them, INT8 as run 12 had beside other work. The Transformer's parts were stopped there when the time was over.

Run 13 held servers to their memory. INT8 and a budget of 40 GB are missing: the conversion to INT8 had not ended when
its time was over, and may have run on beside the neighbours' first minutes. The third neighbour was asked for too
little to be refused: a server reserves its pool, and not the workspace that `gpu.memory` leaves beside it. Clients
there are four Python threads, which send float32 inline: images/s are theirs, and not the engines'.

Run 14 is what was missing of run 13. All three precisions were converted for batches of 32, at most two of them
building engines at a time; nothing of a conversion was shortened. The load of the budgets is that of run 13: images/s
there are the clients'. The neighbours were asked through system shared memory by twice as many threads, in two
processes each, and answered more than four times as many images; each was alone for 10 s, and a third server came last,
both of which the commit's code was told by hand. Still the device is not what they share: its driver saw a kernel in
31 % of the time. (The FP16 engine had 27,600 images/s with its input on the device and 7,300 with it in host memory,
beside another conversion.) So their shares tell what a neighbour costs where the host is the limit.

Run 15 tells what a neighbour costs where the device is: ResNet-50 enlarges its images itself, so that items are few
bytes and much to compute. Its change of precision is asked for by clients whose libraries send nothing again, in one
process for each row of the table but for `httpx` and `grpc`, of which there are two.

Run 16 is the first of what clients get by a backend of our own
([decision 50](decisions/0050-a-backend-of-our-own.md)). It was ended by its limit: the build before was not asked, nor
were 256 clients, and the engine in process was timed after it, in a second run on the same card. Two other conversions
ran on the machine's other card meanwhile.

![ResNet-50 before and after: 233 nodes become one engine](graph-before-after.png)

The picture is from the report that the conversion of run 2 wrote.
"""


def page(results: Path) -> str:
    """The whole page."""
    parts = [HEAD]
    runs = {int(path.name.rpartition("-")[2]): path for path in results.iterdir() if path.is_dir()}
    for _, folder in sorted(runs.items(), reverse=True):
        files = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
        any_file = next(iter(files.values()))
        parts.append(f"## {any_file['device']['name']}: {folder.name}\n\n{_versions(files.values())}\n")
        for model in sorted({name.split("-")[0] for name in files}):
            steps = {
                name.removeprefix(f"{model}-"): file for name, file in files.items() if name.startswith(f"{model}-")
            }
            sections = {
                MEMORY: memory_results.section,
                INDEPENDENCE: independence_results.section,
                SERVED: served_results.section,
            }
            parts += sections[model](steps) if model in sections else _model(model, steps)
    return "\n".join(parts)


def _versions(files: Iterable[dict[str, Any]]) -> str:
    found = sorted(
        {
            f"TensorFlow {file['versions']['tensorflow']}, TensorRT {file['device']['tensorrt']}, "
            f"driver {file['device']['driver']}, {file['finishedAt'][:10]}, commit {file['commit']}"
            for file in files
        }
    )
    return "; ".join(found) + "."


def _model(model: str, steps: dict[str, Any]) -> Iterable[str]:
    yield f"### {model}\n"
    converted = {
        precision: steps[f"convert-{precision}"]
        for precision in PRECISIONS
        if "summary" in steps.get(f"convert-{precision}", {})
    }
    if converted:
        yield table(
            (
                "precision",
                "engines",
                "operations in engines",
                "seconds",
                "largest relative error",
                "top-1 agreement",
                "artifact MB",
                "weights MiB",
                "peak of the pool MiB",
                "outside the pool MiB",
            ),
            [_conversion(precision, file) for precision, file in converted.items()],
        )
    accuracy = [_accuracy(what, steps[f"accuracy-{what}"]) for what in ACCURACIES if f"accuracy-{what}" in steps]
    if accuracy:
        yield "On held-out data, which neither training nor calibration saw:\n"
        yield table(("", "right answers", "accuracy"), accuracy)
    for step, file in steps.items():
        if "error" in file:
            yield f"`{step}` failed: {_first_sentence(file['error'])}\n"
    for words, timed in _together(steps):
        yield from _speeds(words, timed, GOALS if model == GOAL_MODEL else ())
    for precision in PRECISIONS:
        for step in ("leads", "stems"):
            if f"{step}-{precision}" in steps:
                yield from _leads(precision, steps[f"{step}-{precision}"]["leads"])
        if f"parts-{precision}" in steps:
            yield from _parts(precision, steps[f"parts-{precision}"]["parts"])
        if f"serve-{precision}" in steps:
            yield from _served(precision, steps[f"serve-{precision}"])


def _together(steps: dict[str, Any]) -> Iterable[tuple[str, Timed]]:
    """What was measured side by side, with the words for it: by a step for each way, or by each conversion."""
    apart = {way: _rows(steps[way]["rows"]) for way in WAYS if way in steps and "rows" in steps[way]}
    if set(apart) - {PURE}:
        yield "", apart
        apart = {}
    for precision in PRECISIONS:
        rows = steps.get(f"convert-{precision}", {}).get("rows", ())
        if rows:
            ways = {"fp32": BASELINE, "tf32": "time-native-tf32", "converted": f"time-{precision}"}
            timed = {step: _rows(row for row in rows if row["way"] == way) for way, step in ways.items()}
            if precision == PURE_PRECISION:
                timed, apart = timed | apart, {}
            yield f" ({precision})", timed
    if apart:
        yield "", apart


def _speeds(words: str, timed: Timed, wanted: Sequence[Goal]) -> Iterable[str]:
    """The tables of one of them."""
    for place, where in (("device", "input on the device"), ("host", "input in host memory")):
        rows = sorted({key for measured in timed.values() for key in measured if key[0] == place})
        ways = [way for way in timed if any(key in timed[way] for key in rows)]
        if rows:
            yield f"Items/s, {where}{words}:\n"
            yield table(
                ("batch", "in flight", *(WAYS[way] for way in ways)),
                [
                    (batch, flight, *(_speed(timed, way, (place, batch, flight)) for way in ways))
                    for _, batch, flight in rows
                ],
            )
    goals = list(_goals(timed, wanted))
    if goals:
        yield f"Against the goals, input on the device{words}:\n"
        yield table(("goal", "batch", "in flight", "measured", ""), goals)


def _leads(precision: str, leads: Sequence[dict[str, Any]]) -> Iterable[str]:
    """What might make it faster: images a second, and what the process needs."""
    yield f"What each lead gives, {precision}, input on the device, images/s with 1, 2 and 3 calls in flight:\n"
    calls = [lead["calls"] for lead in leads if lead.get("calls")]
    leads = [lead for lead in leads if "calls" not in lead]
    sizes = sorted({row["batchSize"] for lead in leads for row in lead.get("rows", ())})
    needs = {key: words for key, words in LEADS_NEED.items() if any(key in lead for lead in leads)}
    yield table(
        ("lead", *(f"batch {size}" for size in sizes), *needs.values()),
        [
            (lead["name"], *(_in_flight(lead, size) for size in sizes), *(lead.get(key, "") for key in needs))
            for lead in leads
        ],
    )
    for profile in calls:
        yield f"Where the time of one call goes while TensorFlow profiles it, {precision}, median microseconds:\n"
        parts = {key: words for key, words in CALL_PARTS.items() if any(key in call for call in profile.values())}
        yield table(
            ("batch", *parts.values()),
            [(size, *(f"{call[key]:,.0f}" for key in parts)) for size, call in profile.items()],
        )
    for lead in leads:
        for size, layers in lead.get("layers", {}).items():
            total = sum(layers.values())
            yield f"The engine's longest layers at batch {size}, {lead['name']}, of {total:,.0f} us in all:\n"
            yield table(
                ("layer", "us", "share"),
                [(name, f"{us:.0f}", f"{us / total:.1%}") for name, us in list(layers.items())[:LONGEST_LAYERS]],
            )


def _parts(precision: str, parts: Sequence[dict[str, Any]]) -> Iterable[str]:
    """How far each part of a network is from true FP32."""
    yield (
        f"How far parts of it are from TensorFlow FP32, each converted to {precision} by itself: the largest error "
        "relative to the largest value, and the root of the mean square error relative to that of the values:\n"
    )
    yield table(
        ("part", "TensorRT, largest", "mean square", "TensorFlow FP16, largest", "mean square"),
        [
            (part["name"], "failed", "", "", "")
            if "error" in part
            else (
                part["name"],
                *(part[way][which] for way in ("engine", "half") for which in ("largest", "meanSquare")),
            )
            for part in parts
        ],
    )


def _in_flight(lead: dict[str, Any], size: int) -> str:
    if "error" in lead:
        return "failed"
    return ", ".join(f"{row['imagesPerSecond']:,.0f}" for row in lead["rows"] if row["batchSize"] == size)


def _conversion(precision: str, file: dict[str, Any]) -> Sequence[object]:
    summary, mib = file["summary"], 2**20
    verification, memory = summary["verification"], summary["memory"]
    return (
        precision,
        summary["engines"],
        f"{summary['convertedOps']} of {summary['totalOps']}",
        round(file["seconds"]),
        verification["maxRelativeError"] or "not measured",
        verification["top1Agreement"] or "none",
        round(summary["artifactBytes"] / 1e6),
        round(memory["weightsBytes"] / mib),
        round(memory["peakBytes"] / mib),
        round(memory["overheadBytes"] / mib),
    )


def _accuracy(what: str, file: dict[str, Any]) -> Sequence[object]:
    name = "TensorFlow FP32" if what == "native" else f"TF-TRT {what}"
    return name, f"{file['right']} of {file['samples']}", f"{100 * file['accuracy']:.2f} %"


def _first_sentence(error: str) -> str:
    told = error.partition("'message': '")[2] or error
    return told.partition(". ")[0] + "."


def _rows(rows: Iterable[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    return {(row["input"], row["batchSize"], row["inFlight"]): row for row in rows}


def _speed(timed: Timed, way: str, key: Key) -> str:
    row = timed[way].get(key)
    if row is None:
        return ""
    baseline = timed.get(BASELINE, {}).get(key)
    ratio = f" ({row['imagesPerSecond'] / baseline['imagesPerSecond']:.1f} x)" if baseline and way != BASELINE else ""
    return f"{row['imagesPerSecond']:,.0f}{ratio}"


def _goals(timed: Timed, wanted: Sequence[Goal]) -> Iterable[Sequence[object]]:
    for words, way, other, least in wanted:
        if way not in timed or other not in timed:
            continue
        for batch in GOAL_BATCHES:
            for flight in sorted({key[2] for key in timed[way] if key[:2] == ("device", batch)}):
                key = ("device", batch, flight)
                if key in timed[other]:
                    ratio = timed[way][key]["imagesPerSecond"] / timed[other][key]["imagesPerSecond"]
                    yield words, batch, flight, f"{ratio:.2f} x", "reached" if ratio >= least else "**missed**"


def _served(precision: str, file: dict[str, Any]) -> Iterable[str]:
    taken = (file["usedBytes"]["afterLoad"] - file["usedBytes"]["before"]) // 2**20
    yield (
        f"Served by Triton, {precision}, memory fraction {file['memoryFraction']}: ready after {file['readySeconds']}"
        f" s, {taken} MiB of the device in use by its processes, as the driver sees it.\n"
    )
    yield table(
        ("request", "batch", "clients", "images/s", "p50 ms", "p99 ms", "errors"),
        [
            (
                "system shared memory" if row["way"] == "sharedMemory" else "inline gRPC",
                row["batchSize"],
                row["clients"],
                f"{row['imagesPerSecond']:,.0f}",
                row["p50Milliseconds"],
                row["p99Milliseconds"],
                len(row["errors"]),
            )
            for row in file["rows"]
        ],
    )


if __name__ == "__main__":
    PAGE.write_text(page(HERE / "results"))
