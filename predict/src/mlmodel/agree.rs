//! Brings together what a model's graph takes and what was written down beside it. The graph says what can run; the
//! signature gives columns their names, says which may be missing, and must not contradict the graph. Pure: nothing is read.

use std::collections::HashSet;

use serde_json::Value;
use whimbrel_proto::Error;

use super::MlModel;
use super::compare::{
    check_types, disagree, fits, input_text, listed, names_input, note_differences, reshape, shown,
};
use super::signature::{Field, FieldKind, MlSignature, Scalar};
use crate::signature::{Signature, TensorSpec};

/// What graph and signature say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreed {
    /// A name for every element in feeding order; empty where nothing names them.
    pub names: Vec<String>,
    /// What is known of single elements, by the name of the element.
    pub named: Vec<Named>,
    /// Names for the columns of the first output that has more than one, where the signature gives them.
    pub output_columns: Vec<String>,
    /// Where they differ without harm, for people.
    pub notes: Vec<String>,
}

/// An element that may be missing from the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub name: String,
    /// Fed where the column is missing or NULL; `Value::Null` where nothing is given.
    pub default: Value,
}

impl Agreed {
    /// What the file says by itself.
    pub fn of(names: Vec<String>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }
}

/// Compares the two. `signature` is the graph's, and gets the widths that it leaves open; `own_names` are the column names
/// that the ONNX file itself carries.
pub fn agree(
    signature: &mut Signature,
    own_names: Vec<String>,
    model: &MlModel,
) -> Result<Agreed, Error> {
    let said = model.signature().cloned().unwrap_or_default();
    let mut agreed = Agreed {
        output_columns: output_columns(signature, &said),
        ..Agreed::default()
    };
    if said.inputs.is_empty() {
        agreed.names = names_of_example(
            signature,
            own_names,
            &model.example().columns,
            &mut agreed.notes,
        );
        return Ok(agreed);
    }
    let sides = Sides {
        said: &said,
        own_names,
    };
    let is_tensor = |field: &&Field| matches!(field.kind, FieldKind::Tensor { .. });
    match said.inputs.iter().filter(is_tensor).count() {
        0 => sides.columns(signature, &mut agreed)?,
        tensors if tensors == said.inputs.len() => sides.tensors(signature, &mut agreed)?,
        _ => return Err(disagree("mixes columns and tensors", "one kind")),
    }
    Ok(agreed)
}

struct Sides<'a> {
    said: &'a MlSignature,
    own_names: Vec<String>,
}

impl Sides<'_> {
    /// A signature of tensors: each is one input of the graph.
    fn tensors(&self, signature: &mut Signature, agreed: &mut Agreed) -> Result<(), Error> {
        if let Some(names) = self.other_shape(signature) {
            agreed.notes.push(
                "the MLmodel file describes the inputs as tensors of another shape than the model, with as many columns".to_owned(),
            );
            agreed.names = names;
            return Ok(());
        }
        let inputs = &mut signature.inputs;
        let single = inputs.len() == 1 && self.said.inputs.len() == 1;
        let mut differ = Vec::new();
        let mut met = HashSet::new();
        for field in &self.said.inputs {
            let FieldKind::Tensor { element, shape, .. } = &field.kind else {
                continue;
            };
            let place = match &field.name {
                _ if single => Some(0),
                Some(name) => inputs.iter().position(|input| input.name == *name),
                None => None,
            };
            let Some(input) = place.and_then(|place| inputs.get_mut(place)) else {
                return Err(self.no_such(field, inputs));
            };
            met.insert(input.name.clone());
            if !fits(*element, input.element) || !reshape(&mut input.shape, shape) {
                let said = format!("says {} is {}", shown(field), field.kind);
                return Err(disagree(&said, &input_text(input)));
            }
            if *element != Scalar::Is(input.element) {
                differ.push(format!(
                    "{} ({}, model {})",
                    shown(field),
                    field.kind,
                    input.element
                ));
            }
        }
        note_differences(&differ, &mut agreed.notes);
        self.others_are_params(signature, &met, agreed)?;
        agreed.names.clone_from(&self.own_names);
        Ok(())
    }

    /// One model in both shapes: a matrix of k columns, and k inputs of one column each. The names of its elements, where
    /// the signature describes the one and the graph takes the other.
    fn other_shape(&self, signature: &mut Signature) -> Option<Vec<String>> {
        let is_column = |shape: &[i64]| matches!(shape, [_] | [_, 1]);
        match (self.said.inputs.as_slice(), signature.inputs.as_mut_slice()) {
            ([one], inputs @ [_, _, ..]) => {
                let FieldKind::Tensor { element, shape, .. } = &one.kind else {
                    return None;
                };
                let [_, width] = shape.as_slice() else {
                    return None;
                };
                let columns = inputs
                    .iter()
                    .all(|input| is_column(&input.shape) && fits(*element, input.element));
                let fits = columns && usize::try_from(*width) == Ok(inputs.len());
                fits.then(|| self.own_names.clone())
            }
            (several @ [_, _, ..], [one]) => {
                let [_, width] = one.shape.as_mut_slice() else {
                    return None;
                };
                let wide = several.len() as i64;
                if *width > 0 && *width != wide {
                    return None;
                }
                let name = |field: &Field| match &field.kind {
                    FieldKind::Tensor { element, shape, .. }
                        if is_column(shape) && fits(*element, one.element) =>
                    {
                        field.name.clone()
                    }
                    _ => None,
                };
                let names: Option<Vec<String>> = several.iter().map(name).collect();
                if names.is_some() {
                    *width = wide;
                }
                names
            }
            _ => None,
        }
    }

    /// A signature of columns: they feed one matrix in their order, or inputs of one column each by name.
    fn columns(&self, signature: &mut Signature, agreed: &mut Agreed) -> Result<(), Error> {
        let is_matrix = |input: &TensorSpec| input.shape.len() == 2 && input.lanes() != Some(1);
        match signature.inputs.as_mut_slice() {
            [only] if is_matrix(only) => self.one_matrix(only, agreed),
            _ => self.several_inputs(signature, agreed),
        }
    }

    fn one_matrix(&self, input: &mut TensorSpec, agreed: &mut Agreed) -> Result<(), Error> {
        let fields = &self.said.inputs;
        if let [only] = fields.as_slice()
            && matches!(only.kind, FieldKind::List { .. })
        {
            // One column of lists is the whole matrix.
            agreed.names.clone_from(&self.own_names);
            return Ok(());
        }
        let count = fields.len();
        match input.lanes() {
            None => input.shape[1] = count as i64,
            Some(width) if width == count => {}
            Some(width) => {
                let said = format!("names {count} input columns");
                return Err(disagree(
                    &said,
                    &format!("{width} in {}", input_text(input)),
                ));
            }
        }
        let places: Vec<(&Field, &TensorSpec)> =
            fields.iter().map(|field| (field, &*input)).collect();
        check_types(&places, &mut agreed.notes)?;
        let names: Option<Vec<String>> = fields.iter().map(|field| field.name.clone()).collect();
        agreed.names = match names {
            Some(names) => {
                self.same_order(&names, &mut agreed.notes)?;
                names
            }
            None => self.own_names.clone(),
        };
        agreed.named = optional(fields.iter());
        Ok(())
    }

    /// The file's own names in another order would feed every column to a wrong place.
    fn same_order(&self, names: &[String], notes: &mut Vec<String>) -> Result<(), Error> {
        if self.own_names.is_empty() || self.own_names == names {
            return Ok(());
        }
        let set = |names: &[String]| names.iter().cloned().collect::<HashSet<String>>();
        if set(&self.own_names) == set(names) {
            let said = format!(
                "orders its columns {}",
                listed(names.iter().map(String::as_str))
            );
            let own = listed(self.own_names.iter().map(String::as_str));
            return Err(disagree(
                &said,
                &format!("them as {own}, by the names in its metadata"),
            ));
        }
        notes.push(
            "the model file's own feature names differ from the MLmodel file's, which are used"
                .to_owned(),
        );
        Ok(())
    }

    fn several_inputs(&self, signature: &mut Signature, agreed: &mut Agreed) -> Result<(), Error> {
        let fields = &self.said.inputs;
        let mut free: Vec<&Field> = fields.iter().collect();
        let mut fed: Vec<(Option<&Field>, &TensorSpec)> = Vec::new();
        for input in &signature.inputs {
            let place = free
                .iter()
                .position(|field| names_input(field, &input.name));
            fed.push((place.map(|place| free.remove(place)), input));
        }
        let lanes = signature
            .inputs
            .iter()
            .map(|input| input.lanes().unwrap_or(1));
        let lanes: usize = lanes.sum();
        if fed.iter().all(|(field, _)| field.is_none()) && lanes == fields.len() {
            agreed.notes.push(
                "no input of the model has the name of a column of the MLmodel file: they are matched by position".to_owned(),
            );
            return self.in_order(signature, agreed);
        }
        let matrices = fed
            .iter()
            .filter(|(field, input)| field.is_none() && input.lanes() != Some(1));
        let width: usize = matrices.filter_map(|(_, input)| input.lanes()).sum();
        if width > 0 && width == free.len() {
            // What no input of its own takes goes into the matrix.
            return self.mixed(signature, agreed);
        }
        let met: HashSet<String> = fed
            .iter()
            .filter(|(field, _)| field.is_some())
            .map(|(_, input)| input.name.clone())
            .collect();
        let places: Vec<(&Field, &TensorSpec)> = fed
            .iter()
            .filter_map(|(field, input)| Some(((*field)?, *input)))
            .collect();
        check_types(&places, &mut agreed.notes)?;
        agreed.named = optional(places.iter().map(|(field, _)| *field));
        if let Some(lost) = free.iter().find(|field| field.required) {
            return Err(self.no_such(lost, &signature.inputs));
        }
        if !free.is_empty() {
            let names = listed(free.iter().filter_map(|field| field.name.as_deref()));
            agreed.notes.push(format!(
                "the MLmodel file has optional columns that the model does not take: {names}"
            ));
        }
        agreed.names = fed_names(&fed);
        self.others_are_params(signature, &met, agreed)
    }

    /// Single inputs by name, the matrix from the rest.
    fn mixed(&self, signature: &Signature, agreed: &mut Agreed) -> Result<(), Error> {
        let mut rest: Vec<&Field> = self.said.inputs.iter().collect();
        let mut own: Vec<Option<&Field>> = Vec::new();
        for input in &signature.inputs {
            let place = rest
                .iter()
                .position(|field| names_input(field, &input.name));
            own.push(place.map(|place| rest.remove(place)));
        }
        let mut rest = rest.into_iter();
        let mut places = Vec::new();
        for (input, own) in signature.inputs.iter().zip(own) {
            let lanes = input.lanes().unwrap_or(1);
            match own {
                Some(field) => places.push((field, input)),
                None => places.extend(rest.by_ref().take(lanes).map(|field| (field, input))),
            }
        }
        self.place(places, agreed)
    }

    /// Columns feed the inputs in their order.
    fn in_order(&self, signature: &Signature, agreed: &mut Agreed) -> Result<(), Error> {
        let lanes = signature
            .inputs
            .iter()
            .flat_map(|input| std::iter::repeat_n(input, input.lanes().unwrap_or(1)));
        self.place(self.said.inputs.iter().zip(lanes).collect(), agreed)
    }

    fn place(&self, places: Vec<(&Field, &TensorSpec)>, agreed: &mut Agreed) -> Result<(), Error> {
        check_types(&places, &mut agreed.notes)?;
        let names: Option<Vec<String>> =
            places.iter().map(|(field, _)| field.name.clone()).collect();
        agreed.names = names.unwrap_or_default();
        agreed.named = optional(places.iter().map(|(field, _)| *field));
        Ok(())
    }

    /// An input of the graph that the signature does not name must be a parameter: then its default feeds it.
    fn others_are_params(
        &self,
        signature: &Signature,
        met: &HashSet<String>,
        agreed: &mut Agreed,
    ) -> Result<(), Error> {
        for input in signature
            .inputs
            .iter()
            .filter(|input| !met.contains(&input.name))
        {
            let Some(param) = self
                .said
                .params
                .iter()
                .find(|param| param.name == input.name)
            else {
                let names = self
                    .said
                    .inputs
                    .iter()
                    .filter_map(|field| field.name.as_deref());
                let said = format!("names only {}", listed(names));
                return Err(disagree(&said, &format!("{} as well", input_text(input))));
            };
            agreed.named.push(Named {
                name: param.name.clone(),
                default: param.default.clone(),
            });
        }
        Ok(())
    }

    fn no_such(&self, field: &Field, inputs: &[TensorSpec]) -> Error {
        let said = format!("has an input {}", shown(field));
        let names = inputs.iter().map(|input| input.name.as_str());
        disagree(&said, &listed(names))
    }
}

/// The names of the file, else of the example where it has the right number of columns.
fn names_of_example(
    signature: &mut Signature,
    own_names: Vec<String>,
    example: &[Field],
    notes: &mut Vec<String>,
) -> Vec<String> {
    let [only] = signature.inputs.as_mut_slice() else {
        return own_names;
    };
    let is_matrix = only.shape.len() == 2 && only.lanes() != Some(1);
    if !own_names.is_empty() || example.is_empty() || !is_matrix {
        return own_names;
    }
    if only.lanes().is_some_and(|width| width != example.len()) {
        notes.push(format!(
            "the input example has {} columns, the model takes {}: the example is not used",
            example.len(),
            input_text(only)
        ));
        return own_names;
    }
    only.shape[1] = example.len() as i64;
    notes.push("the columns are named after those of the input example".to_owned());
    example
        .iter()
        .filter_map(|field| field.name.clone())
        .collect()
}

/// The inputs' names as the signature spells them; a matrix that nothing names leaves all of them without.
fn fed_names(fed: &[(Option<&Field>, &TensorSpec)]) -> Vec<String> {
    if fed
        .iter()
        .any(|(_, input)| input.lanes().is_some_and(|lanes| lanes > 1))
    {
        return Vec::new();
    }
    fed.iter()
        .map(|(field, input)| {
            let said = field.and_then(|field| field.name.clone());
            said.unwrap_or_else(|| input.name.clone())
        })
        .collect()
}

fn optional<'a>(fields: impl Iterator<Item = &'a Field>) -> Vec<Named> {
    let missing = fields.filter(|field| !field.required);
    missing
        .filter_map(|field| {
            Some(Named {
                name: field.name.clone()?,
                default: Value::Null,
            })
        })
        .collect()
}

/// Names for the columns of the only output that has several.
fn output_columns(signature: &Signature, said: &MlSignature) -> Vec<String> {
    let width = signature
        .outputs
        .iter()
        .find_map(|output| match output.row() {
            [size] => usize::try_from(*size).ok(),
            _ => None,
        });
    let scalar = |field: &Field| match field.kind {
        FieldKind::Scalar { .. } => field.name.clone(),
        FieldKind::Tensor { .. } | FieldKind::List { .. } | FieldKind::Other { .. } => None,
    };
    let names: Option<Vec<String>> = said.outputs.iter().map(scalar).collect();
    names
        .filter(|names| Some(names.len()) == width)
        .unwrap_or_default()
}
