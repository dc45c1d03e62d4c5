from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests import reports
from tests.box import Box
from tftrt_runtime.benchmark import rows
from tftrt_runtime.contract.artifact import REPORT, Batching, Benchmark, Sample, Tensor
from tftrt_runtime.contract.spec import ModelName
from tftrt_runtime.report import data, layout, page, plots
from tftrt_runtime.report.data import Graph, Node, Report
from tftrt_runtime.report.how_to_ask import HowToAsk, how_to_ask
from tftrt_runtime.report.speeds import TIMES

# Run in the page: what of it a person would see, and what it asked of the network.
LOOK = """
<script>
window.addEventListener("load", () => {
  const sizes = selector => [...document.querySelectorAll(selector)].map(element => {
    const box = element.getBoundingClientRect();
    return [Math.round(box.width), Math.round(box.height)];
  });
  const seen = {
    plots: sizes("svg.plot"), before: sizes("#before svg"), after: sizes("#after svg"),
    nodes: sizes("#before .node rect"), engines: sizes("#after .engine rect"), tiles: sizes(".tile"),
    text: [...document.querySelectorAll("svg.plot text")].map(element => element.textContent),
    fill: [...document.querySelectorAll("#after .engine rect")].map(element => getComputedStyle(element).fill),
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    errors: window.errors,
  };
  document.body.insertAdjacentHTML("beforeend", "<pre id=seen></pre>");
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""
CATCH = "<script>window.errors = []; window.addEventListener('error', event => errors.push(event.message));</script>"

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed (Debian's package of that name)"
)


def look(html: str, folder: Path) -> dict[str, Any]:
    """Open the page in a browser, and say what it shows."""
    file = folder / "page.html"
    file.write_text(html.replace("<head>", f"<head>{CATCH}", 1).replace("</body>", f"{LOOK}</body>", 1))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1240,2000"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    seen: dict[str, Any] = json.loads(found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    return seen


@pytest.fixture(scope="module")
def gpu_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return look(page.render(reports.on_gpu()), tmp_path_factory.mktemp("page"))


@needs_chromium
def test_a_browser_shows_plots_and_pictures_and_asks_the_network_for_nothing(gpu_page: dict[str, Any]) -> None:
    assert len(gpu_page["plots"]) == 4
    assert all(width > 800 and height > 200 for width, height in gpu_page["plots"])
    assert gpu_page["requests"] == []
    assert gpu_page["errors"] == []
    assert not gpu_page["wide"]


@needs_chromium
def test_the_plots_tell_each_way_and_batch_size(gpu_page: dict[str, Any]) -> None:
    text = set(gpu_page["text"])
    assert {"TF-TRT", "TensorFlow, TF32", "TensorFlow, FP32 without TF32"} <= text
    assert {"1", "8", "32", "128", "25.9k"} <= text


def test_the_page_says_how_many_streams_several_calls_had(converted: Callable[..., Box]) -> None:
    on_gpu = page.render(reports.on_gpu())
    assert "TF-TRT has 2 CUDA streams" in on_gpu
    assert "3 on 2 streams" in on_gpu
    assert "CUDA streams" not in (converted("cnn").published / REPORT).read_text()


@needs_chromium
def test_hundreds_of_nodes_become_one_highlighted_engine(gpu_page: dict[str, Any]) -> None:
    assert len(gpu_page["nodes"]) > 200
    assert all(width > 30 and height > 5 for width, height in gpu_page["nodes"])
    ((width, height),) = gpu_page["engines"]
    assert width > 150
    assert height > 40
    assert gpu_page["fill"] == ["rgb(118, 185, 0)"]


@needs_chromium
def test_the_page_of_a_model_that_was_converted_without_a_gpu_opens(
    converted: Callable[..., Box], tmp_path: Path
) -> None:
    seen = look((converted("cnn").published / REPORT).read_text(), tmp_path)
    assert len(seen["plots"]) == 2
    assert seen["engines"] == []
    assert seen["errors"] == []
    assert len(seen["nodes"]) > 5


def test_the_report_is_published_and_the_summary_says_where(converted: Callable[..., Box]) -> None:
    summary = converted("cnn").manifest["summary"]
    assert summary["reportUri"] == f"{summary['artifact']}/builds/{converted('cnn').manifest['build']}/report.html"
    assert {"report.html", "report.json"} <= {file["path"] for file in converted("cnn").manifest["files"]}


def test_the_page_is_made_of_the_data_beside_it(converted: Callable[..., Box]) -> None:
    build = converted("cnn").published
    assert page.render(data.read(build / data.FILE)) == (build / REPORT).read_text()


def test_the_page_loads_nothing() -> None:
    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attributes if name in {"src", "href", "xlink:href"}]

    links = Links()
    links.found = []
    html = page.render(reports.on_gpu())
    links.feed(html)
    assert [link for link in links.found if not link.startswith(("#", "data:"))] == []
    assert "@import" not in html
    assert len(html) < 2_000_000


def test_calls_in_flight_that_there_was_no_time_for_are_not_plotted() -> None:
    some = [row for row in reports.measurements() if row.inFlight == 1 or row.way == "Native"]
    text = plots.throughput(some, "Device", {"FP32": "a", "Native": "b", "Converted": "c"})
    assert "one call at a time" in text
    assert "calls in flight" not in text


def test_the_page_plots_as_many_calls_in_flight_as_a_server_has() -> None:
    text = plots.throughput(reports.measurements(), "Host", {"FP32": "a", "Native": "b", "Converted": "c"})
    assert re.findall("one call at a time|. calls in flight", text) == [
        "one call at a time",
        f"{rows.AS_SERVED} calls in flight",
    ]


def slower_from_the_host() -> Report:
    """A report whose converted model has only a fifth of its speed left where its input comes from the host."""
    report = reports.on_gpu()
    timed = tuple(
        row.model_copy(update={"itemsPerSecond": row.itemsPerSecond / 5})
        if (row.way, row.input) == ("Converted", "Host")
        else row
        for row in report.findings.rows
    )
    conversion = report.findings.conversion.model_copy(update={"benchmark": rows.summary(timed)})
    findings = report.findings.model_copy(update={"rows": timed, "conversion": conversion})
    return report.model_copy(update={"findings": findings})


def tiles_of(html: str) -> list[tuple[str, str, str]]:
    return re.findall(r'<div class="tile"><b>(.*?)</b><span>(.*?)</span><small>(.*?)</small></div>', html)


def test_the_head_of_the_page_has_what_a_client_can_have_and_then_what_the_device_does() -> None:
    client = f"batch 128, {rows.AS_SERVED} calls at a time, from the host"
    device = "batch 128, one call at a time: not what a client has"
    assert tiles_of(page.render(slower_from_the_host()))[:3] == [
        (f"1.10{TIMES}", "as fast as TF32", client),
        (f"1.56{TIMES}", "as fast as FP32", client),
        (f"5.51{TIMES}", "as fast as TF32, input on the GPU already", device),
    ]


def test_the_page_says_of_both_figures_what_they_are() -> None:
    html = page.render(slower_from_the_host())
    table = html[html.index('<table id="speeds">') : html.index("<h3>Input and answers on the host")]
    client, device = (re.sub(r"<[^>]*>", " ", line) for line in re.findall(r"<tr><td>.*</tr>", table))
    assert f"what a client can have, {rows.AS_SERVED} calls at a time" in client
    assert f"1.10{TIMES}" in client
    assert "the gate minSpeedup are of this" in client
    assert "what no client over the network has, one call at a time" in device
    assert f"5.51{TIMES}" in device
    assert html.index("what a client can have") < html.index("what no client over the network has")


def test_the_page_of_a_report_from_before_has_a_clients_figure_first_too() -> None:
    """Its summary was of the device; its measurements had both."""
    report = slower_from_the_host()
    before = Benchmark(
        batchSize=128,
        convertedP50Microseconds=4942,
        nativeP50Microseconds=27234,
        fp32P50Microseconds=38788,
        speedup="5.51",
        fp32Speedup="7.85",
    )
    conversion = report.findings.conversion.model_copy(update={"benchmark": before})
    findings = report.findings.model_copy(update={"conversion": conversion})
    assert tiles_of(page.render(report.model_copy(update={"findings": findings}))) == tiles_of(page.render(report))


def test_without_a_gpu_there_is_one_figure_and_it_is_a_clients(converted: Callable[..., Box]) -> None:
    html = (converted("cnn").published / REPORT).read_text()
    of = f"batch 4, {rows.AS_SERVED} calls at a time, from the host"
    assert tiles_of(html)[0][1:] == ("as fast as TensorFlow", of)
    assert "no client" not in html
    assert "input on the GPU" not in html


def test_what_a_model_calls_its_nodes_is_no_markup() -> None:
    report = reports.on_gpu()
    graph = Graph(operations=1, nodes=(Node(name="<script>alert(1)</script>", op="<b>", inputs=()),))
    findings = report.findings.model_copy(update={"before": graph})
    html = page.render(report.model_copy(update={"findings": findings}))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def asked(*inputs: Tensor, output: str = "FP32", **changes: Any) -> HowToAsk:
    """How a model with these inputs is asked."""
    outputs = (Tensor(name="scores", dtype=output, shape=(-1, 5)),)
    conversion = reports.on_gpu().findings.conversion.model_copy(
        update={"inputs": inputs, "outputs": outputs, **changes}
    )
    return how_to_ask(ModelName(namespace="default", name="m"), conversion)


def test_what_a_person_can_paste_is_json_and_a_picture_is_zeros() -> None:
    small = asked(Tensor(name="x", dtype="INT64", shape=(-1, 4)), Tensor(name="words", dtype="BYTES", shape=(-1,)))
    (text,) = re.findall(r"-d '(.*)'$", small.command)
    x, words = json.loads(text)["inputs"]
    assert (x["shape"], len(x["data"][0])) == ([1, 4], 4)
    assert words["shape"] == [1, 1], "Triton has no tensor of the batch alone"
    assert words["data"][0][0].startswith("sample ")
    assert not small.zeros
    large = asked(Tensor(name="image", dtype="FP32", shape=(-1, 224, 224, 3)))
    assert large.zeros
    assert "head -c 602112 /dev/zero" in large.command
    assert '"binary_data_size": 602112' in large.command


def test_half_precision_never_travels_as_json() -> None:
    found = asked(Tensor(name="x", dtype="FP16", shape=(-1, 4)), output="FP16")
    assert '"binary_data_size": 8' in found.command
    assert '"binary_data_output": true' in found.command
    assert [field.binary_only for field in (*found.inputs, *found.outputs)] == [True, True]


def test_open_dimensions_have_the_sizes_that_the_model_has_answered() -> None:
    found = asked(Tensor(name="ids", dtype="INT32", shape=(-1, -1)), sample=Sample(shapes={"ids": (7,)}))
    assert '"shape": [1, 7]' in found.command
    assert '"shape": [1, 1]' in asked(Tensor(name="ids", dtype="INT32", shape=(-1, -1)), sample=None).command


def test_a_text_that_is_the_users_own_is_not_shown() -> None:
    sample = Sample(texts={"words": (base64.b64encode(b"my secret").decode(),)})
    found = asked(Tensor(name="words", dtype="BYTES", shape=(-1,)), sample=sample)
    assert '"data": [["your text"]]' in found.command


def test_a_name_that_is_not_the_models_own_stands_beside_that_one() -> None:
    found = asked(Tensor(name="image_flat", dtype="FP32", shape=(-1, 1), source="image/flat"))
    assert found.inputs[0].source == "image/flat"


def test_what_a_model_calls_its_inputs_is_no_shell() -> None:
    name = "x'; touch owned; '"
    found = asked(Tensor(name=name, dtype="FP32", shape=(-1, 1)))
    (text,) = re.findall(r"-d '([^']*)'$", found.command)
    assert json.loads(text)["inputs"][0]["name"] == name


def test_the_page_says_what_a_person_should_know_of_the_conversion() -> None:
    report = reports.on_gpu()
    findings = report.findings.model_copy(update={"remarks": ("INT8 by 4 ranges of its own.",)})
    told = page.render(report.model_copy(update={"findings": findings}))
    assert "<dt>To know</dt><dd>INT8 by 4 ranges of its own.</dd>" in told
    assert "To know" not in page.render(report)


def test_the_page_says_whether_requests_are_put_together() -> None:
    def page_of(batching: Batching | None) -> str:
        report = reports.on_gpu()
        conversion = report.findings.conversion.model_copy(update={"batching": batching})
        findings = report.findings.model_copy(update={"conversion": conversion})
        return page.render(report.model_copy(update={"findings": findings}))

    apart = Batching(mode="Disabled", reason="ItemsInteract", message="output 'y' <differs>")
    assert "One request is one call; no two are put together:</b> output &#39;y&#39; &lt;differs&gt;" in page_of(apart)
    assert "Requests that wait become one call" in page.render(reports.on_gpu())
    assert "was not looked at" in page_of(None), "a report from before"


def test_the_page_says_that_nan_passes_no_gate() -> None:
    report = reports.on_gpu()
    conversion = report.findings.conversion
    assert conversion.verification is not None
    nowhere = conversion.verification.model_copy(update={"notFinite": "0.25", "notANumber": "0.125"})
    conversion = conversion.model_copy(update={"verification": nowhere})
    findings = report.findings.model_copy(update={"conversion": conversion})
    told = "Of an output a share of 0.125 is NaN in either model, which passes no gate."
    assert told in page.render(report.model_copy(update={"findings": findings}))
    assert "NaN" not in page.render(report)


def chain(count: int, name: str) -> Graph:
    nodes = [
        Node(name=name.format(number), op="Relu", inputs=(number - 1,) if number else ()) for number in range(count)
    ]
    return Graph(operations=count, nodes=tuple(nodes))


def test_every_node_lies_below_what_it_takes_or_in_a_later_column() -> None:
    graph = reports.resnet()
    boxes = layout.picture(graph).boxes
    for node, box in zip(graph.nodes, boxes):
        for source in node.inputs:
            assert boxes[source].y < box.y or boxes[source].x < box.x


def test_no_two_nodes_cover_each_other() -> None:
    boxes = layout.picture(reports.resnet()).boxes
    for one, other in itertools.combinations(boxes, 2):
        assert abs(one.x - other.x) >= layout.WIDTH or abs(one.y - other.y) >= layout.HEIGHT


def test_of_very_many_nodes_scopes_are_drawn() -> None:
    nodes = chain(2000, "layer{0}/op").nodes
    scoped = tuple(
        node.model_copy(update={"name": f"block{number // 10}/{number}"}) for number, node in enumerate(nodes)
    )
    picture = layout.picture(Graph(operations=2000, nodes=scoped))
    assert picture.scopes
    assert len(picture.boxes) == 200
    assert picture.boxes[0].op == "10 operations"
    assert len(picture.paths) == 199


def test_an_engine_is_drawn_whatever_scope_it_is_in() -> None:
    nodes = [
        node.model_copy(update={"name": f"block{number // 10}/{number}"})
        for number, node in enumerate(chain(2000, "{}").nodes)
    ]
    nodes.append(Node(name="block7/TRTEngineOp_000_000", op="TRTEngineOp", inputs=(5,)))
    picture = layout.picture(Graph(operations=2001, nodes=tuple(nodes)))
    assert [box.title for box in picture.boxes if box.is_engine] == ["block7/TRTEngineOp_000_000"]


def test_too_many_nodes_without_scopes_are_left_to_tensorboard() -> None:
    report = reports.on_gpu()
    findings = report.findings.model_copy(update={"before": chain(5000, "op{}")})
    assert "too many to draw here" in page.render(report.model_copy(update={"findings": findings}))


def test_a_graph_that_runs_in_a_circle_is_drawn() -> None:
    nodes = (
        Node(name="enter", op="Enter", inputs=()),
        Node(name="merge", op="Merge", inputs=(0, 2)),
        Node(name="next", op="NextIteration", inputs=(1,)),
    )
    picture = layout.picture(Graph(operations=3, nodes=nodes))
    assert len(picture.boxes) == 3
    assert len(picture.paths) == 3


def test_the_page_tells_what_was_rewritten_what_was_dropped_and_what_nobody_compared(
    converted: Callable[..., Box],
) -> None:
    html = page.render(reports.on_gpu())
    section = re.sub(
        r"<[^>]*>", "", html[html.index('<section id="rewrites">') : html.index('<section id="segments">')]
    )
    assert "Kept: 3 batches are answered alike" in section
    assert "Dropped: Identity:0 differs by 0.5 where its largest value is 2" in section
    assert "not compared, for a CPU does not run this graph: No OpKernel was registered" in section
    assert '<section id="rewrites">' not in (converted("cnn").published / REPORT).read_text()
