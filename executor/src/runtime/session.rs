//! Making an ONNX Runtime session, and saying in one line why one could not be made.

use std::path::Path;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::ValueType;
use whimbrel_predict::onnx::cut_zipmaps;

/// A session for one thread: it never starts threads of its own. `cut` says that the model is known to end in ZipMaps, and
/// comes back true where it was found to.
pub(super) fn build(
    environment: &Environment,
    model: &Path,
    cut: bool,
) -> ort::Result<(Session, bool)> {
    if !cut {
        let session = builder(environment)?.commit_from_file(model)?;
        if !makes_maps(&session) {
            return Ok((session, false));
        }
    }
    let content = std::fs::read(model).map_err(|error| ort::Error::new(error.to_string()))?;
    let content = cut_zipmaps(&content).map_err(|error| ort::Error::new(error.to_string()))?;
    Ok((builder(environment)?.commit_from_memory(&content)?, true))
}

fn builder(environment: &Environment) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_log_level(LogLevel::Warning)?;
    Ok(builder)
}

/// Whether an output is a map for each row, as ZipMap makes them.
fn makes_maps(session: &Session) -> bool {
    session
        .outputs()
        .iter()
        .any(|output| matches!(output.dtype(), ValueType::Sequence(_)))
}

/// What an error of ONNX Runtime says, without the paths, source lines and signatures around it.
pub(super) fn reason(text: &str) -> String {
    let mut rest = text.trim();
    loop {
        let before = rest;
        rest = PREFIXES.iter().fold(rest, |rest, prefix| {
            rest.strip_prefix(prefix).unwrap_or(rest)
        });
        rest = after_load(rest);
        rest = after_source_line(rest);
        rest = after_node(rest);
        if rest == before {
            break;
        }
    }
    if let Some((place, why)) = rest.split_once(" Status Message: ") {
        let operator = between(place, "while running ", " node").unwrap_or("a node");
        return format!("operator {operator}: {}", reason(why));
    }
    known(rest).unwrap_or_else(|| rest.split_whitespace().collect::<Vec<_>>().join(" "))
}

const PREFIXES: [&str; 5] = [
    "Fatal error: ",
    "Exception during initialization: ",
    "This is an invalid model. ",
    "Invalid model. ",
    "Error: ",
];

/// The commonest reasons, said so that they need no knowledge of ONNX Runtime.
fn known(text: &str) -> Option<String> {
    if text.starts_with("Protobuf parsing failed") {
        return Some("it is not an ONNX graph".to_owned());
    }
    if let Some((operator, opset)) = text
        .strip_prefix("No Op registered for ")
        .and_then(|rest| rest.split_once(" with domain_version of "))
    {
        return Some(format!(
            "ONNX Runtime has no operator {operator} in opset {opset}"
        ));
    }
    let operator = text.strip_suffix(" is not a registered function/op")?;
    let name = operator.split_once('(').map_or(operator, |(name, _)| name);
    Some(format!("ONNX Runtime has no operator {name}"))
}

/// `Load model from /pool/models/0123.. failed:` names our own cache file, which tells nobody anything.
fn after_load(text: &str) -> &str {
    match text
        .strip_prefix("Load model from ")
        .and_then(|rest| rest.split_once(" failed:"))
    {
        Some((_, rest)) => rest.trim_start(),
        None => text,
    }
}

/// `/onnxruntime_src/onnxruntime/core/graph/graph.cc:1554 void onnxruntime::Graph::Load(...) const `
fn after_source_line(text: &str) -> &str {
    let Some((path, rest)) = text.split_once(' ') else {
        return text;
    };
    if !is_source_line(path) {
        return text;
    }
    let signature = rest
        .find("onnxruntime::")
        .zip(rest.find(") "))
        .filter(|(name, end)| name < end);
    let rest = signature
        .map_or(rest, |(_, end)| &rest[end + 2..])
        .trim_start();
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    match rest
        .strip_prefix("[with ")
        .and_then(|types| types.split_once("] "))
    {
        Some((_, rest)) => rest.trim_start(),
        None => rest,
    }
}

/// `In Node, ("Add_0", Add, "", -1) : ("x": tensor(float),) -> ("y": tensor(float),) , Error `
fn after_node(text: &str) -> &str {
    match text
        .strip_prefix("In Node, ")
        .and_then(|rest| rest.split_once(" , Error "))
    {
        Some((_, rest)) => rest,
        None => text,
    }
}

fn is_source_line(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(path, line)| {
        (path.ends_with(".cc") || path.ends_with(".h"))
            && !line.is_empty()
            && line.bytes().all(|b| b.is_ascii_digit())
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn what_is_left_is_what_the_user_can_act_on() {
        let cases = [
            (
                "Load model from /w/models/a6e3 failed:This is an invalid model. In Node, (\"F_0\", F, \"\", -1) : \
                 (\"x\": tensor(float),) -> (\"y\": tensor(float),) , Error No Op registered for F with domain_version of 17",
                "ONNX Runtime has no operator F in opset 17",
            ),
            (
                "Load model from /w/a failed:Fatal error: acme:Bar(-1) is not a registered function/op",
                "ONNX Runtime has no operator acme:Bar",
            ),
            (
                "Load model from /w/a failed:Protobuf parsing failed.",
                "it is not an ONNX graph",
            ),
            (
                "Load model from /w/a failed:/onnxruntime_src/onnxruntime/core/graph/graph.cc:1554 void \
                 onnxruntime::Graph::InitializeStateFromModelFileGraphProto() This is an invalid model. Graph output (y) \
                 does not exist in the graph.",
                "Graph output (y) does not exist in the graph.",
            ),
            (
                "Non-zero status code returned while running Gather node. Name:'Gather_0' Status Message: \
                 /onnxruntime_src/core/gather.cc:12 onnxruntime::common::Status onnxruntime::Gather::Run(int) const \
                 [with T = float; U = int] indices element out of data bounds",
                "operator Gather: indices element out of data bounds",
            ),
            (
                "Got invalid dimensions for input: b\n index: 0 Got: 2",
                "Got invalid dimensions for input: b index: 0 Got: 2",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(reason(text), expected);
        }
    }
}
