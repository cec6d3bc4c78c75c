//! A mapping as rows to read: which column feeds which input, and what is lost on the way. `CHECK MODEL` shows them.

use super::{Argument, Mapping, Source, type_name};
use crate::binding::Binding;

/// What feeds one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRow {
    pub input: String,
    /// The type that it takes: `float32`, `a list of 28 x 28 float32`.
    pub takes: String,
    /// The column or expression; none where the column is absent.
    pub column: Option<String>,
    /// The column's type as SQL names it; of an absent one, the value that stands for it.
    pub column_type: String,
    /// `float64 to float32, lossy`; empty where the column is fed as it is or nothing can be lost.
    pub cast: String,
    /// Whether every value reaches the model as it is in the table.
    pub lossless: bool,
    /// Whether position decided, and not the name.
    pub by_position: bool,
    /// What stands for NULL: `NaN`, a default; none where NULL is an error.
    pub null: Option<String>,
}

/// One row per input, in feeding order.
pub fn rows(binding: &Binding, args: &[Argument], mapping: &Mapping) -> Vec<MappingRow> {
    let elements = mapping.elements.as_deref().unwrap_or(&binding.elements);
    let row = |(source, element): (&Source, &crate::binding::InputElement)| {
        let (column, column_type, lossless) = match source {
            Source::Argument { place, way } => {
                let arg = &args[*place];
                let column_type = type_name(&arg.data_type);
                (Some(arg.shown.clone()), column_type, way.cast.is_lossless())
            }
            Source::Absent(value) => (None, value.to_string(), true),
        };
        let is_float = element.element.arrow().is_floating();
        let default = element
            .default
            .as_ref()
            .map(|value| value.text().to_owned());
        MappingRow {
            input: element.name.clone(),
            takes: element.wants(),
            column,
            column_type,
            cast: source.remark(args, element).unwrap_or_default(),
            lossless,
            by_position: mapping.by_position,
            null: default.or_else(|| is_float.then(|| "NaN".to_owned())),
        }
    };
    mapping.sources.iter().zip(elements).map(row).collect()
}
