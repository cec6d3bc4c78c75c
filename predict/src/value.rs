//! What PREDICT's value is made of: one output of the model, or a struct of several, each in the type that the binding says.
//! Pure, so that binding, planning and scoring agree on it; what it accepts the executor can make.

use arrow::datatypes::{DataType, Fields};
use whimbrel_proto::{Error, ErrorCode};

use crate::options::find_output;
use crate::signature::{ElementType, OutputSpec, RowNames, Signature};
use crate::types::{entry_types, returns_name, struct_of};

/// How a value is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Of one of the signature's outputs, in this type.
    Output { output: usize, data_type: DataType },
    /// Of several, each under a name.
    Struct(Vec<(String, Value)>),
}

/// What `PREDICT(...)['name']` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A part that can be read from the model by itself.
    Part(Value),
    /// Something inside a value that is read as a whole.
    Inside,
}

impl Value {
    /// The type in SQL.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Output { data_type, .. } => data_type.clone(),
            Self::Struct(fields) => struct_of(
                fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.data_type())),
            ),
        }
    }

    /// The outputs that are read for it, each once.
    pub fn outputs(&self) -> Vec<usize> {
        let mut outputs = Vec::new();
        self.collect(&mut outputs);
        outputs
    }

    fn collect(&self, outputs: &mut Vec<usize>) {
        match self {
            Self::Output { output, .. } if outputs.contains(output) => {}
            Self::Output { output, .. } => outputs.push(*output),
            Self::Struct(fields) => fields.iter().for_each(|(_, value)| value.collect(outputs)),
        }
    }

    /// The value of a binding: of the output that the user names, else of all; as the type that the user asks for, else as
    /// the model has it. A single value asked of several outputs is the first that can be one.
    pub fn resolve(
        signature: &Signature,
        output: Option<&str>,
        asked: Option<&DataType>,
    ) -> Result<Self, Error> {
        let outputs = &signature.outputs;
        let chosen = match output {
            Some(name) => vec![find_output(signature, name)?],
            None => (0..outputs.len()).collect(),
        };
        match (chosen.as_slice(), asked) {
            ([], _) => Err(invalid("the model has no outputs", "export it with one")),
            ([only], None) => Ok(natural(outputs, *only)),
            (_, None) => {
                let named =
                    |place: &usize| (outputs[*place].name.clone(), natural(outputs, *place));
                Ok(Self::Struct(chosen.iter().map(named).collect()))
            }
            ([only], Some(asked)) => one(outputs, *only, asked),
            (_, Some(DataType::Struct(fields))) => several(outputs, fields),
            (_, Some(asked)) => first_fit(outputs, asked),
        }
    }

    /// What `name` in brackets means: a field of the value, else an output of the model.
    pub fn access(&self, signature: &Signature, name: &str) -> Result<Access, Error> {
        if let Self::Struct(fields) = self {
            let field = |same: &dyn Fn(&str) -> bool| fields.iter().find(|(own, _)| same(own));
            let found =
                field(&|own| own == name).or_else(|| field(&|own| own.eq_ignore_ascii_case(name)));
            if let Some((_, value)) = found {
                return Ok(Access::Part(value.clone()));
            }
        }
        let inside = match self.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| field.name() == name),
            DataType::Map(..) => true,
            _ => false,
        };
        if inside {
            return Ok(Access::Inside);
        }
        let place = find_output(signature, name)?;
        Ok(Access::Part(natural(&signature.outputs, place)))
    }
}

fn natural(outputs: &[OutputSpec], output: usize) -> Value {
    Value::Output {
        output,
        data_type: outputs[output].data_type(),
    }
}

fn one(outputs: &[OutputSpec], output: usize, asked: &DataType) -> Result<Value, Error> {
    if let DataType::Struct(fields) = asked
        && let [field] = fields.as_ref()
        && fits(&outputs[output], asked).is_err()
    {
        let value = one(outputs, output, field.data_type())?;
        return Ok(Value::Struct(vec![(field.name().clone(), value)]));
    }
    // Notebooks of Spark say ARRAY<FLOAT> of every model: the one value of a row comes as a list of one.
    match asked {
        DataType::List(item) if outputs[output].row().is_empty() && is_scalar(item.data_type()) => {
            scalar(&outputs[output], item.data_type())?;
        }
        _ => fits(&outputs[output], asked)?,
    }
    Ok(Value::Output {
        output,
        data_type: asked.clone(),
    })
}

/// The fields go by the outputs' names; where those are other names, by their order.
fn several(outputs: &[OutputSpec], fields: &Fields) -> Result<Value, Error> {
    let named = |name: &str| {
        let place = |same: &dyn Fn(&OutputSpec) -> bool| outputs.iter().position(same);
        place(&|output| output.name == name)
            .or_else(|| place(&|output| output.name.eq_ignore_ascii_case(name)))
    };
    let found: Vec<Option<usize>> = fields.iter().map(|field| named(field.name())).collect();
    let by_name: Option<Vec<usize>> = found.iter().copied().collect();
    let in_order = || {
        let in_place = |(place, found): (usize, &Option<usize>)| found.is_none_or(|at| at == place);
        let fits = fields.len() == outputs.len() && found.iter().enumerate().all(in_place);
        fits.then(|| (0..outputs.len()).collect())
    };
    let Some(order) = by_name.or_else(in_order) else {
        let asked: Vec<_> = fields
            .iter()
            .map(|field| format!("'{}'", field.name()))
            .collect();
        let known: Vec<_> = outputs
            .iter()
            .map(|output| format!("'{}'", output.name))
            .collect();
        let what = format!(
            "the model has the outputs {}, and {} asked for",
            known.join(", "),
            match asked.as_slice() {
                [only] => format!("{only} is"),
                several => format!("{} are", several.join(", ")),
            }
        );
        return Err(invalid(
            what,
            "name the fields as the outputs, or give as many as there are outputs, in their order",
        ));
    };
    let value = |(field, output): (&arrow::datatypes::FieldRef, usize)| {
        Ok((
            field.name().clone(),
            one(outputs, output, field.data_type())?,
        ))
    };
    let values = fields.iter().zip(order).map(value);
    Ok(Value::Struct(values.collect::<Result<_, Error>>()?))
}

/// One value of a model with several outputs: the first output of the kind that is asked for.
fn first_fit(outputs: &[OutputSpec], asked: &DataType) -> Result<Value, Error> {
    let same_kind = |output: &OutputSpec| match asked {
        DataType::List(_) => !output.row().is_empty(),
        DataType::Map(..) => output.names != RowNames::None,
        _ => output.row().is_empty(),
    };
    match outputs.iter().position(same_kind) {
        Some(output) => one(outputs, output, asked),
        None => {
            let known: Vec<_> = outputs.iter().map(shown).collect();
            let what = format!(
                "none of the model's outputs can be returned as {}",
                returns_name(asked)?
            );
            Err(invalid(
                what,
                format!("its outputs are {}", known.join(", ")),
            ))
        }
    }
}

/// `'label' BIGINT`.
fn shown(output: &OutputSpec) -> String {
    let data_type = output.data_type();
    let name = returns_name(&data_type).unwrap_or_else(|_| data_type.to_string());
    format!("'{}' {name}", output.name)
}

/// Whether the output can be returned as `asked`, or why not.
fn fits(output: &OutputSpec, asked: &DataType) -> Result<(), Error> {
    let own = || shown(output);
    let leave_out = "leave the return type out, or say one like it";
    let refused = |hint: &str| {
        let name = returns_name(asked)?;
        Err(invalid(
            format!("output {} cannot be returned as {name}", own()),
            hint,
        ))
    };
    match (output.row(), asked) {
        ([] | [-1], asked) if is_scalar(asked) => scalar(output, asked),
        ([_], asked) if is_scalar(asked) => refused(
            "say ARRAY<type> for all values of a row, or a STRUCT with a name for each, and take one in the query",
        ),
        ([_], DataType::List(item)) if is_scalar(item.data_type()) => {
            scalar(output, item.data_type())
        }
        ([_], DataType::Struct(fields)) => {
            lanes(output, fields)?;
            fields
                .iter()
                .try_for_each(|field| scalar(output, field.data_type()))
        }
        ([_], DataType::Map(entries, _)) => match (entry_types(entries), output.names.texts()) {
            (Some([key, value]), Some(_)) if *key == DataType::Utf8 => scalar(output, value),
            (Some([DataType::Int64, value]), Some(_))
                if matches!(output.names, RowNames::IntClasses(_)) =>
            {
                scalar(output, value)
            }
            _ => refused(leave_out),
        },
        (row @ [_, _, ..], DataType::List(_)) => {
            let (mut item, mut depth) = (asked, 0);
            while let DataType::List(inner) = item {
                (item, depth) = (inner.data_type(), depth + 1);
            }
            match depth == row.len() && is_scalar(item) {
                true => scalar(output, item),
                false => refused(leave_out),
            }
        }
        _ => refused(leave_out),
    }
}

fn is_scalar(data_type: &DataType) -> bool {
    !data_type.is_nested()
}

/// Whether the output's elements can become `asked`.
fn scalar(output: &OutputSpec, asked: &DataType) -> Result<(), Error> {
    let hint = match (output.element, asked) {
        (ElementType::String, DataType::Utf8) => return Ok(()),
        (ElementType::String, _) => "leave the return type out, or say STRING",
        (ElementType::Bool, DataType::Decimal128(..)) => "say BOOLEAN or INT",
        _ if is_scalar(asked) => return Ok(()),
        _ => "leave the return type out, or say one like it",
    };
    let what = format!(
        "output '{}' is {}, which cannot be returned as {}",
        output.name,
        match output.element {
            ElementType::String => "text".to_owned(),
            other => other.to_string(),
        },
        returns_name(asked)?
    );
    Err(invalid(what, hint))
}

/// Which value of a row each field of a struct is: by the values' names, else in their order.
pub fn lanes(output: &OutputSpec, fields: &Fields) -> Result<Vec<usize>, Error> {
    let names = output.names.texts();
    let by_name = names.as_ref().and_then(|names| {
        let place = |asked: &str| {
            let find = |same: &dyn Fn(&str) -> bool| names.iter().position(|name| same(name));
            find(&|name| name == asked).or_else(|| find(&|name| name.eq_ignore_ascii_case(asked)))
        };
        fields
            .iter()
            .map(|field| place(field.name()))
            .collect::<Option<Vec<_>>>()
    });
    if let Some(order) = by_name {
        return Ok(order);
    }
    let count = output.row().first().copied().unwrap_or(1);
    if count < 0 || usize::try_from(count) == Ok(fields.len()) {
        return Ok((0..fields.len()).collect());
    }
    let what = format!(
        "a row of output '{}' has {count} values, and the struct has {} fields",
        output.name,
        fields.len()
    );
    let hint = match names {
        Some(names) => format!(
            "give each a field, or name those that you want of: {}",
            names.join(", ")
        ),
        None => "give each a field, in their order".to_owned(),
    };
    Err(invalid(what, hint))
}

fn invalid(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::parse_returns;

    fn output(name: &str, element: ElementType, shape: &[i64], names: RowNames) -> OutputSpec {
        OutputSpec {
            name: name.to_owned(),
            element,
            shape: shape.to_vec(),
            names,
        }
    }

    fn classifier() -> Signature {
        let classes = RowNames::TextClasses(vec!["cheap".to_owned(), "dear".to_owned()]);
        Signature {
            inputs: Vec::new(),
            outputs: vec![
                output("label", ElementType::String, &[-1], RowNames::None),
                output("probabilities", ElementType::Float32, &[-1, 2], classes),
                output("margin", ElementType::Float32, &[-1, 1], RowNames::None),
                output("leaves", ElementType::Int64, &[-1, 3], RowNames::None),
            ],
        }
    }

    fn resolve(chosen: Option<&str>, asked: &str) -> Result<(Vec<usize>, String), String> {
        let asked = (!asked.is_empty()).then(|| parse_returns(asked).unwrap());
        let value = Value::resolve(&classifier(), chosen, asked.as_ref())
            .map_err(|error| error.to_string())?;
        if let Some(asked) = asked {
            assert_eq!(value.data_type(), asked);
        }
        Ok((value.outputs(), returns_name(&value.data_type()).unwrap()))
    }

    #[test]
    fn a_value_is_made_of_the_outputs_that_its_type_asks_for() {
        let all = "STRUCT<label: STRING, probabilities: MAP<STRING, FLOAT>, margin: FLOAT, leaves: ARRAY<BIGINT>>";
        for (chosen, asked, outputs, wanted) in [
            (None, "", &[0, 1, 2, 3][..], all),
            (Some("Margin"), "", &[2], "FLOAT"),
            (Some("margin"), "int", &[2], "INT"),
            (Some("margin"), "array<float>", &[2], "ARRAY<FLOAT>"),
            (Some("margin"), "(score real)", &[2], "STRUCT<score: FLOAT>"),
            (Some("probabilities"), "", &[1], "MAP<STRING, FLOAT>"),
            (
                Some("probabilities"),
                "map<string,double>",
                &[1],
                "MAP<STRING, DOUBLE>",
            ),
            (Some("probabilities"), "array<float>", &[1], "ARRAY<FLOAT>"),
            (
                Some("probabilities"),
                "struct<dear:double>",
                &[1],
                "STRUCT<dear: DOUBLE>",
            ),
            (
                Some("probabilities"),
                "struct<no:float,yes:float>",
                &[1],
                "STRUCT<no: FLOAT, yes: FLOAT>",
            ),
            (
                Some("probabilities"),
                "(p array<float>)",
                &[1],
                "STRUCT<p: ARRAY<FLOAT>>",
            ),
            (None, "string", &[0], "STRING"),
            (None, "array<double>", &[1], "ARRAY<DOUBLE>"),
            (None, "map<string,float>", &[1], "MAP<STRING, FLOAT>"),
            (
                None,
                "(margin real, label nvarchar(9))",
                &[2, 0],
                "STRUCT<margin: FLOAT, label: STRING>",
            ),
            (
                None,
                "struct<a:string, b:array<float>, margin:double, c:array<int>>",
                &[0, 1, 2, 3],
                "STRUCT<a: STRING, b: ARRAY<FLOAT>, margin: DOUBLE, c: ARRAY<INT>>",
            ),
        ] {
            assert_eq!(
                resolve(chosen, asked),
                Ok((outputs.to_vec(), wanted.to_owned())),
                "{asked}"
            );
        }
    }

    #[test]
    fn what_no_output_can_be_returned_as_is_refused() {
        for (chosen, asked, wanted) in [
            (
                Some("probability"),
                "",
                "the model has no output 'probability'; did you mean 'probabilities'? its outputs are 'label', \
                 'probabilities', 'margin', 'leaves'",
            ),
            (
                None,
                "int",
                "output 'label' is text, which cannot be returned as INT; leave the return type out, or say STRING",
            ),
            (
                Some("leaves"),
                "bigint",
                "output 'leaves' ARRAY<BIGINT> cannot be returned as BIGINT; say ARRAY<type> for all values of a row, \
                 or a STRUCT with a name for each, and take one in the query",
            ),
            (
                Some("leaves"),
                "struct<a:int,b:int>",
                "a row of output 'leaves' has 3 values, and the struct has 2 fields; give each a field, in their order",
            ),
            (
                Some("probabilities"),
                "struct<a:float,b:float,c:float>",
                "a row of output 'probabilities' has 2 values, and the struct has 3 fields; give each a field, or name \
                 those that you want of: cheap, dear",
            ),
            (
                Some("leaves"),
                "map<bigint,float>",
                "output 'leaves' ARRAY<BIGINT> cannot be returned as MAP<BIGINT, FLOAT>; leave the return type out, or \
                 say one like it",
            ),
            (
                Some("margin"),
                "array<array<float>>",
                "output 'margin' FLOAT cannot be returned as ARRAY<ARRAY<FLOAT>>; leave the return type out, or say one like \
                 it",
            ),
            (
                None,
                "(score real, label bigint)",
                "the model has the outputs 'label', 'probabilities', 'margin', 'leaves', and 'score', 'label' are asked \
                 for; name the fields as the outputs, or give as many as there are outputs, in their order",
            ),
        ] {
            assert_eq!(resolve(chosen, asked), Err(wanted.to_owned()));
        }
    }

    #[test]
    fn a_name_in_brackets_is_a_field_then_an_output() {
        let signature = classifier();
        let access = |asked: &str, name: &str| {
            let asked = parse_returns(asked).unwrap();
            let value = Value::resolve(&signature, None, Some(&asked)).unwrap();
            value.access(&signature, name)
        };
        let part = |output, data_type: &str| {
            Ok(Access::Part(Value::Output {
                output,
                data_type: parse_returns(data_type).unwrap(),
            }))
        };
        let renamed = "struct<a:string, b:array<float>, margin:double, c:array<int>>";
        assert_eq!(access(renamed, "b"), part(1, "array<float>"));
        assert_eq!(access(renamed, "Margin"), part(2, "double"));
        assert_eq!(access(renamed, "leaves"), part(3, "array<bigint>"));
        assert_eq!(access("string", "margin"), part(2, "float"));
        assert_eq!(access("map<string,float>", "dear"), Ok(Access::Inside));
        let error = access("string", "leafs").unwrap_err().to_string();
        assert!(
            error.contains("no output 'leafs'; did you mean 'leaves'?"),
            "{error}"
        );
    }
}
