//! What this crate's tests share: a real library, folders that go away, a shelf of models, and tiny ONNX graphs written as
//! protobuf without Python.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use prost::Message;
use sha2::Digest as _;
use whimbrel_predict::binding::{Binding, RuntimeKind, elements};
use whimbrel_predict::options::BindOptions;
use whimbrel_predict::signature::{ElementType, OutputSpec, RowNames, Signature, TensorSpec};
use whimbrel_predict::value::Value;
use whimbrel_proto::ids::{Digest, Generation};
use whimbrel_proto::{Error, ErrorCode};

use super::files::hex;
use super::{HostOptions, ModelFetcher, ScoringHost};
use crate::library;

/// A real ONNX Runtime: the one on this machine, else the pinned one, fetched once into the user's cache.
pub(crate) fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            library::find(None).unwrap_or_else(|_| {
                library::fetch(&library::cache_dir().unwrap(), &mut |line| {
                    println!("{line}")
                })
                .unwrap()
            })
        })
        .clone()
}

/// A fresh folder, removed when dropped.
pub(crate) struct TempFolder(PathBuf);

impl TempFolder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "whimbrel-executor-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// An executable shell script. Another process writes it: a descriptor of ours, open for writing and inherited by a child
/// that another test starts meanwhile, would make running it fail with "text file busy".
pub(crate) fn script(path: &Path, body: &str) {
    let status = Command::new("sh")
        .args([
            "-c",
            "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod +x \"$1\"",
            "sh",
        ])
        .arg(path)
        .arg(body)
        .status()
        .unwrap();
    assert!(status.success());
}

pub(crate) fn digest_of(content: &[u8]) -> Digest {
    hex(&sha2::Sha256::digest(content)).parse().unwrap()
}

/// A fetcher that has what was put on it, and counts.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    models: Mutex<HashMap<Digest, Vec<u8>>>,
    fetches: AtomicUsize,
}

impl Shelf {
    pub(crate) fn put(&self, content: Vec<u8>) -> Digest {
        let digest = digest_of(&content);
        self.put_as(digest.clone(), content);
        digest
    }

    pub(crate) fn put_as(&self, digest: Digest, content: Vec<u8>) {
        self.models.lock().unwrap().insert(digest, content);
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl ModelFetcher for Shelf {
    async fn fetch(&self, digest: &Digest, to: &Path) -> Result<(), Error> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let content = self.models.lock().unwrap().get(digest).cloned();
        let content =
            content.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("no model {digest}")))?;
        std::fs::write(to, content)
            .map_err(|error| Error::new(ErrorCode::Unavailable, error.to_string()))
    }
}

/// A host with its folder and its shelf.
pub(crate) struct Bench {
    pub(crate) host: Arc<ScoringHost>,
    pub(crate) shelf: Arc<Shelf>,
    _folder: TempFolder,
}

impl Bench {
    pub(crate) fn new(change: impl FnOnce(&mut HostOptions)) -> Self {
        let folder = TempFolder::new();
        let shelf = Arc::new(Shelf::default());
        let mut options = HostOptions {
            library: Some(library()),
            scoring_threads: 2,
            ..HostOptions::new(folder.path())
        };
        change(&mut options);
        let host = ScoringHost::new(options, Arc::clone(&shelf) as Arc<dyn ModelFetcher>).unwrap();
        Self {
            host,
            shelf,
            _folder: folder,
        }
    }

    /// Puts the graph on the shelf and binds it.
    pub(crate) fn bind(&self, graph: &Graph, returns: DataType) -> Binding {
        graph.binding(self.shelf.put(graph.bytes()), returns)
    }
}

/// A graph in short: tensors are (name, type, shape), a negative size is dynamic.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    pub(crate) constants: Vec<TensorProto>,
}

pub(crate) fn tensor(name: &str, element: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        element,
        shape: shape.to_vec(),
    }
}

pub(crate) fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    NodeProto {
        input: owned(inputs),
        output: owned(outputs),
        name: format!("{op_type}_0"),
        op_type: op_type.to_owned(),
        attribute: Vec::new(),
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: value,
        ints: Vec::new(),
        kind: 2,
    }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: 0,
        ints: values.to_vec(),
        kind: 7,
    }
}

/// A constant of these numbers.
pub(crate) fn longs(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        dims: vec![i64::try_from(values.len()).unwrap()],
        data_type: onnx_type(ElementType::Int64),
        int64_data: values.to_vec(),
        name: name.to_owned(),
        ..TensorProto::default()
    }
}

/// A constant of these numbers.
pub(crate) fn doubles(name: &str, values: &[f64]) -> TensorProto {
    TensorProto {
        dims: vec![i64::try_from(values.len()).unwrap()],
        data_type: onnx_type(ElementType::Float64),
        double_data: values.to_vec(),
        name: name.to_owned(),
        ..TensorProto::default()
    }
}

impl Graph {
    /// `[N,k]` times k weights: `[N,1]`.
    pub(crate) fn linear(weights: &[f32]) -> Self {
        let width = i64::try_from(weights.len()).unwrap();
        Self {
            nodes: vec![node("MatMul", &["x", "w"], &["y"])],
            inputs: vec![tensor("x", ElementType::Float32, &[-1, width])],
            outputs: vec![tensor("y", ElementType::Float32, &[-1, 1])],
            constants: vec![TensorProto {
                dims: vec![width, 1],
                data_type: onnx_type(ElementType::Float32),
                float_data: weights.to_vec(),
                name: "w".to_owned(),
                ..TensorProto::default()
            }],
        }
    }

    /// One operator over the inputs, whose output has the type and shape given.
    pub(crate) fn of(op_type: &str, inputs: Vec<TensorSpec>, output: TensorSpec) -> Self {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        Self {
            nodes: vec![node(op_type, &names, &[&output.name])],
            inputs,
            outputs: vec![output],
            constants: vec![],
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let graph = GraphProto {
            node: self.nodes.clone(),
            name: "test".to_owned(),
            initializer: self.constants.clone(),
            input: self.inputs.iter().map(value_info).collect(),
            output: self.outputs.iter().map(value_info).collect(),
        };
        let opset = OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        };
        ModelProto {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![opset],
        }
        .encode_to_vec()
    }

    pub(crate) fn binding(&self, digest: Digest, returns: DataType) -> Binding {
        let output = |spec: &TensorSpec| OutputSpec {
            name: spec.name.clone(),
            element: spec.element,
            shape: spec.shape.clone(),
            names: RowNames::None,
        };
        let signature = Signature {
            inputs: self.inputs.clone(),
            outputs: self.outputs.iter().map(output).collect(),
        };
        let mut elements = elements(&signature, &[]).unwrap();
        for (place, element) in elements
            .iter_mut()
            .enumerate()
            .filter(|(_, element)| !element.named)
        {
            element.name = format!("{}{place}", element.name);
        }
        let value = Value::resolve(&signature, None, Some(&returns)).unwrap();
        Binding {
            alias: "tip".parse().unwrap(),
            uri: "file:///tip.onnx".to_owned(),
            resolved: "file:///tip.onnx".to_owned(),
            version: None,
            digest,
            generation: Generation(1),
            runtime: RuntimeKind::Ort,
            signature,
            returns,
            value,
            elements,
            columns: vec![],
            options: BindOptions::default(),
            size_bytes: 0,
            bound_at_ms: 0,
            recorded: Vec::new(),
            notes: Vec::new(),
        }
    }
}

fn onnx_type(element: ElementType) -> i32 {
    match element {
        ElementType::Float32 => 1,
        ElementType::UInt8 => 2,
        ElementType::Int8 => 3,
        ElementType::UInt16 => 4,
        ElementType::Int16 => 5,
        ElementType::Int32 => 6,
        ElementType::Int64 => 7,
        ElementType::String => 8,
        ElementType::Bool => 9,
        ElementType::Float64 => 11,
        ElementType::UInt32 => 12,
        ElementType::UInt64 => 13,
    }
}

fn value_info(spec: &TensorSpec) -> ValueInfoProto {
    let dim = spec
        .shape
        .iter()
        .map(|size| Dimension {
            dim_value: (*size >= 0).then_some(*size),
            dim_param: (*size < 0).then(|| "N".to_owned()),
        })
        .collect();
    let tensor_type = TensorTypeProto {
        elem_type: onnx_type(spec.element),
        shape: Some(ShapeProto { dim }),
    };
    ValueInfoProto {
        name: spec.name.clone(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor_type),
        }),
    }
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(double, repeated, tag = "10")]
    pub(crate) double_data: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}
