"""`tftrt`, however it ends: in an exit code and, where it failed, in a sentence."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

import click

from tftrt_runtime import log
from tftrt_runtime.cli.commands import AnsweredError, cli
from tftrt_runtime.contract import termination
from tftrt_runtime.contract.errors import Failure, Internal, Terminated, UsageError
from tftrt_runtime.contract.told_uri import told_text
from tftrt_runtime.contract.validation import without_input


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)


def main() -> None:
    """Run a command; however it ends, it ends in an exit code and, where it failed, in a sentence."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    sys.exit(_exit_code(lambda: cli.main(prog_name="tftrt", standalone_mode=False)))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        command()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        error.show()
        failure = UsageError(error.format_message())
        return failure.code if sys.stderr.isatty() else _failed(failure)
    except AnsweredError as answered:
        return int(answered.args[0])
    except Failure as failure:
        return _failed(failure)
    except Terminated as terminated:
        log.event("exit", "Ended by a signal", signal=signal.Signals(terminated.args[0]).name)
        return 128 + int(terminated.args[0])
    except Exception as error:
        last = told_text(without_input(f"{type(error).__name__}: {error}", error))
        log.event("exit", "Unexpected error", error=last)
        import traceback

        print(told_text(without_input(traceback.format_exc(), error)), file=sys.stderr)
        return _failed(Internal(f"Unexpected error: {last}"))
    return 0


def _failed(failure: Failure) -> int:
    log.event("exit", failure.message, reason=failure.reason, code=failure.code)
    termination.write(termination.of_failure(failure))
    return failure.code


if __name__ == "__main__":
    main()
