//! What a user says about a binding beyond model, type and columns: `--option key=value` of the command line and
//! `OPTIONS (key 'value')` of CREATE MODEL are read here, and nowhere else.

use std::collections::BTreeMap;

use arrow::datatypes::TimeUnit;
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::{GivenValue, InputElement};
use crate::mapping::nearest;
use crate::signature::{OutputSpec, RowNames, Signature};

/// The keys, and what each is for.
const KEYS: [(&str, &str); 5] = [
    ("output", "the one output that PREDICT returns"),
    (
        "by_position",
        "true feeds columns in their order, whatever they are called",
    ),
    ("datetime", "the unit that dates and timestamps are fed in"),
    (
        "default.INPUT",
        "what feeds an input whose column is absent or NULL",
    ),
    (
        "names.OUTPUT",
        "the names of an output's values, between commas: it is returned as a struct",
    ),
];

/// The unit since 1970-01-01 in which dates and timestamps feed numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DateUnit {
    Days,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl DateUnit {
    const ALL: [Self; 5] = [
        Self::Days,
        Self::Seconds,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Nanoseconds,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// The unit of a timestamp; none for days, which are dates.
    pub fn time(self) -> Option<TimeUnit> {
        match self {
            Self::Days => None,
            Self::Seconds => Some(TimeUnit::Second),
            Self::Milliseconds => Some(TimeUnit::Millisecond),
            Self::Microseconds => Some(TimeUnit::Microsecond),
            Self::Nanoseconds => Some(TimeUnit::Nanosecond),
        }
    }
}

/// The options of a binding, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BindOptions {
    /// The name of the one output that PREDICT returns.
    pub output: Option<String>,
    /// Columns feed in their order, and their names do not matter.
    pub by_position: bool,
    /// The unit in which dates and timestamps feed numbers.
    pub datetime: Option<DateUnit>,
    /// By input: what feeds it where its column is absent or NULL.
    pub defaults: BTreeMap<String, String>,
    /// By output: the names of a row's values.
    pub names: BTreeMap<String, Vec<String>>,
}

impl BindOptions {
    /// Understands the pairs, as they were written; an unknown key is refused with the nearest.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Error> {
        let mut options = Self::default();
        for (place, (key, value)) in pairs.iter().enumerate() {
            let taken = pairs[..place]
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(key));
            if taken {
                return Err(invalid(
                    format!("option '{key}' is given twice"),
                    "give it once",
                ));
            }
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match (key.to_ascii_lowercase().as_str(), key.split_once('.')) {
            ("output", _) => self.output = Some(filled(key, value)?.to_owned()),
            ("by_position", _) => self.by_position = flag(key, value)?,
            ("datetime", _) => self.datetime = Some(unit(value)?),
            (_, Some((group, input))) if group.eq_ignore_ascii_case("default") => {
                self.defaults
                    .insert(filled(key, input)?.to_owned(), value.to_owned());
            }
            (_, Some((group, output))) if group.eq_ignore_ascii_case("names") => {
                let names = names(key, value)?;
                self.names.insert(filled(key, output)?.to_owned(), names);
            }
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    /// The pairs that [`BindOptions::parse`] understands as these options.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let Self {
            output,
            by_position,
            datetime,
            defaults,
            names,
        } = self;
        let mut pairs = Vec::new();
        let mut push = |key: String, value: String| pairs.push((key, value));
        if let Some(output) = output {
            push("output".to_owned(), output.clone());
        }
        if *by_position {
            push("by_position".to_owned(), "true".to_owned());
        }
        if let Some(unit) = datetime {
            push("datetime".to_owned(), unit.name().to_owned());
        }
        for (input, value) in defaults {
            push(format!("default.{input}"), value.clone());
        }
        for (output, names) in names {
            push(format!("names.{output}"), names.join(","));
        }
        pairs
    }

    /// Puts what the options say of inputs and outputs where it belongs, and refuses what fits none of them. Names are
    /// spelt as the model spells them from then on.
    pub fn apply(
        &mut self,
        signature: &mut Signature,
        elements: &mut [InputElement],
    ) -> Result<(), Error> {
        if let Some(name) = &self.output {
            let place = find_output(signature, name)?;
            self.output = Some(signature.outputs[place].name.clone());
        }
        for (name, names) in &self.names {
            let place = find_output(signature, name)?;
            name_values(&mut signature.outputs[place], names)?;
        }
        for (name, text) in &self.defaults {
            let element = find_element(elements, name)?;
            element.default = Some(GivenValue::parse(text, element)?);
        }
        Ok(())
    }
}

/// The output called `name`, in the model's case or another.
pub(crate) fn find_output(signature: &Signature, name: &str) -> Result<usize, Error> {
    let place = |same: &dyn Fn(&OutputSpec) -> bool| signature.outputs.iter().position(same);
    place(&|output| output.name == name)
        .or_else(|| place(&|output| output.name.eq_ignore_ascii_case(name)))
        .ok_or_else(|| {
            let known = signature.outputs.iter().map(|output| output.name.as_str());
            let all: Vec<_> = known.clone().map(|name| format!("'{name}'")).collect();
            let hint = match nearest(name, known) {
                Some(near) => format!("did you mean '{near}'? its outputs are {}", all.join(", ")),
                None => format!("its outputs are {}", all.join(", ")),
            };
            invalid(format!("the model has no output '{name}'"), hint)
        })
}

fn find_element<'a>(
    elements: &'a mut [InputElement],
    name: &str,
) -> Result<&'a mut InputElement, Error> {
    let place = |same: &dyn Fn(&InputElement) -> bool| {
        elements
            .iter()
            .position(|element| element.named && same(element))
    };
    let place = place(&|element| element.name == name)
        .or_else(|| place(&|element| element.name.eq_ignore_ascii_case(name)));
    match place {
        Some(place) => Ok(&mut elements[place]),
        None => {
            let known = elements
                .iter()
                .filter(|element| element.named)
                .map(|element| element.name.as_str());
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean '{near}'?"),
                None if known.clone().next().is_none() => "its inputs have no names".to_owned(),
                None => format!("its inputs are {}", known.collect::<Vec<_>>().join(", ")),
            };
            Err(invalid(
                format!("option 'default.{name}': the model has no input '{name}'"),
                hint,
            ))
        }
    }
}

fn name_values(output: &mut OutputSpec, names: &[String]) -> Result<(), Error> {
    let wanted = match output.row() {
        [size] => *size,
        [] => 1,
        _ => 0,
    };
    if wanted < 0 || usize::try_from(wanted) == Ok(names.len()) {
        if output.row().is_empty() {
            return Err(invalid(
                format!(
                    "option 'names.{}': the output has one value per row",
                    output.name
                ),
                "its value needs no names: leave the option out",
            ));
        }
        output.names = RowNames::Fields(names.to_vec());
        return Ok(());
    }
    Err(invalid(
        format!(
            "option 'names.{}' has {} names, and a row of the output has {} values",
            output.name,
            names.len(),
            output
                .row()
                .iter()
                .map(i64::to_string)
                .collect::<Vec<_>>()
                .join(" x ")
        ),
        "give one name per value",
    ))
}

fn invalid(what: String, hint: impl Into<String>) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

fn unknown(key: &str) -> Error {
    let known = KEYS.iter().map(|(key, _)| *key);
    let hint = match nearest(key, known.clone()) {
        Some(near) => {
            let what = KEYS
                .iter()
                .find(|(key, _)| *key == near)
                .map_or("", |(_, what)| what);
            format!("did you mean {near}: {what}?")
        }
        None => format!("the options are {}", known.collect::<Vec<_>>().join(", ")),
    };
    invalid(format!("'{key}' is not an option of a model"), hint)
}

fn filled<'a>(key: &str, value: &'a str) -> Result<&'a str, Error> {
    let value = value.trim();
    if value.is_empty() {
        return Err(invalid(
            format!("option '{key}' is empty"),
            "give it a name, or leave it out",
        ));
    }
    Ok(value)
}

fn flag(key: &str, value: &str) -> Result<bool, Error> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(invalid(
            format!("option '{key}' cannot be '{value}'"),
            "say true or false",
        )),
    }
}

fn unit(value: &str) -> Result<DateUnit, Error> {
    let asked = value.trim().to_ascii_lowercase();
    let unit = DateUnit::ALL
        .into_iter()
        .find(|unit| unit.name() == asked || unit.name().strip_suffix('s') == Some(&asked));
    unit.ok_or_else(|| {
        let all = DateUnit::ALL.map(DateUnit::name).join(", ");
        invalid(
            format!("option 'datetime' cannot be '{value}'"),
            format!("say one of {all}"),
        )
    })
}

fn names(key: &str, value: &str) -> Result<Vec<String>, Error> {
    let names: Vec<String> = value
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    for (place, name) in names.iter().enumerate() {
        if name.is_empty() || names[..place].contains(name) {
            let what = format!("option '{key}' has an empty name, or one twice: '{value}'");
            return Err(invalid(what, "write different names between commas"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::ElementType;
    use crate::testing;

    fn parse(pairs: &[(&str, &str)]) -> Result<BindOptions, Error> {
        let owned: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        BindOptions::parse(&owned)
    }

    #[test]
    fn options_are_read_in_any_case_and_come_back_the_same() {
        let pairs = [
            ("OUTPUT", "probabilities"),
            ("By_Position", "YES"),
            ("datetime", "Second"),
            ("default.age", "18"),
            ("names.probabilities", "no, yes"),
        ];
        let options = parse(&pairs).unwrap();
        assert_eq!(options.output.as_deref(), Some("probabilities"));
        assert_eq!(options.datetime, Some(DateUnit::Seconds));
        assert!(options.by_position);
        assert_eq!(BindOptions::parse(&options.pairs()), Ok(options));
        assert_eq!(parse(&[]), Ok(BindOptions::default()));
    }

    #[test]
    fn what_is_no_option_is_refused_with_the_nearest() {
        for (pairs, wanted) in [
            (
                &[("ouput", "x")][..],
                "'ouput' is not an option of a model; did you mean output: the one output that PREDICT returns?",
            ),
            (
                &[("threads", "2")],
                "'threads' is not an option of a model; the options are output, by_position, datetime, default.INPUT, names.OUTPUT",
            ),
            (
                &[("by_position", "maybe")],
                "option 'by_position' cannot be 'maybe'; say true or false",
            ),
            (
                &[("datetime", "weeks")],
                "option 'datetime' cannot be 'weeks'; say one of days, seconds, milliseconds, microseconds, nanoseconds",
            ),
            (
                &[("output", " ")],
                "option 'output' is empty; give it a name, or leave it out",
            ),
            (
                &[("output", "a"), ("Output", "b")],
                "option 'Output' is given twice; give it once",
            ),
            (
                &[("names.p", "a,,b")],
                "option 'names.p' has an empty name, or one twice: 'a,,b'; write different names between commas",
            ),
        ] {
            assert_eq!(parse(pairs).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn options_fit_the_model_or_are_refused() {
        let apply = |pairs: &[(&str, &str)]| {
            let mut binding = testing::binding("m", &["age", "zone"], ElementType::Int64).unwrap();
            binding.signature.outputs[0].shape = vec![-1, 2];
            let mut options = parse(pairs).unwrap();
            let applied = options.apply(&mut binding.signature, &mut binding.elements);
            applied
                .map(|()| (options, binding))
                .map_err(|error| error.to_string())
        };
        let (options, binding) = apply(&[
            ("output", "VARIABLE"),
            ("default.Age", "18"),
            ("names.variable", "lo,hi"),
        ])
        .unwrap();
        assert_eq!(options.output.as_deref(), Some("variable"));
        assert_eq!(binding.elements[0].default.as_ref().unwrap().text(), "18");
        let RowNames::Fields(names) = &binding.signature.outputs[0].names else {
            panic!("{:?}", binding.signature.outputs);
        };
        assert_eq!(names, &["lo", "hi"]);
        for (pairs, wanted) in [
            (
                &[("output", "varable")][..],
                "the model has no output 'varable'; did you mean 'variable'? its outputs are 'variable'",
            ),
            (
                &[("default.agee", "1")],
                "option 'default.agee': the model has no input 'agee'; did you mean 'age'?",
            ),
            (
                &[("default.age", "old")],
                "the default 'old' of input 'age' is not int64; write a value of that type",
            ),
            (
                &[("names.variable", "a,b,c")],
                "option 'names.variable' has 3 names, and a row of the output has 2 values; give one name per value",
            ),
        ] {
            assert_eq!(apply(pairs).unwrap_err(), wanted);
        }
    }
}
