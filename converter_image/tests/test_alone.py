"""The commands for a person without Kubernetes, run as a person runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests import reports
from tests.box import Box, until
from tests.object_store import WebServer
from tftrt_runtime.benchmark.rounds import IN_FLIGHT
from tftrt_runtime.benchmark.rows import AS_SERVED
from tftrt_runtime.cli import console, options
from tftrt_runtime.cli.gates import Gates
from tftrt_runtime.contract.artifact import Benchmark, Verification
from tftrt_runtime.contract.errors import AccuracyBelowThreshold, SpeedupBelowThreshold, UsageError
from tftrt_runtime.contract.told_uri import told_uri

IMAGE = (16, 16, 3)
TFTRT = (sys.executable, "-m", "tftrt_runtime")


@dataclass
class Ended:
    code: int
    output: str
    told: str


def tftrt(*arguments: object, folder: Path | None = None) -> Ended:
    done = subprocess.run([*TFTRT, *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def by_hand(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The folder of a model that was converted by hand, by paths from there, and what was said."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "cnn").symlink_to(models / "cnn")
    ended = tftrt(
        "convert", "cnn", "out/converted", "--signature", "serve", "-b", "4", "-b", "1",
        "--max-relative-error", "0.001", "--min-top1-agreement", "1", "--min-speedup", "1000",
        folder=folder,
    )  # fmt: skip
    return folder / "out/converted", ended


def test_a_model_is_converted_by_its_path(by_hand: tuple[Path, Ended]) -> None:
    folder, ended = by_hand
    assert sorted(path.name for path in folder.iterdir()) == ["model", "report.html", "report.json", "tensorboard"]
    assert (folder / "model/saved_model.pb").exists()
    assert "Largest relative error" in ended.output
    assert "report.html" in ended.output
    assert [path.name for path in folder.parent.iterdir()] == ["converted"]


def test_a_gate_that_fails_keeps_the_model_and_says_both_numbers(by_hand: tuple[Path, Ended]) -> None:
    folder, ended = by_hand
    assert ended.code == 18
    speedup = json.loads((folder / "report.json").read_text())["findings"]["conversion"]["benchmark"]["speedup"]
    assert f"SpeedupBelowThreshold: The converted model is {speedup} times as fast" in ended.told
    assert "--min-speedup asks for 1000" in ended.told


def test_without_a_terminal_progress_is_plain_lines(by_hand: tuple[Path, Ended]) -> None:
    _, ended = by_hand
    assert "Checked the converted model in a fresh process: " in ended.told
    assert "\x1b" not in ended.told + ended.output
    assert "{" not in ended.told


def test_the_same_model_comes_of_it_as_in_a_job(by_hand: tuple[Path, Ended], converted: Callable[..., Box]) -> None:
    there = json.loads((by_hand[0] / "report.json").read_text())["findings"]["conversion"]
    summary = converted("cnn").manifest["summary"]
    for key in ("totalOps", "inputs", "outputs", "batchSizes", "device", "verification"):
        assert there[key] == summary[key]


def test_a_converted_model_is_timed_again(by_hand: tuple[Path, Ended]) -> None:
    ended = tftrt("benchmark", by_hand[0], "-b", "4")
    assert ended.code == 0, ended.told
    *lines, speedup = ended.output.splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        [way, "4", "host", str(calls)] for calls in IN_FLIGHT for way in ("Converted", "Native")
    ]
    how = rf"batch size 4, {AS_SERVED} calls at a time, input and answers on the host"
    assert re.fullmatch(rf"Speed-up: +[0-9.]+ \({how}: [0-9.]+ against [0-9.]+ items/s\)", speedup), speedup


def test_a_converted_model_is_compared_again_on_ones_own_data(by_hand: tuple[Path, Ended], tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((6, *IMAGE)).astype(np.float32))
    ended = tftrt("verify", by_hand[0], "--data", tmp_path / "images.npy", "--min-top1-agreement", "1")
    assert ended.code == 0, ended.told
    # Six samples one at a time, and a batch of four.
    assert re.search(r"Top-1 agreement: +1 \(a share of 10 samples\)", ended.output)
    refused = tftrt("verify", by_hand[0], "--data", tmp_path / "images.npy", "--min-top1-agreement", "1.1")
    assert refused.code == 17
    assert "AccuracyBelowThreshold" in refused.told


def test_data_that_does_not_fit_is_told(by_hand: tuple[Path, Ended], tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((6, 2, 2, 3), np.float32))
    ended = tftrt("verify", by_hand[0], "--data", tmp_path / "images.npy")
    assert ended.code == 15
    assert "images.npy in the verification data" in ended.told


def test_another_source_than_the_one_that_was_converted_is_told(by_hand: tuple[Path, Ended], models: Path) -> None:
    ended = tftrt("benchmark", by_hand[0], "--source", models / "two")
    assert ended.code == 21
    assert "is not what" in ended.told


def test_the_page_is_made_of_the_report_again(by_hand: tuple[Path, Ended], tmp_path: Path) -> None:
    ended = tftrt("report", by_hand[0], tmp_path / "page.html")
    assert ended.code == 0, ended.told
    assert (tmp_path / "page.html").read_text() == (by_hand[0] / "report.html").read_text()


def test_a_model_is_fetched_with_its_digest(by_hand: tuple[Path, Ended], models: Path, tmp_path: Path) -> None:
    ended = tftrt("fetch", models / "cnn", tmp_path / "copy")
    assert ended.code == 0, ended.told
    assert ended.output.strip() == json.loads((by_hand[0] / "report.json").read_text())["sourceDigest"]
    assert (tmp_path / "copy/saved_model.pb").read_bytes() == (models / "cnn/saved_model.pb").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_frozen_graph_is_fetched_by_an_address_that_is_signed(tmp_path: Path) -> None:
    with WebServer(b"a graph").running("graph.pb") as server:
        ended = tftrt("fetch", f"{server.url}?sig=planted&sv=2021-08-06", tmp_path / "copy")
    assert ended.code == 0, ended.told
    assert "planted" not in ended.told + ended.output
    assert (tmp_path / "copy/graph.pb").read_bytes() == b"a graph"


@pytest.mark.parametrize(("part", "option"), [("source", "--source"), ("verification", "--data")])
def test_an_address_that_the_report_has_not_whole_is_to_be_named_again(
    by_hand: tuple[Path, Ended], tmp_path: Path, part: str, option: str
) -> None:
    report = json.loads((by_hand[0] / "report.json").read_text())
    report["spec"][part]["uri"] = told_uri("https://models.example/download?id=5")
    (tmp_path / "report.json").write_text(json.dumps(report))
    ended = tftrt("verify", tmp_path)
    assert ended.code == 2
    assert f"name the address by {option}" in ended.told


def test_an_address_whose_signature_the_report_has_not_is_to_be_named_again(
    by_hand: tuple[Path, Ended], tmp_path: Path
) -> None:
    with WebServer(b"", refuses=403).running("model.zip") as server:
        report = json.loads((by_hand[0] / "report.json").read_text())
        report["spec"]["source"]["uri"] = told_uri(f"{server.url}?X-Amz-Signature=planted")
        (tmp_path / "report.json").write_text(json.dumps(report))
        ended = tftrt("verify", tmp_path)
        assert (ended.code, "name a new one by --source" in ended.told) == (11, True), ended.told
        ended = tftrt("verify", tmp_path, "--source", server.url)
        assert (ended.code, "--source" in ended.told) == (11, False), ended.told


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for command in (("convert", tmp_path, tmp_path / "here"), ("fetch", tmp_path, tmp_path / "here")):
        ended = tftrt(*command)
        assert ended.code == 2
        assert "is there already" in ended.told


@pytest.mark.parametrize("command", ["convert", "fetch"])
def test_nothing_is_written_into_the_model_itself(tmp_path: Path, command: str) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"model")
    ended = tftrt(command, ".", "./converted", folder=tmp_path)
    assert ended.code == 2
    assert "converted would lie in the model itself, .: name a folder outside of it" in ended.told
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model.pb"]


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("graph.pb", (), "For a frozen graph set --input and --output."),
        ("model", ("--input", "x", "--output", "y"), "not a frozen graph: leave out --input and --output."),
    ],
)
def test_what_is_a_model_of_the_other_format_is_told_in_options(
    tmp_path: Path, name: str, more: tuple[str, ...], told: str
) -> None:
    (tmp_path / "model").mkdir()
    for file in ("graph.pb", "model/saved_model.pb"):
        (tmp_path / file).write_bytes(b"a graph")
    ended = tftrt("convert", tmp_path / name, tmp_path / "converted", *more)
    assert ended.code == 13
    assert ended.told.rstrip().endswith(told)


def test_what_lies_where_a_model_was_looked_for_is_told_without_what_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "resnet50").mkdir()
    ended = tftrt("fetch", "resnet", "copy", folder=tmp_path)
    assert ended.code == 11
    assert f"({tmp_path.name} holds resnet50)" in ended.told


def test_a_precision_that_needs_a_gpu_says_what_this_machine_lacks(models: Path, tmp_path: Path) -> None:
    ended = tftrt("convert", models / "cnn", tmp_path / "converted", "--precision", "FP16")
    assert ended.code == 20
    assert "TensorFlow sees no GPU on this machine" in ended.told
    assert ended.told.rstrip().endswith("Without a GPU only --precision FP32 goes.")


@pytest.mark.parametrize("command", ["verify", "benchmark"])
def test_engines_are_not_asked_without_the_device_that_they_were_built_on(
    by_hand: tuple[Path, Ended], tmp_path: Path, command: str
) -> None:
    """Only the report says here that they are engines: there is no GPU to make some on."""
    report = json.loads((by_hand[0] / "report.json").read_text())
    report["spec"]["runtime"]["accelerator"] = "GPU"
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted/report.json").write_text(json.dumps(report))
    ended = tftrt(command, tmp_path / "converted")
    assert ended.code == 20
    assert "TensorFlow sees none" in ended.told


def test_a_failure_is_told_in_the_words_of_the_command_line(models: Path, tmp_path: Path) -> None:
    ended = tftrt("convert", models / "cnn", tmp_path / "converted", "--signature", "nothing")
    assert ended.code == 14
    assert ended.told.rstrip().endswith("serve, serving_default. Set --signature.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["convert"], "Name a SOURCE and a TARGET"),
        (["convert", "model"], "Name a TARGET"),
        (["convert", "model", "target", "--spec", "spec.json"], "not both"),
        (["fetch", "model", "target", "--spec", "spec.json"], "not both"),
        (["convert", "--spec", "spec.json", "--min-speedup", "2"], "--min-speedup is not for a Job"),
        (["convert", "--spec", "spec.json", "-b", "8"], "--batch-size is not for a Job"),
        (["benchmark", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_a_command_line_that_makes_no_sense_exits_2(arguments: list[str], told: str) -> None:
    ended = tftrt(*arguments)
    assert ended.code == 2
    assert told in ended.told


@pytest.mark.parametrize("command", ["convert", "verify", "benchmark", "report", "fetch"])
def test_help_has_examples(command: str) -> None:
    assert f"tftrt {command} ./" in tftrt(command, "--help").output.replace("s3://models/resnet50 ", "")


def test_on_a_terminal_there_is_motion(by_hand: tuple[Path, Ended]) -> None:
    """A pseudo-terminal: what is being done now is drawn in place, with control sequences."""
    own, others = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    command = [*TFTRT, "benchmark", str(by_hand[0])]
    process = subprocess.Popen(command, stderr=others, stdout=subprocess.DEVNULL, env=environment)
    os.close(others)
    seen = b""
    while True:
        try:
            part = os.read(own, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(own)
    assert process.wait() == 0
    assert b"Timing the converted model, batch 4" in seen
    assert b"\x1b[2K" in seen


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/saved_model.pb").write_text("fetched well, and looked at later")
    command = [*TFTRT, "convert", str(tmp_path / "model"), str(tmp_path / "out/converted")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in until("the model is fetched"):
        if list(tmp_path.glob("out/.tftrt-*/fetch.json")):
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("4G", 4 * 10**9), ("512Mi", 512 * 2**20), ("0", 0), ("1Ki", 1024), ("7", 7)]
)
def test_sizes_are_written_as_kubernetes_writes_them(text: str, expected: int) -> None:
    assert options.size(text) == expected


@pytest.mark.parametrize("text", ["", "4GB", "-1", "1.5G", "G"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        options.size(text)


def test_shapes_are_one_size_or_a_range() -> None:
    assert options.shapes("image=224x224x3") == (
        "image",
        {"min": (224, 224, 3), "opt": (224, 224, 3), "max": (224, 224, 3)},
    )
    assert options.shapes("ids=1,128,512") == ("ids", {"min": (1,), "opt": (128,), "max": (512,)})


def test_values_are_json_or_a_text() -> None:
    assert options.value("phase_train=false") == ("phase_train", False)
    assert options.value("keep_prob=0.5") == ("keep_prob", 0.5)
    assert options.value("language=en=us") == ("language", "en=us")
    assert options.value('code="1"') == ("code", "1")


@pytest.mark.parametrize("text", ["phase_train", "x=[1, 2]", "x={}", "x=null", "x=NaN", "x=-Infinity", "x=1e400"])
def test_what_is_no_value_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no value of an input"):
        options.value(text)


def test_an_input_gets_the_type_and_the_numbers_that_it_is_served_with() -> None:
    given = made(
        input_types=("image=UINT8", "a=b=FP16"),
        input_scales=("image=0.5",),
        input_offsets=("image=-123.68,-116.779,-103.939",),
    )
    inputs = options.spec_of(given, RUNTIME).conversion.inputs
    assert {name: (one.dtype, one.scale, one.offset) for name, one in inputs.items()} == {
        "image": ("UINT8", ("0.5",), ("-123.68", "-116.779", "-103.939")),
        "a=b": ("FP16", ("1",), ("0",)),
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"input_types": ("image",)}, "'image' is no type of an input: write NAME=TYPE with UINT8 or FP16"),
        ({"input_types": ("image=INT8",)}, "'image=INT8' is no type of an input"),
        ({"input_scales": ("image=2",)}, "--input-scale has 'image', which --input-type has not"),
        ({"input_types": ("x=FP16",), "input_offsets": ("x=",)}, "'x=' gives an input no numbers"),
        ({"input_types": ("x=FP16",), "input_scales": ("x=0",)}, "must be other than 0"),
        ({"input_types": ("x=FP16",), "input_offsets": ("x=1,half",)}, "must be a decimal"),
        (
            {"input_types": ("x=FP16",), "input_scales": ("x=1,2",), "input_offsets": ("x=1,2,3",)},
            "scale and offset must have one entry, or both as many as the input has channels",
        ),
    ],
)
def test_a_type_or_numbers_that_are_none_are_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        options.spec_of(made(**given), RUNTIME)


@pytest.mark.parametrize("field", ["source", "calibration_data", "verification_data"])
def test_a_password_in_an_address_is_not_taken(field: str) -> None:
    changes = {field: "https://me:secret@models.example/m.tgz", "precision": "INT8"}
    with pytest.raises(UsageError, match="must not contain a user or a password") as told:
        options.spec_of(made(**changes), RUNTIME)
    assert "secret@" not in told.value.message


@pytest.mark.parametrize("text", ["ids", "ids=", "ids=1,2", "=1", "ids=axb", "ids=1,2,3,4"])
def test_what_is_no_shape_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no shape of an input"):
        options.shapes(text)


def made(**changes: object) -> options.ConvertOptions:
    given: dict[str, object] = {
        "source": "model",
        "target": Path("target"),
        "signature": "serving_default",
        "inputs": (),
        "outputs": (),
        "values": (),
        "precision": "FP32",
        "batch_sizes": (8, 1, 8),
        "max_workspace_size": "1Gi",
        "minimum_segment_size": 3,
        "dynamic_shapes": None,
        "input_shapes": (),
        "input_types": (),
        "input_scales": (),
        "input_offsets": (),
        "calibration_data": None,
        "calibration_samples": 512,
        "calibration_batch_size": 8,
        "verification_data": None,
        "top1_output": None,
    }
    return options.ConvertOptions(**{**given, **changes})  # type: ignore[arg-type]


RUNTIME = {"name": "cpu", "accelerator": "None", "tensorflow": "2.14.1", "tensorrt": ""}


def test_options_become_the_spec_that_the_operator_would_make() -> None:
    spec = options.spec_of(made(precision="INT8", calibration_data="s3://bucket/data"), RUNTIME)
    assert spec.source.uri == str(Path("model").absolute())
    assert spec.model.name == "model"
    assert spec.conversion.batchSizes == (1, 8)
    assert spec.conversion.calibration is not None
    assert spec.conversion.calibration.uri == "s3://bucket/data"


def test_the_output_of_classes_is_a_part_of_the_spec() -> None:
    assert options.spec_of(made(top1_output="labels"), RUNTIME).verification.top1Output == "labels"
    assert options.spec_of(made(), RUNTIME).verification.top1Output is None


@pytest.mark.parametrize(
    ("source", "name"),
    [("./ResNet_50.tar.gz", "resnet-50"), ("s3://models/resnet50/", "resnet50"), ("/", "model"), ("__", "model")],
)
def test_the_model_is_called_as_its_file_is(source: str, name: str) -> None:
    assert options.spec_of(made(source=source), RUNTIME).model.name == name


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"calibration_data": "data"}, "calibration is for INT8"),
        ({"inputs": ("x:0",)}, "needs inputs and outputs"),
        ({"input_shapes": ("ids=1,2,3",)}, "need dynamicShapes"),
    ],
)
def test_options_that_do_not_fit_together_are_told(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        options.spec_of(made(**changes), RUNTIME)


MEASURED = Verification(samples=10, top1Agreement="0.9", maxRelativeError="0.01")
NAN = MEASURED.model_copy(update={"maxRelativeError": "NaN"})
NO_CLASSES = MEASURED.model_copy(update={"top1Agreement": None})
TIMED = Benchmark(
    batchSize=1,
    convertedP50Microseconds=10,
    nativeP50Microseconds=20,
    fp32P50Microseconds=None,
    speedup="2.00",
    fp32Speedup=None,
    input="Host",
    inFlight=2,
    convertedItemsPerSecond="150000",
    nativeItemsPerSecond="75000",
    speedupOnDevice="9.48",
)


UNCOMPARED = Verification(samples=0, top1Agreement=None, maxRelativeError=None)


def refused(gates: Gates, **measured: object) -> str:
    """What a person is told of a model with these figures."""
    with pytest.raises(AccuracyBelowThreshold) as told:
        gates.judge(UNCOMPARED.model_copy(update=measured), None)
    return str(told.value)


def test_where_nothing_was_compared_no_gate_passes_and_the_one_reason_is_told() -> None:
    for gates in (Gates(max_relative_error=1), Gates(min_top1_agreement=0)):
        told = refused(gates, notCompared="AnswersDiffer")
        assert "answers the same input differently each time" in told
        assert "made-up" not in told


def test_an_output_without_any_finite_value_passes_no_gate() -> None:
    told = refused(Gates(max_relative_error=1), samples=5, notFinite="1", equalElements="1")
    assert "no finite value in either model" in told


def test_nan_passes_no_gate_however_few_values_are() -> None:
    some = {"samples": 5, "top1Agreement": "1", "maxRelativeError": "0", "notFinite": "0.2", "notANumber": "0.2"}
    for gates in (Gates(max_relative_error=1), Gates(min_top1_agreement=0)):
        assert "0.2 of an output is NaN in either model on made-up input" in refused(gates, **some)
    Gates().judge(UNCOMPARED.model_copy(update=some), None)


def test_what_is_lost_at_larger_input_passes_no_gate_on_answers() -> None:
    lost = {"samples": 5, "top1Agreement": "1", "maxRelativeError": "0", "largerInputGone": "0.25"}
    for gates in (Gates(max_relative_error=1), Gates(min_top1_agreement=0)):
        told = refused(gates, **lost)
        assert (
            "With made-up input up to 255 a share of 0.25 of an output is finite in the unconverted model alone" in told
        )
        assert "--verification-data" in told
    Gates(min_speedup=2).judge(UNCOMPARED.model_copy(update=lost), TIMED)


def test_without_a_gate_for_classes_that_of_the_error_is_the_one_for_whole_numbers() -> None:
    labels = MEASURED.model_copy(update={"maxRelativeError": None, "top1Agreement": "0.9", "equalElements": "0.9"})
    Gates(max_relative_error=0.1).judge(labels, None)
    told = refused(Gates(max_relative_error=0.01), samples=10, equalElements="0.9")
    assert "a share of 0.9 is the unconverted one's, on 10 samples of made-up input" in told
    both = MEASURED.model_copy(update={"equalElements": "0.9"})
    Gates(min_top1_agreement=0.9, max_relative_error=0.01).judge(both, None)


def test_the_gate_of_speed_is_for_what_a_client_can_have_and_tells_the_devices_figure_beside_it() -> None:
    with pytest.raises(SpeedupBelowThreshold) as told:
        Gates(min_speedup=5).judge(MEASURED, TIMED)
    assert str(told.value) == (
        "The converted model is 2.00 times as fast as the unconverted one at batch size 1, 2 calls at a time, input "
        "and answers on the host (150000 against 75000 items/s, and 9.48 with its input on the device already), and "
        "--min-speedup asks for 5."
    )
    with pytest.raises(SpeedupBelowThreshold) as told:
        Gates(min_speedup=5).judge(MEASURED, TIMED.model_copy(update={"speedupOnDevice": None, "inFlight": 1}))
    assert "one call at a time, input and answers on the host (150000 against 75000 items/s), and" in str(told.value)


def test_a_person_is_told_both_figures_and_which_of_them_a_client_has(capsys: pytest.CaptureFixture[str]) -> None:
    console.timed(reports.measurements())
    told = capsys.readouterr().out
    how = f"batch size 128, {AS_SERVED} calls at a time, input and answers on the host"
    assert f"Speed-up:               5.51 ({how}: " in told
    assert "On the device:          5.51 (input there already: no client over the network has that)" in told


def test_gates_pass_at_their_very_numbers() -> None:
    Gates(0.9, 0.01, 2.0).judge(MEASURED, TIMED)
    Gates().judge(None, None)


@pytest.mark.parametrize(
    ("gates", "verification", "benchmark", "failure"),
    [
        (Gates(min_top1_agreement=0.91), MEASURED, TIMED, AccuracyBelowThreshold),
        (Gates(max_relative_error=0.009), MEASURED, TIMED, AccuracyBelowThreshold),
        (
            Gates(max_relative_error=1),
            MEASURED.model_copy(update={"maxRelativeError": "NaN"}),
            None,
            AccuracyBelowThreshold,
        ),
        (
            Gates(min_top1_agreement=0),
            MEASURED.model_copy(update={"top1Agreement": None}),
            None,
            AccuracyBelowThreshold,
        ),
        (Gates(max_relative_error=1), None, None, AccuracyBelowThreshold),
        (Gates(min_speedup=2.01), MEASURED, TIMED, SpeedupBelowThreshold),
        (Gates(min_speedup=0), MEASURED, None, SpeedupBelowThreshold),
    ],
)
def test_what_is_worse_or_not_measured_or_no_number_never_passes(
    gates: Gates, verification: Verification | None, benchmark: Benchmark | None, failure: type[Exception]
) -> None:
    with pytest.raises(failure):
        gates.judge(verification, benchmark)
