"""ONNX graphs built by hand: each shows one trait that a scoring engine must handle, and nothing else."""

import json

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64, INT32, BOOL, STRING = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.BOOL,
    TensorProto.STRING,
)
IR_VERSION = 8


def graph(name, nodes, inputs, outputs, constants=(), feature_names=None, functions_domain=None) -> ModelProto:
    """A model of `nodes`; inputs and outputs are (name, element type, shape), constants are (name, array)."""
    body = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in constants],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    if functions_domain:
        opsets.append(helper.make_opsetid(functions_domain, 1))
    model = helper.make_model(body, opset_imports=opsets, producer_name="whimbrel-tools")
    model.ir_version = IR_VERSION
    if feature_names:
        entry = model.metadata_props.add()
        entry.key, entry.value = "feature_names", json.dumps(feature_names)
    return model


def dense(weights, biases) -> ModelProto:
    """Fully connected layers with ReLU between them, `[N,k]` to `[N,1]`."""
    nodes, constants, current = [], [], "features"
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        constants += [(f"w{layer}", np.float32(weight)), (f"b{layer}", np.float32(bias))]
        last = layer == len(weights) - 1
        output = "variable" if last else f"sum{layer}"
        nodes.append(helper.make_node("Gemm", [current, f"w{layer}", f"b{layer}"], [output]))
        if not last:
            nodes.append(helper.make_node("Relu", [output], [f"relu{layer}"]))
            current = f"relu{layer}"
    width = weights[0].shape[0]
    return graph("dense", nodes, [("features", FLOAT, ["N", width])], [("variable", FLOAT, ["N", 1])], constants)


def weighted_sum(name, element, dtype, columns, feature_names=None) -> ModelProto:
    """sum(column i * (i + 1)) over one `[N,k]` input, in the input's own type."""
    weights = np.arange(1, columns + 1, dtype=dtype).reshape(columns, 1)
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["value"])]
    inputs, outputs = [("features", element, ["N", columns])], [("value", element, ["N", 1])]
    return graph(name, nodes, inputs, outputs, [("weights", weights)], feature_names)


def vectors() -> ModelProto:
    """One rank-1 input per column: double, int64, bool and string; the value is a rank-1 double."""
    nodes = [
        helper.make_node("Cast", ["passenger_count"], ["people"], to=DOUBLE),
        helper.make_node("Cast", ["is_night"], ["night"], to=DOUBLE),
        helper.make_node(
            "LabelEncoder",
            ["borough"],
            ["zone32"],
            domain="ai.onnx.ml",
            keys_strings=["Bronx", "Brooklyn", "EWR", "Manhattan", "Queens", "Staten Island"],
            values_floats=[10.0, 20.0, 30.0, 40.0, 50.0, 60.0],
            default_float=-1.0,
        ),
        helper.make_node("Cast", ["zone32"], ["zone"], to=DOUBLE),
        helper.make_node("Mul", ["people", "trip_distance"], ["product"]),
        helper.make_node("Sum", ["product", "night", "zone"], ["value"]),
    ]
    inputs = [
        ("trip_distance", DOUBLE, ["N"]),
        ("passenger_count", INT64, ["N"]),
        ("is_night", BOOL, ["N"]),
        ("borough", STRING, ["N"]),
    ]
    return graph("vectors", nodes, inputs, [("value", DOUBLE, ["N"])])


def text_out() -> ModelProto:
    """A string for a number: `[N,1]` int64 to `[N,1]` string."""
    node = helper.make_node(
        "LabelEncoder",
        ["payment_type"],
        ["name"],
        domain="ai.onnx.ml",
        keys_int64s=[1, 2, 3],
        values_strings=["card", "cash", "free"],
        default_string="other",
    )
    return graph("text_out", [node], [("payment_type", INT64, ["N", 1])], [("name", STRING, ["N", 1])])


def is_nan() -> ModelProto:
    """True where the column is NaN: shows what a NULL becomes."""
    node = helper.make_node("IsNaN", ["trip_distance"], ["value"])
    return graph("is_nan", [node], [("trip_distance", FLOAT, ["N", 1])], [("value", BOOL, ["N", 1])])


def two_outputs() -> ModelProto:
    """The double of a column, and the column plus one."""
    nodes = [
        helper.make_node("Add", ["trip_distance", "trip_distance"], ["double"]),
        helper.make_node("Add", ["trip_distance", "one"], ["next"]),
    ]
    inputs = [("trip_distance", FLOAT, ["N", 1])]
    outputs = [("double", FLOAT, ["N", 1]), ("next", FLOAT, ["N", 1])]
    return graph("two_outputs", nodes, inputs, outputs, [("one", np.float32(1))])


def unknown_operator() -> ModelProto:
    """A well-formed file with an operator that no runtime has."""
    node = helper.make_node("Teleport", ["features"], ["value"], domain="com.example.unknown")
    inputs, outputs = [("features", FLOAT, ["N", 9])], [("value", FLOAT, ["N", 1])]
    return graph("unknown_operator", [node], inputs, outputs, functions_domain="com.example.unknown")


def one_value() -> ModelProto:
    """Says `[N,1]`, answers one row whatever N is: the wrong shape."""
    nodes = [helper.make_node("ReduceMean", ["features"], ["value"], keepdims=1)]
    return graph("one_value", nodes, [("features", FLOAT, ["N", 9])], [("value", FLOAT, ["M", 1])])


def fails_above_two() -> ModelProto:
    """Runs while `passenger_count` is 0, 1 or 2 and fails at any row where it is larger."""
    nodes = [helper.make_node("Gather", ["table", "passenger_count"], ["value"])]
    inputs, outputs = [("passenger_count", INT64, ["N"])], [("value", FLOAT, ["N"])]
    return graph("fails_above_two", nodes, inputs, outputs, [("table", np.float32([0, 10, 20]))])


def slow(feature_names) -> ModelProto:
    """About 80 million multiplications a row: work that lasts, for cancelling, killing and draining in the middle of it."""
    width, turns = 256, 600
    rng = np.random.default_rng(1)
    mixing = np.linalg.qr(rng.normal(size=(width, width)))[0].astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["again"]),
            helper.make_node("MatMul", ["state", "mixing"], ["mixed"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("more", BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", BOOL, []),
            helper.make_tensor_value_info("mixed", FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("MatMul", ["features", "widen"], ["wide"]),
        helper.make_node("Loop", ["turns", "yes", "wide"], ["final"], body=body),
        helper.make_node("MatMul", ["final", "narrow"], ["value"]),
    ]
    constants = [
        ("mixing", mixing),
        ("widen", rng.normal(size=(9, width)).astype(np.float32)),
        ("narrow", np.full((width, 1), 1 / width, dtype=np.float32)),
        ("turns", np.int64(turns)),
        ("yes", np.bool_(True)),
    ]
    inputs, outputs = [("features", FLOAT, ["N", 9])], [("value", FLOAT, ["N", 1])]
    return graph("slow", nodes, inputs, outputs, constants, feature_names)


def all_models(feature_names) -> dict:
    return {
        "unnamed_float": lambda: weighted_sum("unnamed_float", FLOAT, np.float32, 3),
        "named_double": lambda: weighted_sum("named_double", DOUBLE, np.float64, 9, feature_names),
        "named_int64": lambda: weighted_sum(
            "named_int64", INT64, np.int64, 3, ["vendor_id", "passenger_count", "payment_type"]
        ),
        "vectors": vectors,
        "text_out": text_out,
        "is_nan": is_nan,
        "two_outputs": two_outputs,
        "unknown_operator": unknown_operator,
        "one_value": one_value,
        "fails_above_two": fails_above_two,
        "slow": lambda: slow(feature_names),
    }
