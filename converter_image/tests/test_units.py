"""What can be said without a process: arithmetic, texts, shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_publish import DIGEST
from tftrt_runtime.contract import termination
from tftrt_runtime.contract.artifact import (
    Batching,
    Device,
    File,
    Manifest,
    Summary,
    Tensor,
    Verification,
    Versions,
    stricter,
)
from tftrt_runtime.contract.errors import GPUUnfit, InsufficientGPUMemory, Internal, SourceNotFound, failure
from tftrt_runtime.contract.spec import Artifacts, ModelName, Runtime, ServerSpec
from tftrt_runtime.convert import for_gpu
from tftrt_runtime.device import cuda
from tftrt_runtime.model import samples
from tftrt_runtime.processes import cgroup, child
from tftrt_runtime.serve import batching, lost_device, memory, repository

GIB = 1 << 30


def summary(tensors: int = 1) -> Summary:
    made = tuple(Tensor(name=f"tensor {number}", dtype="BYTES", shape=(-1,)) for number in range(tensors))
    return Summary(
        result="Published",
        fingerprint="0" * 32,
        build="b",
        product="cpu",
        artifact="pvc://store/a",
        sourceDigest=DIGEST,
        device=Device(name="cpu", computeCapability="", memoryBytes=None, driver=""),
        versions=Versions(tensorflow="2.14.1", tensorrt="", runtime="cpu"),
        engines=0,
        convertedOps=0,
        totalOps=1,
        batchSizes=(1, 8),
        inputs=made,
        outputs=(Tensor(name='odd "name"\n', dtype="FP16", shape=(-1, -1, 3)),),
        artifactBytes=1,
        startedAt="2026-01-01T00:00:00Z",
        finishedAt="2026-01-01T00:00:00Z",
    )


def server_spec(**changes: Any) -> ServerSpec:
    return ServerSpec(
        version=1,
        model=ModelName(namespace="default", name="resnet50"),
        fingerprint="0" * 32,
        runtime=Runtime(name="cpu", accelerator="None", tensorflow="2.14.1", tensorrt=""),
        artifact=Artifacts(uri="pvc://store/a"),
        memoryFraction=None,
        maxQueueDelayMicroseconds=2000,
        **changes,
    )


class TestMemory:
    def test_the_limit_is_rounded_down_to_whole_mebibytes(self) -> None:
        assert memory.limit_mib("0.6666", 12 * GIB) == 8191
        assert memory.limit_mib("1", 80 * GIB) == 81920

    def test_a_limit_of_zero_is_refused_because_tensorflow_takes_it_for_all(self) -> None:
        with pytest.raises(InsufficientGPUMemory, match="leaves TensorFlow nothing"):
            memory.limit_mib("0.00001", 12 * GIB)

    def test_less_free_than_the_limit_is_refused_with_both_numbers(self) -> None:
        memory.expect_free(8191, 8191 << 20, 16000 << 20)
        with pytest.raises(InsufficientGPUMemory, match="8190 MiB free, less than the 8191 MiB") as told:
            memory.expect_free(8191, (8191 << 20) - 1, 16000 << 20)
        assert "7810 MiB that are taken" in told.value.message
        assert "and 8191 MiB make 16001 MiB of 16000 MiB" in told.value.message

    def test_each_batch_in_flight_has_a_pool_of_its_own_where_the_limit_holds_what_each_needs(self) -> None:
        assert memory.pools(2016, needed=1000, most=2) == (1000, 1000)
        assert memory.pools(40_000, needed=1000, most=2) == (19_992, 19_992)

    def test_all_share_the_one_pool_where_the_limit_does_not(self) -> None:
        assert memory.pools(2015, needed=1000, most=2) == (2015,)
        assert memory.pools(500, needed=1000, most=2) == (500,)
        assert memory.pools(40_000, needed=1000, most=1) == (40_000,)

    @pytest.mark.parametrize("limit", [1, 17, 700, 2015, 2016, 81_920])
    def test_pools_and_what_their_devices_take_beside_them_stay_within_the_limit(self, limit: int) -> None:
        found = memory.pools(limit, needed=300, most=3)
        assert 0 < sum(found) + (len(found) - 1) * memory.STREAM_MIB <= limit

    def test_variables_that_change_the_limits_meaning_are_unset(self) -> None:
        environment = {"TF_GPU_ALLOCATOR": "cuda_malloc_async", "TF_FORCE_UNIFIED_MEMORY": "1", "HOME": "/tmp"}
        assert memory.unset_overrides(environment) == ["TF_GPU_ALLOCATOR", "TF_FORCE_UNIFIED_MEMORY"]
        assert environment == {"HOME": "/tmp"}


class TestTermination:
    """Any summary and any failure, and what the operator reads of them: tests/unit/test_summary.py."""

    def test_of_a_long_sentence_both_ends_are_kept(self) -> None:
        text = termination.of_failure(SourceNotFound(f"Nothing is here: {'ä' * 5000}. Correct the URI."))
        assert len(text.encode()) <= 2000
        told = json.loads(text)
        assert told["reason"] == "SourceNotFound"
        assert told["message"].startswith("Nothing is here: ")
        assert told["message"].endswith(". Correct the URI.")

    def test_a_summary_of_hundreds_of_tensors_leaves_them_to_the_manifest(self) -> None:
        printable = Tensor(name='odd "name"', dtype="FP16", shape=(-1, -1, 3))
        short = json.loads(termination.of_summary(summary(1).model_copy(update={"outputs": (printable,)})))
        assert short["inputs"][0]["name"] == "tensor 0"
        assert "signature" not in short
        long = termination.of_summary(summary(200))
        assert len(long.encode()) <= 2000
        told = json.loads(long)
        assert told["inputs"] is told["outputs"] is None
        # Texts of a guessed length, and half-precision numbers of a guessed number.
        assert told["signature"] == {"sampleBytes": 200 * 1024 + 256 * 3 * 2, "texts": True}

    @pytest.mark.parametrize("length", [1, 100, 500, 1024])
    @pytest.mark.parametrize("character", ["a", "ä", "😀"])
    def test_uris_of_any_length_fit(self, length: int, character: str) -> None:
        artifact = f"pvc://{character * length}/default/{'0' * 32}/cpu"
        measured = Verification(samples=1, top1Agreement=None, maxRelativeError="0", uri=f"s3://{character * length}")
        made = summary(40).model_copy(
            update={
                "artifact": artifact,
                "reportUri": f"{artifact}/builds/b/report.html",
                "verification": measured,
                "batching": Batching(mode="Dynamic", reason="ItemsIndependent", message=character * 60),
            }
        )
        text = termination.of_summary(made)
        assert len(text.encode()) <= 2000
        told = json.loads(text)
        assert told["artifact"] in {artifact, None}
        assert told["reportUri"] in {made.reportUri, "builds/b/report.html"}
        assert told["verification"]["uri"].startswith("s3://")
        assert told["batching"]["reason"] == "ItemsIndependent"


class TestOutOfMemory:
    @pytest.mark.parametrize(
        ("group", "file", "content"),
        [
            ("0::/\n", "memory.events", "max 3\noom 1\noom_kill 2\n"),
            ("0::/kubepods/pod1\n", "kubepods/pod1/memory.events", "oom_kill 2\n"),
            ("4:memory:/kubepods/pod1\n0::/\n", "memory/kubepods/pod1/memory.oom_control", "under_oom 0\noom_kill 2\n"),
            ("4:memory:/not/visible/here\n", "memory/memory.oom_control", "oom_kill 2\n"),
        ],
    )
    def test_kills_are_counted_under_both_versions_of_cgroups(
        self, tmp_path: Path, group: str, file: str, content: str
    ) -> None:
        path = tmp_path / "root" / file
        path.parent.mkdir(parents=True)
        path.write_text(content)
        (tmp_path / "own").write_text(group)
        assert cgroup.out_of_memory_kills(tmp_path / "root", tmp_path / "own") == 2

    def test_a_machine_that_does_not_tell_is_none(self, tmp_path: Path) -> None:
        assert cgroup.out_of_memory_kills(tmp_path, tmp_path / "none") is None

    def test_a_killed_child_is_out_of_memory_only_when_the_kernel_counted_it(self) -> None:
        assert child.died("SIGKILL", before=1, after=2, last="").reason == "OutOfMemory"
        assert child.died("SIGKILL", before=1, after=1, last="").reason == "ChildAborted"
        assert child.died("SIGKILL", before=None, after=None, last="").reason == "ChildAborted"
        assert child.died("SIGABRT", before=1, after=2, last="F bad").reason == "ChildAborted"


def test_the_last_error_line_is_preferred_to_what_came_after_it() -> None:
    assert child.last_error(["a", "2026 F tensorflow/x.cc Check failed: y", "more"]).endswith("y")
    assert child.last_error(["a", "b"]) == "none, and its last line: b"
    assert child.last_error([]) == "none"


STARTED = [
    '2026-11-30T08:19:14Z E 19178 server.cc:241] "CudaDriverHelper has not been initialized."',
    "2026-11-30 08:19:14.9: E tensorflow/x/cuda_dnn.cc:9342] Unable to register cuDNN factory: Attempting to register "
    "factory for plugin cuDNN when one has already been registered",
    '2026-11-30T08:19:17Z I 19178 http_server.cc:362] "Started Metrics Service at 0.0.0.0:8002"',
]
ABORTED = "terminate called after throwing an instance of 'std::bad_alloc'"
FRAMES = [
    " 0# 0x0000560B4D3D25A0 in tritonserver",
    "12# std::__throw_runtime_error(char const*) in /lib/x86_64-linux-gnu/libstdc++.so.6",
]
WHERE_PYTHON_WAS = [
    "Current thread 0x00007f0000000000 (most recent call first):",
    '  File "/opt/tftrt/lib/python3.10/site-packages/tensorflow/python/framework/errors_impl.py", line 52 in __init__',
    "Extension modules: numpy.core._multiarray_umath, tensorflow.python._errors_test_helper (total: 77)",
]
REFUSED = "2026-11-30 08:19:14.9: F tensorflow/x.cc:29] Check failed: size > 0 (0 vs. 0)"


@pytest.mark.parametrize(
    ("lines", "quoted"),
    [
        (STARTED, f"none, and its last line: {STARTED[-1]}"),
        (STARTED[:2], "none"),
        (
            [*STARTED, ABORTED, "  what():  std::bad_alloc", "Fatal Python error: Aborted"],
            f"{ABORTED} what():  std::bad_alloc",
        ),
        ([*STARTED, ABORTED, "Signal (6) received.", *FRAMES], ABORTED),
        ([*STARTED, "Signal (11) received.", *FRAMES], "none, and its last line: Signal (11) received."),
        ([*STARTED, REFUSED, "Fatal Python error: Aborted", "", *WHERE_PYTHON_WAS], REFUSED),
        (
            [*STARTED, "Fatal Python error: Segmentation fault", *WHERE_PYTHON_WAS],
            "Fatal Python error: Segmentation fault",
        ),
        (["Traceback (most recent call last):", *WHERE_PYTHON_WAS[1:2], "ValueError: no"], "ValueError: no"),
    ],
)
def test_what_is_quoted_of_a_log_is_why_its_process_ended(lines: list[str], quoted: str) -> None:
    assert child.last_error(lines) == quoted


def test_a_quote_is_of_bounded_length() -> None:
    for line in (f" E {'x' * 9000}", f"ValueError: {'x' * 9000}", f"{ABORTED} {'x' * 9000}"):
        assert len(child.last_error([line])) == child.MOST_QUOTED
    assert len(child.last_error([ABORTED, f"  what():  {'x' * 9000}"])) == child.MOST_QUOTED


def test_a_failure_of_an_unknown_name_is_internal() -> None:
    assert isinstance(failure("Nonsense", "x"), Internal)


class TestBatching:
    def test_an_answer_without_the_batch_is_an_error(self) -> None:
        batching.expect_batch({"y": np.zeros((3, 2))}, 3)
        for answer in (np.zeros(()), np.zeros((2, 3))):
            with pytest.raises(batching.NotOfTheBatch, match="has shape"):
                batching.expect_batch({"y": answer}, 3)


def test_samples_are_seeded_and_of_the_signatures_types() -> None:
    inputs = [Tensor(name="a", dtype="FP16", shape=(-1, -1)), Tensor(name="b", dtype="BYTES", shape=(-1,))]
    sample = samples.sample(inputs, 5, {})
    one, again = samples.batch(inputs, 3, sample), samples.batch(inputs, 3, sample)
    assert one["a"].shape == (3, 5)
    assert one["a"].dtype == np.float16
    assert all(isinstance(word, bytes) for word in one["b"])
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])


def test_the_triton_configuration_says_the_signature_the_batches_and_the_delay() -> None:
    manifest = Manifest(build="b", sourceDigest=DIGEST, summary=summary(), sample=None, files=())
    text = repository.config(server_spec(), manifest)
    assert "max_batch_size: 8" in text
    assert 'name: "tensor 0" data_type: TYPE_STRING dims: [ 1 ] }' in text
    assert r'name: "odd \"name\"\n" data_type: TYPE_FP16 dims: [ -1, 3 ]' in text
    assert "queue_policy" not in text, "it makes the batcher miss requests for half a second: docs/decisions/0007"


def test_the_triton_configuration_of_a_model_without_batches_has_tensors_as_they_are() -> None:
    inputs = (
        Tensor(name="x", dtype="FP32", shape=(1, -1, 3)),
        Tensor(name="values", dtype="FP32", shape=(-1,)),
        Tensor(name="keep_prob", dtype="FP32", shape=()),
    )
    made = summary().model_copy(update={"inputs": inputs, "batched": False, "batchSizes": (1,)})
    text = repository.config(
        server_spec(), Manifest(build="b", sourceDigest=DIGEST, summary=made, sample=None, files=())
    )
    assert "max_batch_size: 0" in text
    assert "dynamic_batching" not in text
    for name, dims in {"x": "1, -1, 3", "values": "-1", "keep_prob": "1"}.items():
        assert f'name: "{name}" data_type: TYPE_FP32 dims: [ {dims} ] }}' in text


@pytest.mark.parametrize(
    ("by_manifest", "by_operator", "put_together"),
    [(None, "Dynamic", True), ("Dynamic", "Dynamic", True), ("Disabled", "Dynamic", False), (None, "Disabled", False)],
)
def test_requests_are_put_together_unless_somebody_saw_that_items_depend_on_each_other(
    by_manifest: Any, by_operator: str, put_together: bool
) -> None:
    """An artifact that was published before it was looked at is served as before."""
    seen = by_manifest and Batching(mode=by_manifest, reason="ItemsInteract", message="m")
    numbers = (Tensor(name="image", dtype="FP32", shape=(-1, 3)),)
    found = summary().model_copy(update={"batching": seen, "inputs": numbers})
    manifest = Manifest(build="b", sourceDigest=DIGEST, summary=found, sample=None, files=())
    text = repository.config(server_spec(batching=by_operator), manifest)
    assert ("dynamic_batching" in text) == put_together
    assert "max_batch_size: 8" in text


def test_what_was_seen_of_a_model_on_any_data_holds() -> None:
    together = Batching(mode="Dynamic", reason="ItemsIndependent", message="on some")
    apart = Batching(mode="Disabled", reason="ItemsInteract", message="on others")
    assert stricter(together, apart) == stricter(apart, together) == stricter(apart, None) == apart
    assert stricter(None, together) == together
    assert stricter(None, None) is None


@pytest.mark.parametrize(("batching", "together"), [("Dynamic", True), ("Disabled", False)])
def test_requests_are_put_together_where_they_may_be(batching: str, together: bool) -> None:
    inputs = (Tensor(name="image", dtype="FP32", shape=(-1, 3)), Tensor(name="other", dtype="BYTES", shape=(-1, 1)))
    made = summary().model_copy(update={"inputs": inputs})
    manifest = Manifest(build="b", sourceDigest=DIGEST, summary=made, sample=None, files=())
    text = repository.config(server_spec(batching=batching), manifest)
    assert ("dynamic_batching {\n  max_queue_delay_microseconds: 2000\n}" in text) == together
    assert ("dynamic_batching" in text) == together


def test_a_manifest_cannot_name_a_file_outside_its_build() -> None:
    with pytest.raises(ValueError, match="relative path"):
        File(path="../../secret", size=1, sha256="")


class TestGPU:
    def test_the_last_words_of_a_process_tell_that_its_device_is_lost(self) -> None:
        """As TensorFlow 2.14.1 wrote them on an H200, in a context that a kernel's trap had ended."""
        source = "tensorflow/compiler/xla/stream_executor/cuda/cuda_event.cc:29"
        words = "Error polling for event status: failed to query event: CUDA_ERROR_LAUNCH_FAILED: launch failure"
        lines = ["started", f"2026-11-29 19:40:18.431444: E {source}] {words}", "Fatal Python error: Aborted"]
        assert lost_device.told(lines) == words
        ended = "F tensorflow/core/common_runtime/device/device_event_mgr.cc:223] Unexpected Event status: 1"
        assert lost_device.told([f"2026-11-29 19:40:18.431485: {ended}"]) == "Unexpected Event status: 1"
        assert lost_device.told(["terminate called", "Fatal Python error: Aborted"]) is None

    RUNTIME = Runtime(
        name="triton", accelerator="GPU", tensorflow="2.14.1", tensorrt="8.5.3.1", maxComputeCapability="9.0"
    )

    @pytest.mark.parametrize(
        ("name", "product"),
        [
            ("NVIDIA H200", "NVIDIA-H200"),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb+me", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gbme"),
            ("Quadro RTX 6000/8000", "Quadro-RTX-60008000"),
            ("  A / B  ", "A-B"),
        ],
    )
    def test_a_product_is_called_as_the_node_label_calls_it(self, name: str, product: str) -> None:
        """What `sanitise` of GPU feature discovery makes of the same names."""
        assert cuda.product(name) == product

    @pytest.mark.parametrize("capability", ["10.0", "12.0", "9.1"])
    def test_a_gpu_that_is_newer_than_tensorrt_is_refused_by_its_name(self, capability: str) -> None:
        with pytest.raises(GPUUnfit) as refused:
            for_gpu.expect_known(self.RUNTIME, "NVIDIA B200", capability)
        assert f"a NVIDIA B200, of compute capability {capability}" in str(refused.value)
        assert "TensorRT 8.5.3.1 of the runtime 'triton' knows GPUs up to 9.0" in str(refused.value)

    @pytest.mark.parametrize("capability", ["5.2", "8.9", "9.0"])
    def test_others_are_not(self, capability: str) -> None:
        for_gpu.expect_known(self.RUNTIME, "NVIDIA H200", capability)
        said_by_nobody = self.RUNTIME.model_copy(update={"maxComputeCapability": None})
        for_gpu.expect_known(said_by_nobody, "NVIDIA B200", "10.0")
