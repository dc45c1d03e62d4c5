"""Recurrent layers and other loops, and conditions."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Operation, keras, of, rows, sequences, weights

LENGTH, WIDTH, UNITS = 6, 8, 12


def _recurrent(name: str, operation: str, call: str, layer: Any) -> Operation:
    return Operation(name, operation, call, keras(layer), (sequences(LENGTH, WIDTH),))


def _scanned(x: Any) -> Any:
    """A state that is carried along, as tf.scan has it."""
    start = tf.zeros_like(x[:, 0])
    turned = tf.transpose(x, [1, 0, 2])
    return tf.scan(lambda state, one: tf.tanh(state + one), turned, start)[-1]


def _looped(x: Any) -> Any:
    w = weights(x.dtype, 16, 16)
    return tf.while_loop(lambda step, _state: step < 3, lambda step, state: (step + 1, tf.tanh(state @ w)), (0, x))[1]


OPERATIONS = (
    _recurrent("lstm", "While (MatMul, Split, Sigmoid, Tanh)", "keras.layers.LSTM(12)",
               lambda t: tf.keras.layers.LSTM(UNITS, dtype=t)),
    _recurrent("lstm-sequences", "While, TensorListStack", "keras.layers.LSTM(12, return_sequences=True)",
               lambda t: tf.keras.layers.LSTM(UNITS, return_sequences=True, dtype=t)),
    Operation("lstm-unrolled", "MatMul, Split, Sigmoid, Tanh", "keras.layers.LSTM(12, unroll=True)",
              keras(lambda t: tf.keras.layers.LSTM(UNITS, unroll=True, dtype=t)), (rows(LENGTH, WIDTH),)),
    _recurrent("gru", "While (MatMul, Split, Sigmoid, Tanh)", "keras.layers.GRU(12)",
               lambda t: tf.keras.layers.GRU(UNITS, dtype=t)),
    _recurrent("simple-rnn", "While (MatMul, Tanh)", "keras.layers.SimpleRNN(12)",
               lambda t: tf.keras.layers.SimpleRNN(UNITS, dtype=t)),
    _recurrent("bidirectional", "While, ReverseV2", "keras.layers.Bidirectional(LSTM(12))",
               lambda t: tf.keras.layers.Bidirectional(tf.keras.layers.LSTM(UNITS, dtype=t), dtype=t)),
    Operation("convolutional-lstm", "While (Conv2D)", "keras.layers.ConvLSTM1D(4, 3)",
              keras(lambda t: tf.keras.layers.ConvLSTM1D(4, 3, dtype=t)), (rows(4, 8, 3),)),
    Operation("scan", "While", "tf.scan(f, x)", of(_scanned), (sequences(LENGTH, WIDTH),)),
    Operation("while", "While (MatMul, Tanh)", "tf.while_loop(condition, body, x)", of(_looped), (rows(16),)),
    Operation("map", "While", "tf.map_fn(tf.tanh, x)", of(lambda x: tf.map_fn(tf.tanh, x)), (rows(16),)),
    Operation("cond", "If (MatMul)", "tf.cond(tf.reduce_sum(x) > 0, f, g)",
              of(lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.tanh(x @ weights(x.dtype, 16, 8)),
                                   lambda: tf.nn.relu(x @ weights(x.dtype, 16, 8, seed=2)))), (rows(16),)),
)  # fmt: skip
