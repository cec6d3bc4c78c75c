//! A corpus of hostile models, written byte by byte: each is refused with its reason, and costs next to nothing.

use super::*;
use crate::onnx::inspect_named;

/// One field of bytes.
fn f(number: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [
        varint(number << 3 | 2),
        varint(bytes.len() as u64),
        bytes.to_vec(),
    ]
    .concat()
}

/// One field of a number.
fn v(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value.cast_unsigned())].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn many(parts: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    parts.into_iter().flatten().collect()
}

fn tensor(name: &str, data_type: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let dims = many(dims.iter().map(|dim| v(1, *dim)));
    [dims, v(2, data_type), f(8, name), f(9, raw)].concat()
}

fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    f(5, tensor(name, 7, &[values.len() as i64], &raw))
}

fn shape(dims: &[i64]) -> Vec<u8> {
    f(2, many(dims.iter().map(|dim| f(1, v(1, *dim)))))
}

fn value(name: &str, dims: &[i64]) -> Vec<u8> {
    let tensor = f(1, [v(1, 1), shape(dims)].concat());
    [f(1, name), f(2, tensor)].concat()
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = many(inputs.iter().map(|input| f(1, input)));
    [inputs, f(2, output), f(4, op)].concat()
}

fn attribute(name: &str, content: Vec<u8>) -> Vec<u8> {
    f(5, [f(1, name), content].concat())
}

/// A model that would be fine but for what is put into its graph.
fn graph_with(parts: Vec<u8>) -> Vec<u8> {
    let fine = [
        f(1, node("Identity", &["X"], "y")),
        f(11, value("X", &[-1, 3])),
        f(12, value("y", &[-1, 1])),
    ];
    [fine.concat(), parts].concat()
}

fn model_with(graph: Vec<u8>, parts: Vec<u8>) -> Vec<u8> {
    let opset = f(8, v(2, 21));
    [v(1, 10), opset, f(7, graph), parts].concat()
}

fn model(parts: Vec<u8>) -> Vec<u8> {
    model_with(graph_with(parts), Vec::new())
}

fn external(location: &str, dims: &[i64]) -> Vec<u8> {
    let dims = many(dims.iter().map(|dim| v(1, *dim)));
    let entry = f(13, [f(1, "location"), f(2, location)].concat());
    model(f(5, [dims, v(2, 1), f(8, "w"), entry, v(14, 1)].concat()))
}

fn nested(depth: usize) -> Vec<u8> {
    let mut graph = Vec::new();
    for _ in 0..depth {
        let branch = attribute("then_branch", f(6, graph));
        graph = f(1, [node("If", &["c"], "z"), branch].concat());
    }
    model(graph)
}

fn nested_type(depth: usize) -> Vec<u8> {
    let mut kind = f(1, v(1, 1));
    for _ in 0..depth {
        kind = f(4, f(1, kind));
    }
    model(f(13, [f(1, "s"), f(2, kind)].concat()))
}

fn function(name: &str, calls: &[&str]) -> Vec<u8> {
    let nodes = calls
        .iter()
        .map(|call| f(7, [node(call, &["a"], "b"), f(7, "own")].concat()));
    f(25, [f(1, name), many(nodes), f(10, "own")].concat())
}

fn doubling() -> Vec<u8> {
    let names: Vec<String> = (0..40).map(|level| format!("f{level}")).collect();
    let functions = names
        .windows(2)
        .map(|pair| function(&pair[0], &[&pair[1], &pair[1]]));
    let last = function("f39", &[]);
    model_with(graph_with(Vec::new()), [many(functions), last].concat())
}

fn concats() -> Vec<u8> {
    let names: Vec<String> = (0..40).map(|level| format!("c{level}")).collect();
    let nodes = names
        .windows(2)
        .map(|pair| f(1, node("Concat", &[&pair[0], &pair[0]], &pair[1])));
    model([ints("c0", &[1, 2, 3, 4]), many(nodes)].concat())
}

fn made(op: &str, numbers: &[(&str, &[i64])]) -> Vec<u8> {
    let tensors = numbers.iter().map(|(name, values)| ints(name, values));
    let inputs: Vec<&str> = numbers.iter().map(|(name, _)| *name).collect();
    model([many(tensors), f(1, node(op, &inputs, "big"))].concat())
}

fn in_a_branch() -> Vec<u8> {
    let inner = f(1, node("ConstantOfShape", &["outer"], "big"));
    let branch = attribute("then_branch", f(6, inner));
    let made = f(1, [node("If", &["c"], "z"), branch].concat());
    model([ints("outer", &[1 << 20, 1 << 20]), made].concat())
}

fn constant_node() -> Vec<u8> {
    let shape = attribute("value_ints", [v(8, 1 << 30), v(8, 1 << 30)].concat());
    let constant = f(1, [node("Constant", &[], "shape"), shape].concat());
    model([constant, f(1, node("ConstantOfShape", &["shape"], "big"))].concat())
}

fn random() -> Vec<u8> {
    let shape = attribute("shape", [v(8, 1 << 20), v(8, 1 << 20)].concat());
    model(f(1, [node("RandomNormal", &[], "big"), shape].concat()))
}

fn sparse() -> Vec<u8> {
    let values = f(1, tensor("s", 1, &[1], &[0; 4]));
    let indices = f(2, tensor("i", 7, &[1], &[0; 8]));
    model(f(15, [values, indices, v(3, 1 << 40)].concat()))
}

fn in_a_constant() -> Vec<u8> {
    let held = attribute("value", f(5, tensor("t", 1, &[-4], &[])));
    model(f(1, [node("Constant", &[], "k"), held].concat()))
}

/// What is not protobuf, or stops in the middle.
fn damaged() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    const DAMAGED: &str = "'m' is not an ONNX, LightGBM or XGBoost model: it does not decode as one; it is damaged, cut off, or of another kind";
    let whole = model(ints("w", &[1, 2, 3]));
    let cut = whole[..whole.len() - 5].to_vec();
    let tar = [vec![b'm'; 257], b"ustar\x0000".to_vec(), vec![0; 248]].concat();
    vec![
        ("cut off", cut, DAMAGED),
        (
            "a length beyond the end",
            [v(1, 10), varint(7 << 3 | 2), varint(1 << 40)].concat(),
            DAMAGED,
        ),
        (
            "an endless number",
            [vec![8], vec![0xff; 12]].concat(),
            DAMAGED,
        ),
        ("a group", vec![0x08, 0x0a, 0x3b, 0x3c], DAMAGED),
        (
            "empty",
            Vec::new(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is empty",
        ),
        (
            "zip",
            b"PK\x03\x04rest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is a zip archive (PyTorch and skops save such)",
        ),
        (
            "tar",
            tar,
            "'m' is not an ONNX, LightGBM or XGBoost model: it is a tar archive",
        ),
        (
            "gzip",
            b"\x1f\x8b\x08rest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is compressed by gzip",
        ),
        (
            "zstd",
            b"\x28\xb5\x2f\xfdrest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is compressed by zstd",
        ),
        (
            "xz",
            b"\xfd7zXZ\x00rest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is compressed by xz",
        ),
        (
            "7z",
            b"7z\xbc\xaf\x27\x1crest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is a 7z archive",
        ),
        (
            "ort",
            b"\x18\x00\x00\x00ORTMrest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is in ONNX Runtime's own format, which is made for one machine",
        ),
        (
            "hdf5",
            b"\x89HDF\r\n\x1a\nrest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is an HDF5 file (Keras saves such)",
        ),
        (
            "pickle",
            b"\x80\x04\x95rest".to_vec(),
            "'m' is not an ONNX, LightGBM or XGBoost model: it is a Python pickle",
        ),
    ]
}

/// Weights that are not what they declare, and files that they are said to be in.
fn weights() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let big = 1_i64 << 40;
    vec![
        (
            "two graphs",
            model_with(graph_with(Vec::new()), f(7, "")),
            "'m': it holds more than one main graph",
        ),
        (
            "training",
            model_with(graph_with(Vec::new()), f(20, "")),
            "'m': it is a model for training, not for predicting",
        ),
        (
            "weights that are not there",
            model(f(5, tensor("w", 1, &[1000, 1000, 1000, 1000], &[]))),
            "'m': tensor 'w' declares 1000000000000 values and holds 0",
        ),
        (
            "a product that overflows",
            model(f(5, tensor("w", 1, &[big, big], &[]))),
            "'m': tensor 'w' declares more values than can be counted",
        ),
        (
            "a negative size",
            model(f(5, tensor("w", 1, &[-1], &[]))),
            "'m': tensor 'w' has a dimension of -1",
        ),
        (
            "a negative size in a constant",
            in_a_constant(),
            "'m': tensor 't' has a dimension of -4",
        ),
        (
            "too many dimensions",
            model(f(5, tensor("w", 1, &[1; 9], &[0; 4]))),
            "'m': tensor 'w' has more than 8 dimensions",
        ),
        (
            "more values than declared",
            model(f(5, tensor("w", 1, &[2], &[0; 4000]))),
            "'m': tensor 'w' declares 2 values and holds 1000",
        ),
        (
            "a path upwards",
            external("../../etc/passwd", &[1]),
            "'m': tensor 'w' names the file '../../etc/passwd', which leads out of the model's folder",
        ),
        (
            "an absolute path",
            external("/etc/passwd", &[1]),
            "'m': tensor 'w' names the file '/etc/passwd', which is not relative to the model's folder",
        ),
        (
            "a path of Windows",
            external("C:\\weights", &[1]),
            "'m': tensor 'w' names the file 'C:\\\\weights', which is not relative to the model's folder",
        ),
        (
            "an address",
            external("http://evil/w", &[1]),
            "'m': tensor 'w' names the file 'http://evil/w', which is an address, not a file beside it",
        ),
        (
            "a hidden path",
            external("%2e%2e/w", &[1]),
            "'m': tensor 'w' names the file '%2e%2e/w', which hides its way behind % codes",
        ),
        (
            "external weights without end",
            external("w.data", &[big]),
            "'m': tensor 'w' declares 4398046511104 bytes, more than 2 GiB",
        ),
    ]
}

/// What nests, names or counts more than it may.
fn declared() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let big = 1_i64 << 40;
    let branchless = |parts: Vec<u8>| model_with(parts, Vec::new());
    vec![
        (
            "graphs in graphs",
            nested(40),
            "'m': its graphs are nested deeper than 16 levels",
        ),
        (
            "types in types",
            nested_type(40),
            "'m': its types are nested deeper than 8 levels",
        ),
        (
            "nodes without end",
            model(f(1, "").repeat(500_001)),
            "'m': it has more than 500000 nodes",
        ),
        (
            "parts without end",
            model(f(1, f(5, "").repeat(4_000_000))),
            "'m': it has more than 4000000 parts",
        ),
        (
            "a long name",
            model(f(1, node(&"x".repeat(5000), &[], "y"))),
            "'m': the name 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' has more than 4096 bytes",
        ),
        (
            "long metadata",
            model_with(
                graph_with(Vec::new()),
                f(14, [f(1, "k"), f(2, vec![b'x'; 9 << 20])].concat()),
            ),
            "'m': an entry of its metadata is larger than 8 MiB",
        ),
        (
            "a row without end",
            branchless([f(11, value("X", &[-1, big])), f(12, value("y", &[-1]))].concat()),
            "'m': 'X' has 1099511627776 values a row, more than 65536",
        ),
        (
            "an image without end",
            branchless(f(11, value("X", &[-1, 3, 1 << 20, 1 << 20]))),
            "'m': 'X' has 3298534883328 values a row, more than 67108864",
        ),
        (
            "a width below none",
            branchless(f(11, value("X", &[-1, -7]))),
            "'m': 'X' has a dimension of -7",
        ),
        (
            "an input of rank 9",
            branchless(f(11, value("X", &[1; 9]))),
            "'m': a value of it has more than 8 dimensions",
        ),
        (
            "inputs of one name",
            model(f(11, value("X", &[-1, 3]))),
            "'m': two of its inputs are called 'X'",
        ),
        (
            "a name that writes to the terminal",
            model(f(11, value("\u{1b}[2J", &[-1]))),
            "'m': the name '\\u{1b}[2J' holds control characters",
        ),
        (
            "a sparse tensor without end",
            sparse(),
            "'m': a sparse tensor stands for 1099511627776 values",
        ),
        (
            "inputs without end",
            branchless(many((0..65_537).map(|i| f(11, f(1, format!("i{i}")))))),
            "'m': it has more than 65536 inputs",
        ),
    ]
}

/// What would grow or reach out when it is loaded.
fn growing() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    const MADE: &str = "'m': operator 'ConstantOfShape' makes a tensor of 1099511627776 values, and more than 134217728 are not made";
    vec![
        (
            "ConstantOfShape",
            made("ConstantOfShape", &[("s", &[1 << 20, 1 << 20])]),
            MADE,
        ),
        ("in a branch", in_a_branch(), MADE),
        (
            "by a Constant node",
            constant_node(),
            "'m': operator 'ConstantOfShape' makes a tensor of 1152921504606846976 values, and more than 134217728 are not made",
        ),
        (
            "Expand",
            made("Expand", &[("a", &[1]), ("s", &[1 << 30])]),
            "'m': operator 'Expand' makes a tensor of 1073741824 values, and more than 134217728 are not made",
        ),
        (
            "Tile",
            made("Tile", &[("a", &[1, 2, 3, 4]), ("n", &[1 << 30])]),
            "'m': operator 'Tile' makes a tensor of 4294967296 values, and more than 134217728 are not made",
        ),
        (
            "Range",
            made("Range", &[("a", &[0]), ("b", &[1 << 40]), ("c", &[1])]),
            "'m': operator 'Range' makes a tensor of 1099511627776 values, and more than 134217728 are not made",
        ),
        (
            "OneHot",
            made(
                "OneHot",
                &[("i", &[1, 2]), ("d", &[1 << 40]), ("v", &[0, 1])],
            ),
            "'m': operator 'OneHot' makes a tensor of 2199023255552 values, and more than 134217728 are not made",
        ),
        (
            "Pad",
            made("Pad", &[("a", &[1]), ("p", &[0, 1 << 40])]),
            "'m': operator 'Pad' makes a tensor of 1099511627776 values, and more than 134217728 are not made",
        ),
        (
            "RandomNormal",
            random(),
            "'m': operator 'RandomNormal' makes a tensor of 1099511627776 values, and more than 134217728 are not made",
        ),
        (
            "Concat of Concat",
            concats(),
            "'m': operator 'Concat' makes a tensor of 268435456 values, and more than 134217728 are not made",
        ),
        (
            "functions that double",
            doubling(),
            "'m': its functions unfold to more than 500000 nodes",
        ),
        (
            "a function that calls itself",
            model_with(graph_with(Vec::new()), function("f", &["f"])),
            "'m': its function 'f' calls itself",
        ),
        (
            "EPContext",
            model(f(1, node("EPContext", &["X"], "z"))),
            "'m': operator 'EPContext' runs code or reads files from outside of the model",
        ),
        (
            "PythonOp",
            model(f(1, node("PythonOp", &["X"], "z"))),
            "'m': operator 'PythonOp' runs code or reads files from outside of the model",
        ),
        (
            "a library of operators",
            model(f(
                1,
                [node("Shell", &["X"], "z"), f(7, "com.evil")].concat(),
            )),
            "'m': operator 'Shell' of domain 'com.evil' is not one that ONNX Runtime has",
        ),
    ]
}

#[test]
fn every_hostile_model_is_refused_with_its_reason_and_a_way_on() {
    let corpus = [damaged(), weights(), declared(), growing()].concat();
    assert!(corpus.len() >= 50, "{}", corpus.len());
    for (name, bytes, want) in corpus {
        let error = inspect_named("m", &bytes).expect_err(name);
        assert_eq!(error.message(), want, "{name}");
        assert!(error.hint().is_some(), "{name}");
    }
}

#[test]
fn functions_that_call_each_other_in_a_ring_are_refused() {
    let ring = [
        function("a", &["b"]),
        function("b", &["c"]),
        function("c", &["a"]),
    ]
    .concat();
    let error = inspect_named("m", &model_with(graph_with(Vec::new()), ring)).unwrap_err();
    assert!(error.message().ends_with("calls itself"), "{error}");
}

#[test]
fn what_is_within_bounds_passes() {
    let fine = [
        model(Vec::new()),
        nested(10),
        nested_type(6),
        model(ints("w", &[1, 2, 3])),
        made("ConstantOfShape", &[("s", &[1024, 1024])]),
        made("Expand", &[("a", &[1]), ("s", &[1, -1])]),
        model(f(
            5,
            [v(1, 3), v(2, 7), f(7, [1, 2, 3]), f(8, "packed")].concat(),
        )),
        model(f(
            5,
            [v(1, 3), v(2, 22), f(9, [0, 0]), f(8, "int4")].concat(),
        )),
        model(f(
            5,
            [v(1, 2), v(2, 8), f(6, "a"), f(6, "b"), f(8, "texts")].concat(),
        )),
        model_with(
            graph_with(f(1, [node("f", &["X"], "z"), f(7, "own")].concat())),
            [function("f", &["g", "g"]), function("g", &[])].concat(),
        ),
    ];
    for bytes in fine {
        assert_eq!(check(&bytes), Ok(()));
    }
}

#[test]
fn no_damage_makes_it_panic() {
    for bytes in [nested(5), concats(), external("w", &[2]), random()] {
        for end in 0..bytes.len() {
            let _ = check(&bytes[..end]);
            for damage in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[end] = damage;
                let _ = check(&bytes);
            }
        }
    }
}
