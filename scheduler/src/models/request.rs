//! What a user says when binding a model, checked against what the model says about itself.

use whimbrel_predict::binding::InputElement;
use whimbrel_predict::signature::TensorSpec;
use whimbrel_proto::{Error, ErrorCode};

use crate::nearest;

/// A wish to bind. Empty texts mean: not said.
#[derive(Clone, Debug, Default)]
pub struct BindModel {
    pub alias: String,
    pub uri: String,
    /// The type PREDICT returns; else the model's own.
    pub returns: String,
    /// "native" or "ort"; else by looking at the model.
    pub runtime: String,
    /// `input=column` pairs.
    pub columns: Vec<(String, String)>,
    /// What `BindOptions` understands.
    pub options: Vec<(String, String)>,
    /// An alias that is bound already is refused.
    pub if_absent: bool,
}

/// Checks the user's pairs against the model's inputs, and spells the inputs as the model does. A pair may also name a whole
/// `[N,k]` input, which a column of lists feeds.
pub(super) fn place_columns(
    elements: &[InputElement],
    inputs: &[TensorSpec],
    pairs: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Error> {
    let mut placed: Vec<(String, String)> = Vec::new();
    for (input, column) in pairs {
        let wide = inputs.iter().filter(|input| input.lanes() > Some(1));
        let places = elements.iter().filter(|element| element.named);
        let names: Vec<&String> = places
            .map(|element| &element.name)
            .chain(wide.map(|input| &input.name))
            .collect();
        let found = names
            .iter()
            .find(|name| **name == &input)
            .or_else(|| names.iter().find(|name| name.eq_ignore_ascii_case(&input)));
        let Some(name) = found.map(|name| (*name).clone()) else {
            return Err(no_input(elements, &input, &column));
        };
        if column.is_empty() {
            return Err(
                Error::new(ErrorCode::Invalid, format!("'{input}=' names no column"))
                    .with_hint("write input=column"),
            );
        }
        if placed.iter().any(|(taken, _)| *taken == name) {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("input '{input}' is given two columns"),
            )
            .with_hint("give every input once"));
        }
        placed.push((name, column));
    }
    Ok(placed)
}

fn no_input(elements: &[InputElement], input: &str, column: &str) -> Error {
    let named = elements
        .iter()
        .filter(|element| element.named)
        .map(|element| element.name.as_str());
    let none = "its inputs have no names: give the columns in order, PREDICT('alias', a, b, ...), \
                or export the model with feature_names in its metadata";
    Error::new(
        ErrorCode::Invalid,
        format!("'{input}={column}': the model has no input '{input}'"),
    )
    .with_hint(nearest::hint(input, named, none))
}
