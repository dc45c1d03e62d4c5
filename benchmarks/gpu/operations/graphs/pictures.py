"""What is done to images before a network, and to boxes behind one."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Input, Operation, between, images, of, rows, whole

RGB = images(16, 16, 3, values=between(0, 1))


def _scaled(pixels: Any, dtype: Any) -> Any:
    return tf.cast(pixels, dtype) / tf.cast(127.5, dtype) - tf.cast(1, dtype)


def _suppressed(boxes: Any, scores: Any) -> Any:
    """The best boxes of each item."""
    made = tf.image.combined_non_max_suppression(
        tf.sort(tf.cast(boxes, tf.float32), axis=-1)[:, :, None], tf.cast(scores, tf.float32), 4, 4, 0.5, 0.1
    )
    return made.nmsed_boxes, made.nmsed_scores, made.nmsed_classes, made.valid_detections


OPERATIONS = (
    Operation("uint8-scaled", "Cast, RealDiv, Sub", "keras.layers.Rescaling(1 / 127.5, -1) of uint8",
              lambda dtype: lambda x: _scaled(x, dtype), (Input((16, 16, 3), whole(0, 256), "uint8", open=(0, 1)),)),
    Operation("channel-means", "Sub, RealDiv", "keras.layers.Normalization()",
              of(lambda x: (x - tf.constant([0.485, 0.456, 0.406], x.dtype))
                 / tf.constant([0.229, 0.224, 0.225], x.dtype)), (RGB,)),
    Operation("channels-reversed", "ReverseV2", "x[..., ::-1], RGB to BGR", of(lambda x: x[..., ::-1]), (RGB,)),
    Operation("flip", "ReverseV2", "tf.image.flip_left_right(x)", of(lambda x: tf.image.flip_left_right(x)), (RGB,)),
    Operation("grayscale", "Mul, Sum", "tf.image.rgb_to_grayscale(x)",
              of(lambda x: tf.tensordot(x, tf.constant([0.2989, 0.587, 0.114], x.dtype), [[-1], [-1]])[..., None]),
              (RGB,)),
    Operation("contrast", "Mean, Sub, Mul, AddV2", "tf.image.adjust_contrast(x, 2)",
              of(lambda x: (x - tf.reduce_mean(x, [1, 2], keepdims=True)) * 2
                 + tf.reduce_mean(x, [1, 2], keepdims=True)), (RGB,)),
    Operation("hue", "AdjustHue", "tf.image.adjust_hue(x, 0.1)",
              of(lambda x: tf.image.adjust_hue(tf.cast(x, tf.float32), 0.1)), (RGB,), reference_in="float32"),
    Operation("central-crop", "Slice", "keras.layers.CenterCrop(8, 8)", of(lambda x: x[:, 4:12, 4:12]),
              (rows(16, 16, 3),)),
    Operation("patches", "ExtractImagePatches", "tf.image.extract_patches(x, 4 x 4, strides 4)",
              of(lambda x: tf.image.extract_patches(x, [1, 4, 4, 1], [1, 4, 4, 1], [1, 1, 1, 1], "VALID")), (RGB,)),
    Operation("total-variation", "Sub, Abs, Sum", "tf.image.total_variation(x)",
              of(lambda x: tf.image.total_variation(x)), (RGB,)),
    Operation("sobel", "MirrorPad, DepthwiseConv2dNative", "tf.image.sobel_edges(x)",
              of(lambda x: tf.image.sobel_edges(x)), (rows(16, 16, 3),)),
    Operation("non-max-suppression", "CombinedNonMaxSuppression",
              "tf.image.combined_non_max_suppression(boxes, scores)",
              of(_suppressed), (rows(12, 4, values=between(0, 1)), rows(12, 2, values=between(0, 1))),
              reference_in="float32"),
)  # fmt: skip
