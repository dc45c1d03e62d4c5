"""Resizing: TensorFlow computes it in float32 always, so the reference is NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Array, Operation, images, of

TO = (24, 24)
# Not of the whole image: what rounding puts outside of it is 0.
BOX = (0.125, 0.125, 0.75, 0.75)
Matrix = Callable[[int, int], Array]  # by the sizes before and behind: what each old pixel is to each new one


def _linear(place: Callable[[int, int], Array]) -> Matrix:
    def matrix(old: int, new: int) -> Array:
        at = place(old, new)
        low = np.floor(at).astype(int)
        made = np.zeros((new, old))
        for index in range(new):
            part = at[index] - low[index]
            made[index, np.clip(low[index], 0, old - 1)] += 1 - part
            made[index, np.clip(low[index] + 1, 0, old - 1)] += part
        return made

    return matrix


def _nearest(place: Callable[[int, int], Array]) -> Matrix:
    return lambda old, new: np.eye(old)[np.clip(place(old, new).astype(int), 0, old - 1)]


def _kernel(weight: Callable[[Array], Array], radius: float, widened: bool) -> Matrix:
    """Of an even function of the distance; pixels outside do not count. `widened` where the image becomes smaller."""

    def matrix(old: int, new: int) -> Array:
        wide = max(old / new, 1.0) if widened else 1.0
        at = (np.arange(new) + 0.5) * old / new - 0.5
        distance = np.abs(at[:, None] - np.arange(old)[None, :]) / wide
        made = np.where(distance < radius, weight(distance), 0.0)
        return made / made.sum(axis=1, keepdims=True)

    return matrix


def _area(old: int, new: int) -> Array:
    low, high = np.arange(new) * old / new, (np.arange(new) + 1) * old / new
    pixels = np.arange(old)
    made = np.clip(np.minimum(high[:, None], pixels + 1) - np.maximum(low[:, None], pixels), 0, None)
    return made * new / old


def _cubic(distance: Array) -> Array:
    a = -0.5
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


def _lanczos(distance: Array) -> Array:
    return np.sinc(distance) * np.sinc(distance / 3)


def _gaussian(distance: Array) -> Array:
    return np.exp(-(distance**2) / (2 * 0.5**2))


def _half(old: int, new: int) -> Array:
    return (np.arange(new) + 0.5) * old / new - 0.5


def _half_clipped(old: int, new: int) -> Array:
    return np.clip(_half(old, new), 0, old - 1)


def _legacy(old: int, new: int) -> Array:
    return np.minimum(np.arange(new) * old / new, old - 1)


def _corners(old: int, new: int) -> Array:
    return np.arange(new) * (old - 1) / (new - 1)


def _within(old: int, new: int) -> Array:
    """Of a part of the image: from corner to corner of the box."""
    low, high = BOX[0] * (old - 1), BOX[2] * (old - 1)
    return low + np.arange(new) * (high - low) / (new - 1)


def _resized(matrix: Matrix, new: tuple[int, int] = TO) -> Callable[[Array], Array]:
    def exact(x: Array) -> Array:
        rows, columns = matrix(x.shape[1], new[0]), matrix(x.shape[2], new[1])
        return np.einsum("ih,nhwc,jw->nijc", rows, x, columns)

    return exact


def _image(method: str, antialias: bool = False, size: tuple[int, int] = TO) -> Any:
    return of(lambda x: tf.image.resize(x, size, method, antialias=antialias))


def _old(name: str, **options: bool) -> Any:
    """As TensorFlow 1 and its exporters write it."""
    return of(lambda x: getattr(tf.raw_ops, name)(images=x, size=TO, **options))


SMALLER = (8, 8)
OPERATIONS = (
    Operation("bilinear", "ResizeBilinear", "tf.image.resize(x, size), keras.layers.Resizing", _image("bilinear"),
              (images(),), _resized(_linear(_half_clipped))),
    Operation("bilinear-smaller", "ResizeBilinear", "tf.image.resize(x, size) to half",
              _image("bilinear", size=SMALLER), (images(),), _resized(_linear(_half_clipped), SMALLER)),
    Operation("bilinear-align-corners", "ResizeBilinear", "tf.compat.v1.image.resize_bilinear(align_corners=True)",
              _old("ResizeBilinear", align_corners=True, half_pixel_centers=False), (images(),),
              _resized(_linear(_corners))),
    Operation("bilinear-legacy", "ResizeBilinear", "tf.compat.v1.image.resize_bilinear(x, size)",
              _old("ResizeBilinear", align_corners=False, half_pixel_centers=False), (images(),),
              _resized(_linear(_legacy))),
    Operation("bilinear-upsampling", "ResizeBilinear", "keras.layers.UpSampling2D(2, interpolation='bilinear')",
              of(lambda x: tf.keras.backend.resize_images(x, 2, 2, "channels_last", "bilinear")), (images(),),
              _resized(_linear(_half_clipped), (32, 32))),
    Operation("nearest", "ResizeNearestNeighbor", "tf.image.resize(x, size, 'nearest')", _image("nearest"), (images(),),
              _resized(_nearest(lambda old, new: np.floor((np.arange(new) + 0.5) * old / new)))),
    Operation("nearest-legacy", "ResizeNearestNeighbor", "tf.compat.v1.image.resize_nearest_neighbor(x, size)",
              _old("ResizeNearestNeighbor", align_corners=False, half_pixel_centers=False), (images(),),
              _resized(_nearest(lambda old, new: np.floor(np.arange(new) * old / new)))),
    Operation("nearest-align-corners", "ResizeNearestNeighbor",
              "tf.compat.v1.image.resize_nearest_neighbor(align_corners=True)",
              _old("ResizeNearestNeighbor", align_corners=True, half_pixel_centers=False), (images(),),
              _resized(_nearest(lambda old, new: np.floor(_corners(old, new) + 0.5)))),
    Operation("nearest-upsampling", "ResizeNearestNeighbor", "keras.layers.UpSampling2D(2)",
              of(lambda x: tf.keras.backend.resize_images(x, 2, 2, "channels_last")), (images(),),
              _resized(_nearest(lambda old, new: np.floor((np.arange(new) + 0.5) * old / new)), (32, 32))),
    # TensorFlow takes the kernel from a table of 1,024 places between two pixels.
    Operation("bicubic", "ResizeBicubic", "tf.image.resize(x, size, 'bicubic')", _image("bicubic"), (images(),),
              _resized(_kernel(_cubic, 2, widened=False)), bound=2e-3),
    Operation("area", "ResizeArea", "tf.image.resize(x, size, 'area')", _image("area", size=(12, 12)), (images(),),
              _resized(_area, (12, 12))),
    Operation("lanczos3", "ScaleAndTranslate", "tf.image.resize(x, size, 'lanczos3')", _image("lanczos3"), (images(),),
              _resized(_kernel(_lanczos, 3, widened=False))),
    Operation("gaussian", "ScaleAndTranslate", "tf.image.resize(x, size, 'gaussian')", _image("gaussian"), (images(),),
              _resized(_kernel(_gaussian, 1.5, widened=False))),
    Operation("bilinear-antialias", "ScaleAndTranslate", "tf.image.resize(x, size, antialias=True) to half",
              _image("bilinear", antialias=True, size=SMALLER), (images(),),
              _resized(_kernel(lambda distance: 1 - distance, 1, widened=True), SMALLER)),
    Operation("crop-and-resize", "CropAndResize", "tf.image.crop_and_resize(x, boxes, indices, size)",
              of(lambda x: tf.image.crop_and_resize(x, [BOX], [0], TO)), (images(),),
              lambda x: _resized(_linear(_within))(x)[:1]),
)  # fmt: skip
