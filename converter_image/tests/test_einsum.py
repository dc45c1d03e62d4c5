# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Equations of `Einsum` that TensorRT answers wrongly, and become matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, rewritten
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import einsum

SIZES = dict(zip("abcdefg", (2, 3, 4, 5, 6, 7, 1), strict=True))


# The most that is summed over are 6 and 7, and one is added; attention has projections of 6, heads of 3 and a softmax.
TERMS = 6 * 7 + 1


def operations(function: Any) -> list[str]:
    """Those between the inputs and the answer."""
    aside = {"Placeholder", "Const", "Identity", "NoOp"}
    return sorted(operation.type for operation in function.graph.get_operations() if operation.type not in aside)


def equations(function: Any) -> list[str]:
    return [
        operation.get_attr("equation").decode()
        for operation in function.graph.get_operations()
        if operation.type == "Einsum"
    ]


def of(equation: str) -> tuple[Any, list[Any]]:
    """The function of an equation whose sizes are open, and something to ask it."""
    operands = equation.partition("->")[0].replace("...", "g").split(",")
    random = np.random.default_rng(7)
    asked = [
        tf.constant(random.normal(size=[SIZES[label] for label in labels]).astype(np.float32)) for labels in operands
    ]
    shapes: list[list[int | None]] = [[None] * len(labels) for labels in operands]
    return frozen(lambda *x: tf.einsum(equation, *x) + 1.0, *shapes), asked


def same_answers(function: Any, other: Any, asked: list[Any]) -> None:
    assert_rounded_alike(other(*asked)[0].numpy(), function(*asked)[0].numpy(), TERMS)


@pytest.mark.parametrize(
    ("equation", "transpositions"),
    [
        pytest.param("acbe,aecd->abcd", 2, id="attention's weighted values"),
        pytest.param("aecd,abcd->acbe", 3, id="attention's scores"),
        pytest.param("abc,acd->abd", 0, id="a batch of matrices"),
        pytest.param("acb,acd->abd", 0, id="the left one turned"),
        pytest.param("abc,adc->abd", 0, id="the right one turned"),
        pytest.param("acb,adc->abd", 0, id="both turned"),
        pytest.param("abc,acd->adb", 1, id="the product turned"),
        pytest.param("bca,cad->dba", 3, id="the batch last"),
        pytest.param("abcd,badf->bacf", 1, id="batches of another order"),
    ],
)
def test_a_batch_of_matrix_products_answers_the_same_without_einsum(equation: str, transpositions: int) -> None:
    function, asked = of(equation)
    count, other = rewritten(function, einsum.PRODUCTS)
    assert count == 1
    assert operations(other) == ["AddV2", "BatchMatMulV2", *["Transpose"] * transpositions]
    same_answers(function, other, asked)


@pytest.mark.parametrize(
    ("equation", "written"),
    [
        pytest.param("abc,cde->adbe", "abc,cde->abde", id="a projection to heads that come first"),
        pytest.param("abc,cde->abed", "abc,cde->abde", id="heads that come last"),
        pytest.param("abcd,abef->acbefd", "abcd,abef->abcdef", id="nothing is summed"),
        pytest.param("abcd,acef->bacdef", "abcd,acef->acbdef", id="the batch behind"),
    ],
)
def test_another_equation_answers_the_same_with_the_batch_first(equation: str, written: str) -> None:
    function, asked = of(equation)
    count, other = rewritten(function, einsum.PRODUCTS)
    assert count == 1
    assert equations(other) == [written]
    assert operations(other) == ["AddV2", "Einsum", "Transpose"]
    same_answers(function, other, asked)


@pytest.mark.parametrize(
    "equation",
    [
        pytest.param("abc,cde->abde", id="a projection to heads"),
        pytest.param("abcd,cde->abe", id="and back"),
        pytest.param("ab,bc->ac", id="one product"),
        pytest.param("ab,bc->ca", id="one product, turned"),
        pytest.param("abc,cd->ab", id="summed over what one operand has"),
        pytest.param("aab,abc->ac", id="a diagonal"),
        pytest.param("abc->acb", id="one operand"),
        pytest.param("...ab,...bc->...ac", id="labels that are not named"),
    ],
)
def test_any_other_equation_stays(equation: str) -> None:
    function, _ = of(equation)
    before = equations(function)
    count, other = rewritten(function, einsum.PRODUCTS)
    assert count == 0
    assert equations(other) == before


@pytest.mark.parametrize("length", [1, 5])
def test_attention_of_keras_answers_the_same(length: int) -> None:
    layer = tf.keras.layers.MultiHeadAttention(2, 3)
    x = tf.constant(np.random.default_rng(3).normal(size=(2, length, 6)).astype(np.float32))
    layer(x, x)
    function = frozen(lambda x: layer(x, x), [None, None, 6])
    assert len(equations(function)) == 6
    count, other = rewritten(function, einsum.PRODUCTS)
    assert count == 2
    assert len(equations(other)) == 4
    same_answers(function, other, [x])


def test_what_waits_for_something_else_goes_on_waiting() -> None:
    def network(x: Any, y: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_positive(x[0, 0, 0])]):
            return tf.einsum("abc,acd->adb", x, y)

    function = frozen(network, [2, 3, 4], [2, 4, 5])
    waits = [operation for operation in function.graph.get_operations() if operation.type == "Einsum"]
    assert waits[0].control_inputs
    _, other = rewritten(function, einsum.PRODUCTS)
    (product,) = (one for one in other.graph.get_operations() if one.name == waits[0].name)
    assert product.type == "Transpose"
    assert [one.name for one in product.control_inputs] == [one.name for one in waits[0].control_inputs]


@pytest.mark.parametrize("equation", ["acbe,aecd->abcd", "abc,cde->adbe", "acb,adc->abd"])
def test_an_equation_in_a_loop_answers_the_same(equation: str) -> None:
    operands = equation.partition("->")[0].split(",")
    function = frozen(
        in_a_loop(lambda *x: tf.einsum(equation, *x)), *(list(map(SIZES.get, labels)) for labels in operands)
    )
    assert "Enter" in {operation.type for operation in function.graph.get_operations()}
    count, other = rewritten(function, einsum.PRODUCTS)
    assert count == 1
    same_answers(function, other, of(equation)[1])


def test_a_graph_is_rewritten_once() -> None:
    function, _ = of("acbe,aecd->abcd")
    graph = function.graph.as_graph_def()
    assert [einsum.PRODUCTS.apply(graph) for _ in range(2)] == [1, 0]
