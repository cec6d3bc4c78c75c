//! What is known of a model when it is bound, whatever kind of file it is: what the file says by itself, brought together with
//! what was written down beside it.

use arrow::datatypes::DataType;
use whimbrel_proto::Error;

use crate::binding::{GivenValue, InputElement, elements};
use crate::mlmodel::{Agreed, MlModel, Named, agree};
use crate::signature::{OutputSpec, RowNames, Signature};
use crate::value::Value;

/// What a model says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// The tensors it takes and gives; outputs that have no value for each row are left out.
    pub signature: Signature,
    /// The places that columns feed.
    pub elements: Vec<InputElement>,
    /// The output that PREDICT returns where nobody asks for another; all of them where it is none.
    pub main_output: Option<String>,
    /// The type of PREDICT's value, unless the binding says otherwise.
    pub returns: DataType,
    /// The size of the file.
    pub size: u64,
    /// (library, version) of what the model was made with, as far as it is written down.
    pub recorded: Vec<(String, String)>,
    /// Where the file and what was written down beside it differ without harm.
    pub notes: Vec<String>,
}

/// What the file alone says.
#[derive(Clone, Debug)]
pub struct Stated {
    pub signature: Signature,
    /// What it calls the columns that feed it, where it does.
    pub names: Vec<String>,
    pub main_output: Option<String>,
    pub size: u64,
    /// (library, version) of what made it.
    pub recorded: Vec<(String, String)>,
}

impl Stated {
    /// The model with the `MLmodel` file beside it, where there is one: it names columns and says which may be missing. Where
    /// the two contradict each other, the error names both sides.
    pub fn with(self, beside: Option<&MlModel>) -> Result<ModelFacts, Error> {
        let Self {
            mut signature,
            names,
            main_output,
            size,
            recorded: made,
        } = self;
        let agreed = match beside {
            Some(beside) => agree(&mut signature, names, beside)?,
            None => Agreed::of(names),
        };
        name_classes(&mut signature.outputs, agreed.output_columns);
        let value = Value::resolve(&signature, main_output.as_deref(), None)?;
        let names = spread(&signature, agreed.names);
        let mut elements = elements(&signature, &names)?;
        may_miss(&mut elements, &agreed.named)?;
        if let Some(beside) = beside {
            beside.example().give(&mut elements);
        }
        let mut recorded = beside.map_or(&[][..], MlModel::recorded).to_vec();
        recorded.extend(made);
        Ok(ModelFacts {
            signature,
            elements,
            main_output,
            returns: value.data_type(),
            size,
            recorded,
            notes: agreed.notes,
        })
    }
}

/// Names the values of the one output that has as many of them in a row.
pub(crate) fn name_classes(outputs: &mut [OutputSpec], names: Vec<String>) {
    let fits = |output: &&mut OutputSpec| {
        output.names == RowNames::None
            && matches!(output.row(), [size] if usize::try_from(*size) == Ok(names.len()))
    };
    let mut fitting: Vec<&mut OutputSpec> = outputs.iter_mut().filter(fits).collect();
    if let [only] = fitting.as_mut_slice() {
        only.names = RowNames::Fields(names);
    }
}

/// The names for every element: they may have been given for all elements, or for the one matrix among single columns.
/// Names of any other number belong to something else.
fn spread(signature: &Signature, names: Vec<String>) -> Vec<String> {
    // One column of lists feeds an input that does not say how many columns it takes.
    let lanes: Vec<usize> = signature
        .inputs
        .iter()
        .map(|input| input.lanes().unwrap_or(1))
        .collect();
    if names.is_empty() || names.len() == lanes.iter().sum::<usize>() {
        return names;
    }
    let mut matrices = lanes.iter().filter(|lanes| **lanes > 1);
    if matrices.next() != Some(&names.len()) || matrices.next().is_some() {
        return Vec::new();
    }
    let all = signature
        .inputs
        .iter()
        .flat_map(|input| match input.lanes() {
            Some(1) | None => vec![input.name.clone()],
            _ => names.clone(),
        });
    all.collect()
}

/// Marks the elements that a table may lack.
fn may_miss(elements: &mut [InputElement], named: &[Named]) -> Result<(), Error> {
    for Named { name, default } in named {
        let own = elements.iter_mut().filter(|element| element.name == *name);
        for element in own {
            element.optional = true;
            let text = match default {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            element.default = Some(GivenValue::parse(&text, element)?);
        }
    }
    Ok(())
}
