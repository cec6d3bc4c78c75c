//! Makes one file of a model whose weights lie in others. The protobuf is edited on the wire, so that fields this program does
//! not know stay as they are, and a tensor comes out as the exporter would have written it inline: its values take the place
//! of `raw_data`, and nothing says any more that they were elsewhere.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use whimbrel_proto::{Error, ErrorCode};

use super::wire::{Field, Fields, Value, put};

/// Protobuf cannot hold more, so no ONNX file is larger.
pub const MAX_BYTES: u64 = (1 << 31) - 1;
/// Graphs within graphs; more is no model that an exporter wrote.
const DEPTH: usize = 64;

/// The messages on the way from a model to its tensors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
    Training,
    Sparse,
    Tensor,
}

impl Kind {
    /// What the field of that number holds, where tensors can be below it.
    fn child(self, field: u64) -> Option<Self> {
        match (self, field) {
            (Self::Model, 7) => Some(Self::Graph),
            (Self::Model, 20) => Some(Self::Training),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Training, 1 | 2) => Some(Self::Graph),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Graph, 5) => Some(Self::Tensor),
            (Self::Graph, 15) => Some(Self::Sparse),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            (Self::Attribute, 5 | 10) => Some(Self::Tensor),
            (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Attribute, 22 | 23) => Some(Self::Sparse),
            (Self::Sparse, 1 | 2) => Some(Self::Tensor),
            _ => None,
        }
    }
}

/// Where a tensor's values are.
#[derive(Default)]
struct Place {
    location: String,
    offset: u64,
    length: Option<u64>,
}

const NAME: u64 = 8;
const RAW_DATA: u64 = 9;
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;

/// The files beside the model that hold its weights, as the model names them: relative paths below its own folder. A path
/// that leads out of the folder is refused.
pub fn external_files(model: &[u8]) -> Result<Vec<String>, Error> {
    let mut files = BTreeSet::new();
    collect(Kind::Model, model, 0, &mut files)?;
    for file in &files {
        check_inside(file)?;
    }
    Ok(files.into_iter().collect())
}

/// The model with the content of `files` in it; each file that [`external_files`] names must be there.
pub fn embed(model: &[u8], files: &HashMap<String, Bytes>) -> Result<Vec<u8>, Error> {
    let mut room = MAX_BYTES.saturating_sub(model.len() as u64);
    let edited = rewrite(Kind::Model, model, 0, files, &mut room)?;
    Ok(edited.unwrap_or_else(|| model.to_vec()))
}

/// Only a plain path below the model's folder is a place for its weights.
fn check_inside(file: &str) -> Result<(), Error> {
    let leaves = file.starts_with('/')
        || file.contains(['\\', '\0', ':'])
        || file.split('/').any(|part| matches!(part, "" | "." | ".."));
    if !leaves {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Invalid,
        format!("the model's weights are in '{file}', which is not inside its folder"),
    )
    .with_hint("save it as one file: onnx.save(model, path, save_as_external_data=False)"))
}

fn collect(
    kind: Kind,
    message: &[u8],
    depth: usize,
    files: &mut BTreeSet<String>,
) -> Result<(), Error> {
    check_depth(depth)?;
    if kind == Kind::Tensor {
        files.extend(place(message)?.map(|place| place.location));
        return Ok(());
    }
    for field in fields(message) {
        let field = field?;
        if let (Some(child), Value::Bytes(content)) = (kind.child(field.number), field.value) {
            collect(child, content, depth + 1, files)?;
        }
    }
    Ok(())
}

/// The message with its tensors' values in it; `None` where nothing changes.
fn rewrite(
    kind: Kind,
    message: &[u8],
    depth: usize,
    files: &HashMap<String, Bytes>,
    room: &mut u64,
) -> Result<Option<Vec<u8>>, Error> {
    check_depth(depth)?;
    if kind == Kind::Tensor {
        return match place(message)? {
            Some(place) => inline(message, &values(&place, files, room)?).map(Some),
            None => Ok(None),
        };
    }
    let mut edited: Option<Vec<u8>> = None;
    let mut seen = 0;
    for field in fields(message) {
        let field = field?;
        let changed = match (kind.child(field.number), field.value) {
            (Some(child), Value::Bytes(content)) => {
                rewrite(child, content, depth + 1, files, room)?
            }
            _ => None,
        };
        match (changed, &mut edited) {
            (Some(content), _) => {
                let out = edited.get_or_insert_with(|| message[..seen].to_vec());
                put(out, field.number, &content);
            }
            (None, Some(out)) => out.extend_from_slice(&message[field.span.clone()]),
            (None, None) => {}
        }
        seen = field.span.end;
    }
    Ok(edited)
}

fn check_depth(depth: usize) -> Result<(), Error> {
    if depth <= DEPTH {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Invalid,
        format!("the model has graphs within graphs, more than {DEPTH} deep"),
    )
    .with_hint("export it without nested control flow"))
}

/// Where the tensor's values are, if they are elsewhere.
fn place(tensor: &[u8]) -> Result<Option<Place>, Error> {
    let (mut external, mut place) = (false, Place::default());
    for field in fields(tensor) {
        let field = field?;
        match (field.number, field.value) {
            (DATA_LOCATION, Value::Varint(place)) => external = place == 1,
            (EXTERNAL_DATA, Value::Bytes(entry)) => note(entry, &mut place)?,
            _ => {}
        }
    }
    Ok((external || !place.location.is_empty()).then_some(place))
}

/// One `key: value` of a tensor's external data.
fn note(entry: &[u8], place: &mut Place) -> Result<(), Error> {
    let (mut key, mut value) = ("", "");
    for field in fields(entry) {
        let field = field?;
        let text = field
            .value
            .text()
            .map_err(|_| broken("where its weights are is no text"))?;
        match field.number {
            1 => key = text,
            2 => value = text,
            _ => {}
        }
    }
    let number = || {
        value
            .parse()
            .map_err(|_| broken(&format!("the {key} of its weights is '{value}'")))
    };
    match key {
        "location" => value.clone_into(&mut place.location),
        "offset" => place.offset = number()?,
        "length" => place.length = Some(number()?),
        _ => {}
    }
    Ok(())
}

fn values(place: &Place, files: &HashMap<String, Bytes>, room: &mut u64) -> Result<Bytes, Error> {
    let Place {
        location,
        offset,
        length,
    } = place;
    let file = files.get(location).ok_or_else(|| {
        Error::new(
            ErrorCode::NotFound,
            format!("the model's weights are in '{location}', which is not there"),
        )
        .with_hint("keep the file beside the model")
    })?;
    let size = file.len() as u64;
    let end = length.map_or(Some(size), |length| offset.checked_add(length));
    let Some(end) = end.filter(|end| *end <= size && *offset <= *end) else {
        let text = format!(
            "the model's weights are beyond the end of '{location}', which has {size} bytes"
        );
        return Err(Error::new(ErrorCode::Invalid, text)
            .with_hint("copy the model with its files again; this one was cut off"));
    };
    *room = room.checked_sub(end - offset).ok_or_else(too_large)?;
    let range = usize::try_from(*offset).ok().zip(usize::try_from(end).ok());
    let (start, end) = range.ok_or_else(too_large)?;
    Ok(file.slice(start..end))
}

/// The tensor with its values in it, at the place where an exporter writes them.
fn inline(tensor: &[u8], values: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(tensor.len() + values.len() + 10);
    let mut tail = Vec::new();
    for field in fields(tensor) {
        let field = field?;
        match field.number {
            RAW_DATA | EXTERNAL_DATA | DATA_LOCATION => {}
            ..=NAME => out.extend_from_slice(&tensor[field.span]),
            _ => tail.extend_from_slice(&tensor[field.span]),
        }
    }
    put(&mut out, RAW_DATA, values);
    out.extend_from_slice(&tail);
    Ok(out)
}

fn too_large() -> Error {
    Error::new(
        ErrorCode::Invalid,
        "the model with its weights is larger than 2 GiB",
    )
    .with_hint("a model of that size cannot be one ONNX file; export a smaller one, or quantize it")
}

fn broken(why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("the model does not decode: {why}"),
    )
    .with_hint("export it again")
}

/// The fields of a message, one after the other.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Error>> {
    Fields::of(message).map(|field| field.map_err(|_| broken("it is cut off or damaged")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, content) in fields {
            put(&mut out, *number, content);
        }
        out
    }

    fn entry(key: &str, value: &str) -> Vec<u8> {
        message(&[(1, key.as_bytes()), (2, value.as_bytes())])
    }

    /// A tensor named `w` whose values lie elsewhere, or in it.
    fn tensor(entries: &[(&str, &str)], raw: Option<&[u8]>) -> Vec<u8> {
        let mut out = vec![0x08, 4, 0x10, 1];
        put(&mut out, NAME, b"w");
        if let Some(raw) = raw {
            put(&mut out, RAW_DATA, raw);
        }
        put(&mut out, 12, b"a note");
        for (key, value) in entries {
            put(&mut out, EXTERNAL_DATA, &entry(key, value));
        }
        if !entries.is_empty() {
            out.extend([0x70, 1]);
        }
        out
    }

    /// A model with the tensor as a weight, in a node's attribute, and in the graph of a node.
    fn model(tensor: &[u8]) -> Vec<u8> {
        let inner = message(&[(5, tensor)]);
        let attributes = [
            message(&[(1, b"value"), (5, tensor)]),
            message(&[(1, b"body"), (6, &inner)]),
        ];
        let node = message(&[(4, b"If"), (5, &attributes[0]), (5, &attributes[1])]);
        let graph = message(&[(1, &node), (2, b"g"), (5, tensor)]);
        let mut out = vec![0x08, 8];
        put(&mut out, 7, &graph);
        put(&mut out, 99, b"unknown");
        out
    }

    fn files(pairs: &[(&str, &[u8])]) -> HashMap<String, Bytes> {
        pairs
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), Bytes::copy_from_slice(bytes)))
            .collect()
    }

    #[test]
    fn a_model_with_weights_elsewhere_becomes_the_one_that_was_never_split() {
        let split = model(&tensor(
            &[("location", "sub/w.data"), ("offset", "4"), ("length", "3")],
            None,
        ));
        assert_eq!(external_files(&split).unwrap(), ["sub/w.data"]);
        let whole = embed(&split, &files(&[("sub/w.data", b"....abc!")])).unwrap();
        assert_eq!(whole, model(&tensor(&[], Some(b"abc"))));
        assert_eq!(external_files(&whole).unwrap(), Vec::<String>::new());
        assert_eq!(embed(&whole, &HashMap::new()).unwrap(), whole);
    }

    #[test]
    fn weights_outside_the_folder_or_beyond_their_file_are_refused() {
        for bad in ["/etc/passwd", "../w", "a/../../w", "a//b", ".", "C:\\w", ""] {
            let split = model(&tensor(&[("location", bad)], None));
            let error = external_files(&split).unwrap_err();
            assert!(
                error.message().ends_with("which is not inside its folder"),
                "{bad}: {error}"
            );
        }
        for (offset, length) in [("9", "1"), ("0", "9"), ("18446744073709551615", "2")] {
            let split = model(&tensor(
                &[("location", "w"), ("offset", offset), ("length", length)],
                None,
            ));
            let error = embed(&split, &files(&[("w", b"12345678")])).unwrap_err();
            assert_eq!(
                error.message(),
                "the model's weights are beyond the end of 'w', which has 8 bytes"
            );
        }
        let split = model(&tensor(&[("location", "w"), ("offset", "x")], None));
        assert!(external_files(&split).is_err());
        let split = model(&tensor(&[("location", "w")], None));
        assert_eq!(
            embed(&split, &HashMap::new()).unwrap_err().code(),
            ErrorCode::NotFound
        );
    }

    #[test]
    fn a_damaged_model_is_refused_at_every_cut() {
        let split = model(&tensor(&[("location", "w")], None));
        for end in 3..split.len() {
            if let Err(error) = external_files(&split[..end]) {
                assert_eq!(error.code(), ErrorCode::Invalid);
            }
        }
        let mut deep = message(&[(5, &tensor(&[], Some(b"x")))]);
        for _ in 0..DEPTH {
            let attribute = message(&[(6, &deep)]);
            deep = message(&[(1, &message(&[(5, &attribute)]))]);
        }
        let error = external_files(&message(&[(7, &deep)])).unwrap_err();
        assert!(error.message().contains("graphs within graphs"), "{error}");
    }
}
