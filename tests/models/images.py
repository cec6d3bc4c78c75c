"""Handwritten digits and a small convolutional network in plain NumPy: an image model without a deep-learning framework."""

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

SIDE = 8
KERNEL = 3
FILTERS = 6


def rows(count: int) -> np.ndarray:
    """`[count, 1, 8, 8]`: scikit-learn's digits, shifted by up to a pixel and brightened, none of them as in training."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(7)
    originals = load_digits().images / 16.0
    chosen = originals[rng.integers(0, len(originals), count)]
    shifts = rng.integers(-1, 2, (count, 2))
    moved = np.stack([np.roll(image, tuple(shift), (0, 1)) for image, shift in zip(chosen, shifts, strict=True)])
    bright = moved * rng.uniform(0.7, 1.3, (count, 1, 1))
    return bright.astype(np.float32).reshape(count, 1, SIDE, SIDE)


def write_table(images: np.ndarray, path: Path) -> None:
    """One list of 64 numbers per row, channel by row by column; once with a length that the type states, once without."""
    flat = pa.array(images.reshape(-1))
    offsets = pa.array(np.arange(len(images) + 1, dtype=np.int32) * SIDE * SIDE)
    table = pa.table(
        {
            "row_id": np.arange(len(images)),
            "image": pa.ListArray.from_arrays(offsets, flat),
            "image_fixed": pa.FixedSizeListArray.from_arrays(flat, SIDE * SIDE),
        }
    )
    pa.parquet.write_table(table, path, row_group_size=1_000)


class Network:
    """Convolution, ReLU, maximum of 2x2, dense layer, softmax. The filters are drawn, the dense layer is trained."""

    def __init__(self):
        rng = np.random.default_rng(11)
        self.kernels = rng.normal(scale=0.5, size=(FILTERS, 1, KERNEL, KERNEL)).astype(np.float32)
        self.shifts = rng.normal(scale=0.1, size=FILTERS).astype(np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        windows = sliding_window_view(images.astype(np.float64), (KERNEL, KERNEL), axis=(2, 3))
        found = np.einsum("nchwij,fcij->nfhw", windows, self.kernels.astype(np.float64))
        found = np.maximum(found + self.shifts[:, None, None], 0.0)
        n, f, h, w = found.shape
        return found.reshape(n, f, h // 2, 2, w // 2, 2).max(axis=(3, 5)).reshape(n, -1)

    def fit(self) -> "Network":
        from sklearn.datasets import load_digits
        from sklearn.linear_model import LogisticRegression

        digits = load_digits()
        images = (digits.images / 16.0).reshape(-1, 1, SIDE, SIDE)
        head = LogisticRegression(max_iter=200).fit(self.features(images), digits.target)
        self.weights, self.biases = head.coef_.T.astype(np.float32), head.intercept_.astype(np.float32)
        return self

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        scores = self.features(images) @ self.weights.astype(np.float64) + self.biases
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.predict_proba(images).argmax(axis=1)

    def export(self) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Conv", ["image", "kernels", "shifts"], ["found"], kernel_shape=[KERNEL, KERNEL]),
            helper.make_node("Relu", ["found"], ["bright"]),
            helper.make_node("MaxPool", ["bright"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "biases"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        constants = {"kernels": self.kernels, "shifts": self.shifts, "weights": self.weights, "biases": self.biases}
        body = helper.make_graph(
            nodes,
            "cnn",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
            [
                helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10]),
            ],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        return helper.make_model(body, opset_imports=[helper.make_opsetid("", 15)], producer_name="whimbrel-tests")
