"""A report as a conversion of ResNet-50 to FP16 on an H200 leaves it, for tests of the page.

The figures are measured ones of that GPU, rounded; the graph after has one engine, and the one before a node for each
operation of a network of residual blocks.
"""

from __future__ import annotations

from tftrt_runtime.benchmark import rows
from tftrt_runtime.benchmark.rows import Place, Row, Way
from tftrt_runtime.contract import spec
from tftrt_runtime.contract.artifact import (
    Batching,
    Blocker,
    Conversion,
    Device,
    Memory,
    Segment,
    Tensor,
    Verification,
    Versions,
)
from tftrt_runtime.report.data import Comparison, EngineLayers, Findings, Graph, Layer, Node, Report, Rewritten

BATCH_SIZES = (1, 8, 32, 128)
# Items a second one call at a time from the device, by batch size.
RATES: dict[Way, tuple[int, ...]] = {
    "FP32": (196, 1180, 2488, 3300),
    "Native": (195, 1457, 3262, 4700),
    "Converted": (1140, 6942, 17221, 25900),
}
# What 2 and 3 calls in flight gain, and what input on the host costs.
GAINS = {1: 1.0, 2: 1.2, 3: 1.3} | {rows.AS_SERVED: 1.2}
SHARES: dict[Place, float] = {"Device": 1.0, "Host": 0.55}
BLOCKS = 16


def resnet() -> Graph:
    """Residual blocks of three convolutions each."""
    nodes = [Node(name="input_1", op="Placeholder", inputs=())]

    def add(name: str, op: str, *inputs: int) -> int:
        nodes.append(Node(name=f"StatefulPartitionedCall/resnet50/{name}", op=op, inputs=inputs))
        return len(nodes) - 1

    at = add("conv1/Conv2D", "Conv2D", 0)
    for block in range(BLOCKS):
        entry = at
        for number in range(3):
            at = add(f"block{block}_{number}/Conv2D", "Conv2D", at)
            at = add(f"block{block}_{number}/BiasAdd", "BiasAdd", at)
            at = add(f"block{block}_{number}/FusedBatchNormV3", "FusedBatchNormV3", at)
            if number < 2:
                at = add(f"block{block}_{number}/Relu", "Relu", at)
        at = add(f"block{block}_add/add", "AddV2", at, entry)
        at = add(f"block{block}_out/Relu", "Relu", at)
    at = add("avg_pool/Mean", "Mean", at)
    at = add("predictions/MatMul", "MatMul", at)
    at = add("predictions/Softmax", "Softmax", at)
    nodes.append(Node(name="Identity", op="Identity", inputs=(at,)))
    return Graph(operations=879, nodes=tuple(nodes))


def converted() -> Graph:
    """An input, an engine, an output."""
    return Graph(
        operations=4,
        nodes=(
            Node(name="input_1", op="Placeholder", inputs=()),
            Node(name="TRTEngineOp_000_000", op="TRTEngineOp", inputs=(0,)),
            Node(name="Identity", op="Identity", inputs=(1,)),
        ),
    )


def measurements() -> tuple[Row, ...]:
    """A row for everything that is measured on a GPU."""
    return tuple(
        Row(
            way=way,
            batchSize=size,
            input=place,
            inFlight=in_flight,
            streams=min(in_flight, 2) if way == "Converted" else 1,
            itemsPerSecond=rate * gain * share,
            p50Microseconds=round(1e6 * size * in_flight / (rate * gain * share)),
            p99Microseconds=round(1.3e6 * size * in_flight / (rate * gain * share)),
            calls=500,
        )
        for way, rates in RATES.items()
        for size, rate in zip(BATCH_SIZES, rates)
        for place, share in SHARES.items()
        for in_flight, gain in GAINS.items()
    )


def layers() -> tuple[EngineLayers, ...]:
    """Most of them in FP16."""
    made = [Layer(name="Reformatting CopyNode for Input Tensor 0 to conv1", kind="Reformat", precision="FP32")]
    made += [Layer(name=f"block{number} + Relu", kind="CaskConvolution", precision="FP16") for number in range(53)]
    made += [Layer(name="Softmax", kind="SoftMaxV2", precision="FP32")]
    return tuple(
        EngineLayers(engine="TRTEngineOp_000_000", shapes=f"[[{size},224,224,3]]", layers=tuple(made))
        for size in BATCH_SIZES
    )


def rewrites() -> tuple[Rewritten, ...]:
    """One that was kept, one that was not, and one of which nobody knows."""
    kept = Rewritten(name="padding as a part of max pooling", reason="TensorRT does not fuse it", places=1, questions=3)
    dropped = Rewritten(
        name="einsum as matrix products",
        reason="TensorRT answers some wrongly",
        places=2,
        questions=0,
        dropped="Identity:0 differs by 0.5 where its largest value is 2",
    )
    unknown = Rewritten(
        name="padding as a part of convolutions",
        reason="a Pad is a layer of its own",
        places=4,
        questions=0,
        notCompared="No OpKernel was registered to support Op 'CudnnRNN'",
    )
    return kept, dropped, unknown


def on_gpu() -> Report:
    """The report."""
    timed = measurements()
    conversion = Conversion(
        device=Device(name="NVIDIA H200", computeCapability="9.0", memoryBytes=150109880320, driver="580.159.04"),
        versions=Versions(tensorflow="2.14.1", tensorrt="8.5.3.1", runtime="triton"),
        engines=1,
        convertedOps=554,
        totalOps=556,
        batchSizes=BATCH_SIZES,
        inputs=(Tensor(name="input_1", dtype="FP32", shape=(-1, 224, 224, 3)),),
        outputs=(Tensor(name="predictions", dtype="FP32", shape=(-1, 1000)),),
        sample=None,
        startedAt="2026-11-23T11:13:10Z",
        verification=Verification(samples=169, top1Agreement="0.9882", maxRelativeError="0.009287"),
        memory=Memory(weightsBytes=212570112, peakBytes=817889280, overheadBytes=564723712),
        benchmark=rows.summary(timed),
        batching=Batching(
            mode="Dynamic",
            reason="ItemsIndependent",
            message="128 samples of made-up input are answered alike in a batch, alone and in another order",
        ),
        segments=(
            Segment(
                operations=3,
                first="StatefulPartitionedCall/resnet50/label",
                blockers=(Blocker(operation="StringUpper", reason="Op type StringUpper is not supported."),),
            ),
        ),
    )
    return Report(
        spec=spec.JobSpec(
            version=1,
            model=spec.ModelName(namespace="default", name="resnet50"),
            fingerprint="04e2f26cfa2b69e71f13c2151a1a9f7e",
            source=spec.Source(uri="s3://models/resnet50/3", signature="serving_default"),
            conversion=spec.Conversion(precision="FP16", maxWorkspaceSizeBytes=4 << 30, batchSizes=BATCH_SIZES),
            runtime=spec.Runtime(name="triton", accelerator="GPU", tensorflow="2.14.1", tensorrt="8.5.3.1"),
            artifacts=spec.Artifacts(uri="pvc://models/tftrt"),
        ),
        sourceDigest="sha256:6bdfa3e47159dcb130d6649f39b5bbe5b566b181e11d22302aa4dfb1ba0cb453",
        findings=Findings(
            conversion=conversion,
            comparisons=tuple(
                Comparison(
                    output="predictions",
                    batchSize=size,
                    samples=size,
                    maxRelativeError="0.009287" if size == max(BATCH_SIZES) else "0.004",
                    top1Agreement="0.9844" if size == max(BATCH_SIZES) else "1",
                )
                for size in BATCH_SIZES
            ),
            rows=timed,
            before=resnet(),
            after=converted(),
            layers=layers(),
            rewrites=rewrites(),
        ),
    )
