"""What pure functions have returned for the very same frozen values: one pass asks several times for one thing."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..api.trtmodel import RETRY_ANNOTATION, TRTModel

P = ParamSpec("P")
T = TypeVar("T")
MOST = 64
"""Of each function, for each of those models keeps all that was parsed of it: as many as are worked on at a time."""


def identity_of(model: TRTModel) -> Hashable:
    """Return what all that is made of a model depends on; its spec is the same one while only its status changes."""
    metadata = model.metadata
    retry = metadata.annotations.get(RETRY_ANNOTATION)
    return id(model.spec), metadata.namespace, metadata.name, metadata.uid, retry


def remembered(identity: Callable[P, Hashable]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function's last results kept, by what `identity` makes of its arguments.

    That may be made of `id()`s: the arguments are kept as well, so that no other value gets the id of one of them. They
    must be frozen, and the result must not be changed.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        results: OrderedDict[Hashable, tuple[T, object]] = OrderedDict()

        @wraps(function)
        def call(*arguments: P.args, **named: P.kwargs) -> T:
            key = identity(*arguments, **named)
            found = results.get(key)
            if found is None:
                found = results[key] = function(*arguments, **named), (arguments, named)
                if len(results) > MOST:
                    results.popitem(last=False)
            else:
                results.move_to_end(key)
            return found[0]

        return call

    return decorate
