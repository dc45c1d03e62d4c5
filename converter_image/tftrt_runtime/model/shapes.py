"""The sizes of the dimensions that a signature leaves open, as `inputShapes` of the spec gives them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit, SignatureNotFound
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.model import samples

if TYPE_CHECKING:  # it imports TensorFlow
    from tftrt_runtime.model.composites import Composite

InputShapes = Mapping[str, ShapeRange]  # by the input's name
WHICH = ("min", "opt", "max")


def of_calls(inputs: Sequence[Tensor], given: InputShapes) -> InputShapes:
    """What is given for a model that takes no batches, with all dimensions.

    Who leaves out the first one, as in a model with batches, means what the signature has there, or 1 where it is open.
    """
    by_name = {tensor.name: tensor.shape for tensor in inputs}

    def whole(name: str, shape: ShapeRange) -> ShapeRange:
        wanted = by_name.get(name, ())
        if len(shape.min) != len(wanted) - 1:
            return shape
        first = (max(wanted[0], 1),)
        return ShapeRange(min=first + shape.min, opt=first + shape.opt, max=first + shape.max)

    return {name: whole(name, shape) for name, shape in given.items()}


def behind_a_batch(shape: ShapeRange) -> tuple[int | None, ...]:
    """The whole shape of an input of any rank whose samples have these sizes; None is an open dimension."""
    return (None, *(low if low == high else None for low, high in zip(shape.min, shape.max)))


def expect_fit(inputs: Sequence[Tensor], given: InputShapes, uri: str, batched: bool = True) -> None:
    """Hold that what is given is for the inputs that there are, with their ranks and their fixed dimensions.

    Raises:
        SignatureNotFound: it is not.
    """
    by_name = {tensor.name: tensor for tensor in inputs}
    for name, shape in given.items():
        if name not in by_name:
            raise SignatureNotFound(
                f"spec.conversion.inputShapes has {name!r}, which is no input of {uri}: {near(name, by_name)}."
            )
        wanted = by_name[name].sizes(batched)
        for sizes in (shape.min, shape.opt, shape.max):
            if len(sizes) != len(wanted) or any(length not in {-1, size} for length, size in zip(wanted, sizes)):
                raise SignatureNotFound(
                    f"spec.conversion.inputShapes gives {name!r} the sizes {list(sizes)}, and the input of {uri} has "
                    f"{told(wanted)}: give a size for each of these dimensions"
                    f"{', the batch not among them' if batched else ''}."
                )


def expect_closed(inputs: Sequence[Tensor], given: InputShapes, uri: str, batched: bool = True) -> None:
    """Hold that every open dimension is given, for TensorRT builds engines for shapes that are known.

    Raises:
        SignatureNotFound: one is not.
    """
    for tensor in inputs:
        sizes = tensor.sizes(batched)
        if -1 in sizes and tensor.name not in given:
            raise SignatureNotFound(
                f"Input {tensor.name!r} of {uri} has open dimensions{' beside the batch' if batched else ''}, "
                f"{told(sizes)}, and engines are built for known sizes: set spec.conversion.inputShapes for it, and "
                "spec.conversion.dynamicShapes where its sizes differ from request to request."
            )


def expect_in_range(
    batch: samples.Batch, given: InputShapes, strategy: str | None, what: str, batched: bool = True
) -> None:
    """Hold that a batch of the user's data has shapes that the engines take; `what` names the data.

    Those of the profile strategy `Optimal` take exactly the `min`, the `opt` and the `max` sizes.

    Raises:
        CalibrationDataUnfit: it has not.
    """
    if not given:
        return
    found = {name: tuple(batch[name].shape[batched:]) for name in given}
    if strategy == "Optimal":
        built = [{name: getattr(shape, which) for name, shape in given.items()} for which in WHICH]
        if found not in built:
            raise CalibrationDataUnfit(
                f"{what} samples have the shapes {_shapes(found)}, and engines of the strategy Optimal take exactly "
                f"{' or '.join(map(_shapes, built))}: give samples of these, or set spec.conversion.dynamicShapes to "
                "Range."
            )
    for name, shape in given.items():
        if not all(low <= size <= high for low, size, high in zip(shape.min, found[name], shape.max)):
            raise CalibrationDataUnfit(
                f"{what} samples for the input {name!r} have shape {list(found[name])}, outside of "
                f"spec.conversion.inputShapes, {list(shape.min)} to {list(shape.max)}: give samples of a shape that "
                "the engines are built for."
            )


def usual(
    inputs: Sequence[Tensor],
    given: InputShapes,
    open_dimension: int,
    batched: bool = True,
    composites: Sequence[Composite] = (),
) -> Sample:
    """The sample of the `opt` sizes; an open dimension that is not given has `open_dimension`.

    Parts of ragged and sparse inputs are as these have them.
    """
    sizes = {name: size for composite in composites for name, size in composite.sizes.items()}
    chosen = {**sizes, **{name: shape.opt for name, shape in given.items()}}
    parts = {name: part for composite in composites for name, part in composite.parts.items()}
    return samples.sample(inputs, open_dimension, chosen, batched, parts)


def distinct(usual: Sample, given: InputShapes) -> tuple[Sample, ...]:
    """The samples of the `min`, the `opt` and the `max` sizes, each once, in this order; `usual` is that of `opt`."""
    found: list[Sample] = []
    for which in WHICH:
        sizes = {name: getattr(shape, which) for name, shape in given.items()}
        sample = usual.model_copy(update={"shapes": {**usual.shapes, **sizes}})
        if sample not in found:
            found.append(sample)
    return tuple(found)


def near(name: str, names: Mapping[str, object] | Sequence[str]) -> str:
    """Which of the names may have been meant: `did you mean ...`, else `there is ...`."""
    meant = difflib.get_close_matches(name, list(names), n=3)
    if meant:
        return f"did you mean {' or '.join(map(repr, meant))}"
    return f"there is {', '.join(map(repr, sorted(names)[:10])) or 'none'}"


def told(lengths: Sequence[int]) -> str:
    """The sizes as a person writes them: `[any, 3]`."""
    return f"[{', '.join('any' if length < 0 else str(length) for length in lengths)}]"


def _shapes(sizes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name!r} {list(lengths)}" for name, lengths in sizes.items())
