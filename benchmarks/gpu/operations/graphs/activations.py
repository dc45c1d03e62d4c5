"""Activations."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Operation, images, keras, normal, of, rows

WIDE = normal(3.0)


def _activation(name: str, operation: str, call: str, body: Any) -> Operation:
    return Operation(name, operation, call, of(body), (images(values=WIDE),))


OPERATIONS = (
    _activation("relu", "Relu", "tf.nn.relu(x)", lambda x: tf.nn.relu(x)),
    _activation("relu6", "Relu6", "tf.nn.relu6(x)", lambda x: tf.nn.relu6(x)),
    _activation("leaky-relu", "LeakyRelu", "tf.nn.leaky_relu(x)", lambda x: tf.nn.leaky_relu(x)),
    Operation("prelu", "Relu, Neg, Mul", "keras.layers.PReLU(shared_axes=[1, 2])",
              keras(lambda t: tf.keras.layers.PReLU(shared_axes=[1, 2], dtype=t)), (images(values=WIDE),)),
    _activation("elu", "Elu", "tf.nn.elu(x)", lambda x: tf.nn.elu(x)),
    _activation("selu", "Selu", "tf.nn.selu(x)", lambda x: tf.nn.selu(x)),
    _activation("sigmoid", "Sigmoid", "tf.sigmoid(x)", lambda x: tf.sigmoid(x)),
    _activation("hard-sigmoid", "Mul, AddV2, Relu6", "tf.keras.activations.hard_sigmoid(x)",
                lambda x: tf.keras.activations.hard_sigmoid(x)),
    _activation("tanh", "Tanh", "tf.tanh(x)", lambda x: tf.tanh(x)),
    _activation("softplus", "Softplus", "tf.nn.softplus(x)", lambda x: tf.nn.softplus(x)),
    _activation("softsign", "Softsign", "tf.nn.softsign(x)", lambda x: tf.nn.softsign(x)),
    _activation("swish", "Sigmoid, Mul", "tf.nn.silu(x)", lambda x: x * tf.sigmoid(x)),
    _activation("hard-swish", "AddV2, Relu6, Mul", "x * tf.nn.relu6(x + 3) / 6", lambda x: x * tf.nn.relu6(x + 3) / 6),
    _activation("mish", "Softplus, Tanh, Mul", "x * tf.tanh(tf.nn.softplus(x))",
                lambda x: x * tf.tanh(tf.nn.softplus(x))),
    _activation("gelu", "Erf, Mul, AddV2", "tf.nn.gelu(x)", lambda x: tf.nn.gelu(x)),
    _activation("gelu-approximate", "Pow, Tanh, Mul", "tf.nn.gelu(x, approximate=True)",
                lambda x: tf.nn.gelu(x, approximate=True)),
    Operation("softmax", "Softmax", "tf.nn.softmax(x)", of(lambda x: tf.nn.softmax(x)), (rows(64, values=WIDE),)),
    Operation("softmax-middle-axis", "Transpose, Softmax", "tf.nn.softmax(x, axis=1)",
              of(lambda x: tf.nn.softmax(x, axis=1)), (images(values=WIDE),)),
    Operation("log-softmax", "LogSoftmax", "tf.nn.log_softmax(x)", of(lambda x: tf.nn.log_softmax(x)),
              (rows(64, values=WIDE),)),
    Operation("log-sum-exp", "Max, Exp, Sum, Log", "tf.reduce_logsumexp(x, axis=-1)",
              of(lambda x: tf.reduce_logsumexp(x, axis=-1)), (rows(64, values=WIDE),)),
    _activation("clip", "Minimum, Maximum", "tf.clip_by_value(x, -1, 1)", lambda x: tf.clip_by_value(x, -1, 1)),
)  # fmt: skip
