"""The command line: `tftrt lookup | fetch | convert | publish | pull | serve | delete`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from tftrt_runtime import log, spec, termination
from tftrt_runtime.errors import Failure, Internal, Terminated, UsageError
from tftrt_runtime.workspace import DEFAULT_PATH, Workspace

# Imports that only one command needs stand in that command: start-up time counts, for a Job runs four of them in a row.

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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tftrt-runtime")
def cli() -> None:
    """Convert TensorFlow models with TensorRT and serve them.

    A conversion is lookup, fetch, convert, publish, in this order and over one workspace. Exit codes: 0 done; 2 usage;
    10-29 yours to fix; 30 and above a passing fault.
    """


@cli.command()
@spec_option
@workspace_option
def lookup(spec_path: Path, workspace_path: Path) -> None:
    """See which artifacts of this fingerprint the store has."""
    from tftrt_runtime import lookup

    lookup.run(spec.read(spec_path, spec.JobSpec), Workspace(workspace_path))


@cli.command()
@spec_option
@workspace_option
def fetch(spec_path: Path, workspace_path: Path) -> None:
    """Copy the source into the workspace and digest it."""
    from tftrt_runtime import fetch

    fetch.run(spec.read(spec_path, spec.JobSpec), Workspace(workspace_path))


@cli.command()
@spec_option
@workspace_option
def convert(spec_path: Path, workspace_path: Path) -> None:
    """Convert the fetched source."""
    from tftrt_runtime.convert import step

    step.run(spec.read(spec_path, spec.JobSpec), Workspace(workspace_path))


@cli.command()
@spec_option
@workspace_option
def publish(spec_path: Path, workspace_path: Path) -> None:
    """Put the artifact into the store and print the summary."""
    from tftrt_runtime import publish

    summary = publish.run(spec.read(spec_path, spec.JobSpec), Workspace(workspace_path))
    text = termination.of_summary(summary.model_dump())
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
@click.option("--http-port", type=click.IntRange(1, 65535), default=8000, show_default=True, envvar="TFTRT_HTTP_PORT")
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
@spec_option
def pull(spec_path: Path) -> None:
    """Bring the artifact from an object store to /mnt/artifact (TFTRT_ARTIFACT), for `serve`."""
    from tftrt_runtime import pull
    from tftrt_runtime.artifact import artifact_folder

    pull.run(spec.read(spec_path, spec.ServerSpec), artifact_folder())


@cli.command()
@spec_option
def delete(spec_path: Path) -> None:
    """Delete the artifacts of the spec's fingerprints from the store."""
    from tftrt_runtime import delete

    delete.run(spec.read(spec_path, spec.DeleteSpec))


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)


def main() -> None:
    """Run a command; however it ends, it ends in an exit code and, where it failed, in a sentence."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    sys.exit(_exit_code(lambda: cli.main(standalone_mode=False)))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        command()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        error.show()
        return _failed(UsageError(error.format_message()))
    except Failure as failure:
        return _failed(failure)
    except Terminated as terminated:
        log.event("exit", "Ended by a signal", signal=signal.Signals(terminated.args[0]).name)
        return 128 + int(terminated.args[0])
    except Exception as error:
        last = f"{type(error).__name__}: {error}"
        log.event("exit", "Unexpected error", error=last)
        import traceback

        traceback.print_exc()
        return _failed(Internal(f"Unexpected error: {last}"))
    return 0


def _failed(failure: Failure) -> int:
    log.event("exit", failure.message, reason=failure.reason, code=failure.code)
    termination.write(termination.of_failure(failure))
    return failure.code


if __name__ == "__main__":
    main()
