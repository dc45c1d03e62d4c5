"""All commands. Those that are steps of a Job take a spec; `convert` and `fetch` do both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tftrt_runtime.contract import spec, termination
from tftrt_runtime.contract.errors import Failure
from tftrt_runtime.processes import child
from tftrt_runtime.steps.workspace import DEFAULT_PATH, Workspace

# Imports that only one command needs stand in that command: start-up time counts, for a Job runs four of them in a row.
# What a command with TensorFlow needs is imported while TensorFlow is.

FLOATS = click.FloatRange(min=0)
SIZES = click.IntRange(min=1)

spec_option = click.option(
    "--spec",
    "spec_path",
    type=click.Path(path_type=Path),
    default=spec.DEFAULT_PATH,
    show_default=True,
    help="The spec (JSON) to work by.",
)
workspace_option = click.option(
    "--workspace",
    "workspace_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="The folder that lookup, fetch, convert and publish share.",
)
job_spec_option = click.option(
    "--spec",
    "spec_path",
    type=click.Path(path_type=Path),
    default=spec.DEFAULT_PATH,
    show_default=True,
    help="In a Job: the spec (JSON) to work by, instead of SOURCE, TARGET and the options above.",
)
http_port_option = click.option(
    "--http-port", type=click.IntRange(1, 65535), default=8000, show_default=True, envvar="TFTRT_HTTP_PORT"
)
verbose_option = click.option("--verbose", "-v", is_flag=True, help="Show what TensorFlow and TensorRT say, too.")
source_option = click.option(
    "--source", help="The unconverted model, where it is no longer where it was converted from."
)
batch_size_option = click.option(
    "--batch-size", "-b", "batch_sizes", type=SIZES, multiple=True, help="May be given several times."
)
agreement_option = click.option(
    "--min-top1-agreement", type=FLOATS, help="Exit 17 where a smaller share of classes stays the same."
)
error_option = click.option("--max-relative-error", type=FLOATS, help="Exit 17 where an answer differs by more.")
top1_option = click.option(
    "--top1-output", metavar="NAME", help="The output of classes, where the model does not show which it is."
)
converted_argument = click.argument("converted", type=click.Path(exists=True, file_okay=False, path_type=Path))


class AnsweredError(Exception):
    """A failure that a person has read already; its argument is the exit code."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tftrt-runtime")
def cli() -> None:
    """Convert TensorFlow models with TensorRT and serve them.

    On a machine of your own: convert, verify, benchmark, report, fetch. In a Job of the operator: lookup, fetch,
    convert, publish, in this order, each by the same spec and over one workspace; in a server's pod: pull, serve,
    drain.

    Exit codes: 0 done; 2 usage; 10-29 yours to fix; 30 and above a passing fault.
    """


@cli.command()
@click.argument("source", required=False)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--signature", default="serving_default", show_default=True, help="Of the SavedModel.")
@click.option("--input", "inputs", multiple=True, metavar="TENSOR", help="Of a frozen graph: input:0. Several times.")
@click.option("--output", "outputs", multiple=True, metavar="TENSOR", help="Of a frozen graph. Several times.")
@click.option(
    "--value",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of an input with one value for all requests: phase_train=false. Several times.",
)
@click.option("--precision", type=click.Choice(["FP32", "FP16", "INT8"]), default="FP32", show_default=True)
@click.option(
    "--batch-size",
    "-b",
    "batch_sizes",
    type=SIZES,
    multiple=True,
    default=(1,),
    show_default=True,
    help="An engine is built for each; may be given several times.",
)
@click.option("--max-workspace-size", default="1Gi", show_default=True, metavar="SIZE", help="For TensorRT: 4G, 512Mi.")
@click.option(
    "--minimum-segment-size",
    type=SIZES,
    default=3,
    show_default=True,
    help="Fewer operations in a row than this stay with TensorFlow.",
)
@click.option(
    "--dynamic-shapes",
    type=click.Choice(["Range", "Optimal", "Range+Optimal"]),
    help="One engine for a range of shapes, instead of one for each batch size.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="NAME=SIZES",
    help="Of an input that leaves more open than the batch: image=224x224x3, or least,usual,most: ids=1,128,512.",
)
@click.option(
    "--input-type",
    "input_types",
    multiple=True,
    metavar="NAME=TYPE",
    help="Of an input of FP32 that requests are to have as UINT8 or FP16: image=UINT8. Fewer bytes. Several times.",
)
@click.option(
    "--input-scale",
    "input_scales",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="What its values are multiplied by then: image=0.00392156862745098, or a number for each channel: a,b,c.",
)
@click.option(
    "--input-offset",
    "input_offsets",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="What is added behind that: image=-123.68,-116.779,-103.939.",
)
@click.option(
    "--calibration-data",
    metavar="PATH",
    help="For INT8: a file or folder of .npz, .npy or TFRecord; none where the graph has ranges of its own.",
)
@click.option("--calibration-samples", type=SIZES, default=512, show_default=True)
@click.option("--calibration-batch-size", type=SIZES, default=8, show_default=True)
@click.option("--verification-data", metavar="PATH", help="To compare on, instead of made-up input; the same formats.")
@top1_option
@agreement_option
@error_option
@click.option("--min-speedup", type=FLOATS, help="Exit 18 where it is not so many times faster, its input on the host.")
@verbose_option
@job_spec_option
@workspace_option
@click.pass_context
def convert(
    context: click.Context,
    /,
    source: str | None,
    target: Path | None,
    min_top1_agreement: float | None,
    max_relative_error: float | None,
    min_speedup: float | None,
    verbose: bool,
    spec_path: Path,
    workspace_path: Path,
    **options: Any,
) -> None:
    """Convert a model: verify it, time it, and write a report.

    SOURCE is a SavedModel's folder, an archive of one, a frozen graph (.pb, with --input and --output) or a URI of
    one (s3://, gs://, az://, https://). TARGET is a new folder: the converted SavedModel is in TARGET/model, the
    report is TARGET/report.html. Without a GPU the graph is frozen and optimised, without TensorRT.

    The engines take batches up to the largest --batch-size. A larger one, TensorFlow runs without TensorRT, unless
    TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION=False is in the environment before TensorFlow is imported: then it is
    an error.

    \b
    Examples:
      tftrt convert ./resnet50 ./converted
      tftrt convert ./resnet50 ./converted --precision FP16 -b 1 -b 8 -b 32 --min-top1-agreement 0.99 --min-speedup 2
      tftrt convert s3://models/resnet50 ./int8 --precision INT8 --calibration-data ./samples.npz -b 32
      tftrt convert ./graph.pb ./converted --input input:0 --output softmax:0
      tftrt convert ./resnet50 ./converted --input-type image=UINT8 --input-scale image=0.00392156862745098
      tftrt convert ./bert ./converted --precision FP16 --dynamic-shapes Range+Optimal --input-shape ids=1,128,512
    """
    if not _is_a_persons(context, source, target):
        task = spec.read(spec_path, spec.JobSpec).told()
        with child.prepared("convert"):
            from tftrt_runtime.steps import convert as step

            step.run(task, Workspace(workspace_path))
        return
    assert source is not None and target is not None
    from tftrt_runtime.cli import console
    from tftrt_runtime.cli.gates import Gates

    gates = Gates(min_top1_agreement, max_relative_error, min_speedup)
    with _told(verbose), child.prepared("convert"):
        from tftrt_runtime.cli import alone
        from tftrt_runtime.cli.options import ConvertOptions

        report = alone.convert(ConvertOptions(source=source, target=target, **options))
    console.converted(report)
    click.echo(f"\n{target / 'model'} is the converted model, {target / 'report.html'} tells more.")
    conversion = report.findings.conversion
    if conversion.leftOut:
        click.echo(f"Not of an item, and so not served with batches: {', '.join(conversion.leftOut)}.")
    if conversion.engines and conversion.batched:
        click.echo(
            f"Its engines take batches up to {max(conversion.batchSizes)}; a larger one runs without TensorRT, or "
            "fails with TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION=False in the environment."
        )
    with _told(verbose):
        gates.judge(conversion.verification, conversion.benchmark)


@cli.command()
@converted_argument
@source_option
@click.option(
    "--data", "samples", metavar="PATH", help="Samples to compare on: .npz, .npy or TFRecord, a file or a folder."
)
@top1_option
@agreement_option
@error_option
@verbose_option
def verify(
    converted: Path,
    source: str | None,
    samples: str | None,
    top1_output: str | None,
    min_top1_agreement: float | None,
    max_relative_error: float | None,
    verbose: bool,
) -> None:
    """Compare a converted model with the one that it was made from.

    CONVERTED is a folder that `tftrt convert` wrote. Without --data, on what it was compared on then: data, or made-up
    input of the model's own shapes, of which a classifier's agreement says little.

    \b
    Examples:
      tftrt verify ./converted
      tftrt verify ./converted --data ./samples.npz --min-top1-agreement 0.99
    """
    from tftrt_runtime.cli import console
    from tftrt_runtime.cli.gates import Gates

    with _told(verbose), child.prepared("convert"):
        from tftrt_runtime.cli import alone

        answer = alone.verify(converted, source, samples, top1_output)
    console.verified(answer.verification, answer.comparisons)
    with _told(verbose):
        Gates(min_top1_agreement, max_relative_error).judge(answer.verification, None)


@cli.command()
@converted_argument
@source_option
@batch_size_option
@verbose_option
def benchmark(converted: Path, source: str | None, batch_sizes: tuple[int, ...], verbose: bool) -> None:
    """Time a converted model and the one that it was made from.

    CONVERTED is a folder that `tftrt convert` wrote. Each way in a process of its own: converted, native, and without
    TF32 where the GPU has it; with the input on the device and on the host, with one, two and three calls at a time.
    The speed-up is of input and answers on the host, with as many calls at a time as a server has.

    \b
    Examples:
      tftrt benchmark ./converted
      tftrt benchmark ./converted -b 32 --source ./resnet50
    """
    from tftrt_runtime.cli import console

    with _told(verbose), child.prepared("convert"):
        from tftrt_runtime.cli import alone

        rows = alone.benchmark(converted, source, batch_sizes)
    console.timed(rows)


@cli.command()
@click.argument("source", required=False)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@verbose_option
@job_spec_option
@workspace_option
@click.pass_context
def fetch(
    context: click.Context,
    source: str | None,
    target: Path | None,
    verbose: bool,
    spec_path: Path,
    workspace_path: Path,
) -> None:
    """Copy a model from where it is, and print its digest.

    SOURCE is a URI (s3://, gs://, az://, https://) or a path, of a SavedModel's folder, an archive of one or a frozen
    graph (.pb); TARGET is a new folder. Credentials are the environment's own.

    \b
    Examples:
      tftrt fetch s3://models/resnet50 ./resnet50
      tftrt fetch https://example.com/resnet50.tar.gz ./resnet50
    """
    if not _is_a_persons(context, source, target):
        from tftrt_runtime.steps import fetch

        fetch.run(spec.read(spec_path, spec.JobSpec), Workspace(workspace_path))
        return
    assert source is not None and target is not None
    from tftrt_runtime.cli import alone

    with _told(verbose):
        digest = alone.bring(source, target)
    click.echo(digest)


@cli.command()
@click.argument("report_path", metavar="REPORT", type=click.Path(exists=True, path_type=Path))
@click.argument("page", required=False, type=click.Path(dir_okay=False, path_type=Path))
def report(report_path: Path, page: Path | None) -> None:
    """Make the page of a report again.

    REPORT is a report.json, or the folder of a converted model that it is in; PAGE is the file to write, report.html
    beside it if none is named.

    \b
    Examples:
      tftrt report ./converted
      tftrt report ./converted/report.json ./page.html
    """
    from tftrt_runtime.cli import alone

    with _told(verbose=False):
        written = alone.draw(report_path, page)
    click.echo(written)


@cli.command()
@spec_option
@workspace_option
def lookup(spec_path: Path, workspace_path: Path) -> None:
    """See which artifacts of this fingerprint the store has."""
    from tftrt_runtime.steps import lookup

    lookup.run(spec.read(spec_path, spec.JobSpec).told(), Workspace(workspace_path))


@cli.command()
@spec_option
@workspace_option
def publish(spec_path: Path, workspace_path: Path) -> None:
    """Put the artifact into the store and print the summary."""
    from tftrt_runtime.steps import publish

    summary = publish.run(spec.read(spec_path, spec.JobSpec).told(), Workspace(workspace_path))
    text = termination.of_summary(summary)
    termination.write(text)
    click.echo(text)


@cli.command()
@spec_option
@click.option(
    "--workspace",
    "workspace_path",
    type=click.Path(path_type=Path),
    default=None,
    help="A folder for the model repository that is generated  [default: a new temporary one]",
)
@http_port_option
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8001, show_default=True, envvar="TFTRT_GRPC_PORT")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), default=8002, show_default=True, envvar="TFTRT_METRICS_PORT"
)
def serve(spec_path: Path, workspace_path: Path | None, http_port: int, grpc_port: int, metrics_port: int) -> None:
    """Serve the artifact at /mnt/artifact (TFTRT_ARTIFACT) with Triton."""
    from tftrt_runtime.serve import step
    from tftrt_runtime.serve.tritonserver import Ports

    ports = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
    step.run(spec.read(spec_path, spec.ServerSpec), workspace_path, ports)


@cli.command()
@http_port_option
def drain(http_port: int) -> None:
    """Have the clients of this machine's `serve` go elsewhere: a pod's preStop hook.

    Readiness turns at once. When this ends, each call that had begun is answered, or has taken longer than it may.
    """
    from tftrt_runtime.serve import connections

    connections.drain(http_port)


@cli.command()
@spec_option
def pull(spec_path: Path) -> None:
    """Bring the artifact from an object store to /mnt/artifact (TFTRT_ARTIFACT), for `serve`."""
    from tftrt_runtime.contract.artifact import artifact_folder
    from tftrt_runtime.serve import pull

    pull.run(spec.read(spec_path, spec.ServerSpec), artifact_folder())


@cli.command()
@spec_option
def delete(spec_path: Path) -> None:
    """Delete the artifacts of the spec's fingerprints from the store."""
    from tftrt_runtime.steps import delete

    delete.run(spec.read(spec_path, spec.DeleteSpec))


def _is_written(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def _is_a_persons(context: click.Context, source: str | None, target: Path | None) -> bool:
    """Whether the command is a person's, with a SOURCE and a TARGET, and not a Job's, with a spec.

    Raises:
        click.UsageError: it is both, or neither, or has options beside its spec.
    """
    written = {name for name in context.params if _is_written(context, name)}
    given = "spec_path" in written
    if source is None:
        if given or spec.DEFAULT_PATH.exists():
            if beside := sorted(written - {"spec_path", "workspace_path"}):
                option = next(param for param in context.command.params if param.name == beside[0])
                raise click.UsageError(f"{option.opts[0]} is not for a Job: all that it does is in its spec.", context)
            return False
        raise click.UsageError("Name a SOURCE and a TARGET.", context)
    if target is None:
        raise click.UsageError("Name a TARGET, too: a new folder.", context)
    if given:
        raise click.UsageError("Give a SOURCE and a TARGET, or --spec; not both.", context)
    return True


@contextlib.contextmanager
def _told(verbose: bool) -> Iterator[None]:
    """Tell a person what happens, and why it failed.

    Raises:
        AnsweredError: it failed.
    """
    from tftrt_runtime.cli import console

    try:
        with console.Progressing(verbose).shown():
            yield
    except Failure as failure:
        console.failed(failure)
        raise AnsweredError(failure.code) from failure
