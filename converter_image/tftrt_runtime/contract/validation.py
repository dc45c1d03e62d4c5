"""What is wrong with a text that is not of its type, without any of the text: it may be a key in the wrong place."""

from __future__ import annotations

from pydantic import ValidationError

from tftrt_runtime.contract.errors import causes


def fault(error: ValidationError) -> str:
    """The first fault: where, and what should be there."""
    first = error.errors(include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}"


def without_input(text: str, error: BaseException) -> str:
    """A text that tells of an error, such as its traceback, without what pydantic quotes in it."""
    for cause in causes(error):
        if isinstance(cause, ValidationError):
            text = text.replace(str(cause), fault(cause))
    return text
