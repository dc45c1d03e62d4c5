"""Arithmetic by element, comparisons, casts, choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import (
    Array,
    Input,
    Operation,
    Values,
    between,
    images,
    normal,
    of,
    rows,
    truths,
)

POSITIVE = between(0.1, 4.0)
X, Y = images(), images()


def _one(name: str, operation: str, body: Any, values: Values | None = None) -> Operation:
    return Operation(name, operation, f"tf.math.{body}(x)", of(lambda x: getattr(tf.math, body)(x)),
                     (images(values=values),))  # fmt: skip


def _two(name: str, operation: str, call: str, body: Any, values: Values | None = None) -> Operation:
    return Operation(name, operation, call, of(body), (images(values=values), images(values=values)))


def _quantized(x: Array) -> Array:
    """To 8 bits; what lies between two of them is rounded to either by float32."""
    step = 6 / 255
    return np.floor(np.clip(x, 0, 6) / step + 0.5) * step


OPERATIONS = (
    _two("add", "AddV2", "x + y", lambda x, y: x + y),
    _two("subtract", "Sub", "x - y", lambda x, y: x - y),
    _two("multiply", "Mul", "x * y", lambda x, y: x * y),
    _two("divide", "RealDiv", "x / y", lambda x, y: x / y, POSITIVE),
    _two("divide-no-nan", "DivNoNan", "tf.math.divide_no_nan(x, y)", lambda x, y: tf.math.divide_no_nan(x, y),
         POSITIVE),
    _two("floor-divide", "FloorDiv", "x // y", lambda x, y: x // y, POSITIVE),
    _two("floor-mod", "FloorMod", "x % y", lambda x, y: x % y, POSITIVE),
    _two("power", "Pow", "x ** y", lambda x, y: x**y, POSITIVE),
    _two("maximum", "Maximum", "tf.maximum(x, y)", lambda x, y: tf.maximum(x, y)),
    _two("minimum", "Minimum", "tf.minimum(x, y)", lambda x, y: tf.minimum(x, y)),
    _two("squared-difference", "SquaredDifference", "tf.math.squared_difference(x, y)",
         lambda x, y: tf.math.squared_difference(x, y)),
    _two("atan2", "Atan2", "tf.math.atan2(x, y)", lambda x, y: tf.math.atan2(x, y)),
    Operation("add-broadcast", "AddV2", "x + y, y of one row for each item", of(lambda x, y: x + y[:, None, None]),
              (X, rows(8))),
    Operation("multiply-constant", "Mul", "x * 0.5", of(lambda x: x * tf.cast(0.5, x.dtype)), (X,)),
    Operation("add-n", "AddN", "tf.add_n([x, y, x])", of(lambda x, y: tf.add_n([x, y, x])), (X, Y)),
    _one("abs", "Abs", "abs"),
    _one("negative", "Neg", "negative"),
    _one("exp", "Exp", "exp"),
    _one("expm1", "Expm1", "expm1"),
    _one("log", "Log", "log", POSITIVE),
    _one("log1p", "Log1p", "log1p", POSITIVE),
    _one("sqrt", "Sqrt", "sqrt", POSITIVE),
    _one("rsqrt", "Rsqrt", "rsqrt", POSITIVE),
    _one("square", "Square", "square"),
    _one("reciprocal", "Reciprocal", "reciprocal", POSITIVE),
    _one("sin", "Sin", "sin"),
    _one("cos", "Cos", "cos"),
    _one("tan", "Tan", "tan", between(-1, 1)),
    _one("asin", "Asin", "asin", between(-0.9, 0.9)),
    _one("acos", "Acos", "acos", between(-0.9, 0.9)),
    _one("atan", "Atan", "atan"),
    _one("sinh", "Sinh", "sinh"),
    _one("cosh", "Cosh", "cosh"),
    _one("asinh", "Asinh", "asinh"),
    _one("acosh", "Acosh", "acosh", between(1.1, 4)),
    _one("atanh", "Atanh", "atanh", between(-0.9, 0.9)),
    _one("erf", "Erf", "erf"),
    _one("erfc", "Erfc", "erfc"),
    _one("lgamma", "Lgamma", "lgamma", POSITIVE),
    _one("floor", "Floor", "floor"),
    _one("ceil", "Ceil", "ceil"),
    _one("round", "Round", "round"),
    _one("sign", "Sign", "sign"),
    _one("is-finite", "IsFinite", "is_finite"),
    _one("is-nan", "IsNan", "is_nan"),
    _two("greater", "Greater", "x > y", lambda x, y: x > y),
    _two("less-equal", "LessEqual", "x <= y", lambda x, y: x <= y),
    _two("equal", "Equal", "x == y", lambda x, y: tf.equal(tf.round(x), tf.round(y))),
    _two("not-equal", "NotEqual", "x != y", lambda x, y: tf.not_equal(tf.round(x), tf.round(y))),
    Operation("cast-of-comparison", "Greater, Cast", "tf.cast(x > 0, x.dtype)",
              of(lambda x: tf.cast(x > 0, x.dtype) * x), (X,)),
    Operation("cast-to-int32", "Cast", "tf.cast(x, tf.int32)", of(lambda x: tf.cast(x, tf.int32)),
              (images(values=normal(20.0)),)),
    Operation("cast-to-half-and-back", "Cast", "tf.cast(tf.cast(x, tf.float16), tf.float32)",
              of(lambda x: tf.cast(tf.cast(x, tf.float16), x.dtype)), (X,)),
    Operation("where", "SelectV2", "tf.where(x > 0, x, y)", of(lambda x, y: tf.where(x > 0, x, y)), (X, Y)),
    Operation("where-broadcast", "SelectV2", "tf.where(condition, x, 0.0)",
              of(lambda condition, x: tf.where(condition[:, None, None], x, tf.zeros_like(x))),
              (Input((8,), truths, "bool"), X)),
    Operation("select", "Select", "tf.compat.v1.where(condition, x, y)",
              of(lambda x, y: tf.raw_ops.Select(condition=x > y, x=x, y=y)), (rows(16), rows(16))),
    Operation("stop-gradient", "StopGradient", "tf.stop_gradient(x) * 2", of(lambda x: tf.stop_gradient(x) * 2), (X,)),
    Operation("fake-quantization", "FakeQuantWithMinMaxVars", "tf.quantization.fake_quant_with_min_max_vars(x, 0, 6)",
              of(lambda x: tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 6.0)),
              (images(values=normal(2.0, 3.0)),), _quantized, bound=5e-3),
)  # fmt: skip
