//! What a check has to tell, as rows. Pure: the sample, its scores and what executors reported are handed in.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use whimbrel_predict::binding::{Binding, InputElement};
use whimbrel_predict::mapping::{Argument, Cast, Mapping, Source, type_name};
use whimbrel_predict::signature::ElementType;
use whimbrel_predict::types::returns_name;
use whimbrel_proto::v1::LoadedModel;
use whimbrel_proto::{Error, ErrorCode};

/// What is reported of.
pub(super) struct Facts<'a> {
    pub(super) binding: &'a Binding,
    pub(super) table: &'a str,
    pub(super) args: &'a [Argument],
    pub(super) mapping: &'a Mapping,
    /// The sample, a column per argument.
    pub(super) columns: &'a [ArrayRef],
    pub(super) value: &'a ArrayRef,
    /// Rows scored, and microseconds taken, before the sample.
    pub(super) before: (u64, u64),
    pub(super) holders: &'a [Holder],
}

/// An executor with the model in memory.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) executor_id: String,
    pub(super) model: LoadedModel,
}

/// One row: what it is about, its name, its value, and what there is to say.
struct Line {
    part: &'static str,
    name: String,
    value: String,
    remark: Option<String>,
}

pub(super) fn schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("part", false),
        text("name", false),
        text("value", false),
        text("remark", true),
    ]))
}

/// The report.
pub(super) fn report(facts: &Facts<'_>) -> Result<RecordBatch, Error> {
    let mut report = Report::default();
    report.sample(facts);
    let own = &facts.binding.elements;
    let elements = facts.mapping.elements.as_ref().unwrap_or(own);
    for (element, source) in elements.iter().zip(&facts.mapping.sources) {
        report.input(facts, element, source)?;
    }
    report.output(facts)?;
    report.model(facts.binding);
    report.speed(facts);
    report.warn_of_all(facts);
    report.into_rows()
}

#[derive(Default)]
struct Report {
    lines: Vec<Line>,
    warnings: Vec<String>,
}

impl Report {
    fn say(&mut self, part: &'static str, name: &str, value: String, remark: Option<String>) {
        self.lines.push(Line {
            part,
            name: name.to_owned(),
            value,
            remark,
        });
    }

    fn sample(&mut self, facts: &Facts<'_>) {
        let rows = facts.value.len();
        let remark = Some(format!("of table {}", facts.table));
        self.say("sample", "rows", rows.to_string(), remark);
        if rows == 0 {
            self.warnings
                .push("the table has no rows: only names and types are checked".to_owned());
        }
    }

    fn input(
        &mut self,
        facts: &Facts<'_>,
        element: &InputElement,
        source: &Source,
    ) -> Result<(), Error> {
        let (place, way) = match source {
            Source::Argument { place, way } => (*place, way),
            Source::Absent(value) => {
                let remark = "the table lacks the column, which the signature calls optional";
                self.say(
                    "input",
                    &element.name,
                    format!("← {value}"),
                    Some(remark.to_owned()),
                );
                return Ok(());
            }
        };
        let (arg, column) = (&facts.args[place], &facts.columns[place]);
        let from = type_name(&arg.data_type);
        let value = match way.cast {
            Cast::Same => format!("← {} {from}", arg.shown),
            Cast::Lossless | Cast::Lossy | Cast::Checked | Cast::Text | Cast::Since(_) => {
                format!("← {} {from} as {}", arg.shown, element.wants())
            }
        };
        let mut remarks = Vec::new();
        match way.cast {
            Cast::Same | Cast::Lossless => remarks.push("loses nothing".to_owned()),
            Cast::Text | Cast::Since(_) => remarks.extend(source.remark(facts.args, element)),
            Cast::Lossy if !element.shape.is_empty() => {
                remarks.push("the lists' values may lose digits".to_owned());
            }
            Cast::Lossy => {
                let changed = changed(column, element.element)?;
                remarks.push(match changed {
                    0 => "may lose digits; in the sample it loses none".to_owned(),
                    _ => format!("loses digits in {changed} of {} values", column.len()),
                });
                if changed > 0 {
                    self.warnings.push(format!(
                        "{changed} of {} values of {} lose digits as {}",
                        column.len(),
                        arg.shown,
                        element.element
                    ));
                }
            }
            Cast::Checked => {
                remarks
                    .push("a value that does not fit fails the query; the sample fits".to_owned());
            }
        }
        let nulls = column.logical_null_count();
        let is_float = matches!(element.element, ElementType::Float32 | ElementType::Float64);
        if let Some(default) = &element.default
            && nulls > 0
        {
            remarks.push(format!("{nulls} NULLs become {}", default.text()));
        } else if nulls > 0 && is_float {
            remarks.push(format!("{nulls} NULLs become NaN"));
            self.warnings
                .push(format!("{nulls} NULLs of {} become NaN", arg.shown));
        }
        self.say("input", &element.name, value, Some(remarks.join("; ")));
        Ok(())
    }

    fn output(&mut self, facts: &Facts<'_>) -> Result<(), Error> {
        let returns = returns_name(&facts.binding.returns)?;
        let (nulls, nans) = (facts.value.logical_null_count(), nans(facts.value));
        let remark = match (nulls, nans) {
            (0, 0) => None,
            _ => Some(format!("{nulls} NULLs and {nans} NaNs in the sample")),
        };
        if nans > 0 {
            self.warnings.push(format!(
                "{nans} of {} predictions are NaN",
                facts.value.len()
            ));
        }
        self.say("value", "PREDICT", returns, remark);
        for output in &facts.binding.signature.outputs {
            self.say("output", &output.name, output.element.to_string(), None);
        }
        Ok(())
    }

    fn model(&mut self, binding: &Binding) {
        let size = format!("{} bytes", binding.size_bytes);
        self.say("model", "digest", binding.digest.to_string(), Some(size));
        self.say("model", "uri", binding.uri.clone(), None);
        self.say("model", "runtime", binding.runtime.to_string(), None);
        for (library, version) in &binding.recorded {
            let remark = Some("recorded with the model".to_owned());
            self.say("made with", library, version.clone(), remark);
        }
    }

    fn speed(&mut self, facts: &Facts<'_>) {
        let models = facts.holders.iter().map(|holder| &holder.model);
        let (rows, micros) = models.fold((0, 0), |(rows, micros), model| {
            (rows + model.rows_scored, micros + model.score_micros)
        });
        let rows = rows.saturating_sub(facts.before.0);
        let micros = micros.saturating_sub(facts.before.1);
        if rows > 0 && micros > 0 {
            let speed = rows.saturating_mul(1_000_000) / micros;
            let remark = format!(
                "on one scoring thread, over {rows} rows; larger samples are measured better"
            );
            self.say("speed", "rows/s", speed.to_string(), Some(remark));
        }
        for Holder { executor_id, model } in facts.holders {
            let times = if model.loads == 1 {
                "once"
            } else {
                "several times"
            };
            let remark = format!("executor {executor_id}, loaded {times}");
            self.say(
                "memory",
                "bytes",
                model.held_bytes.to_string(),
                Some(remark),
            );
        }
    }

    fn warn_of_all(&mut self, facts: &Facts<'_>) {
        if facts.mapping.by_position {
            self.warnings.push(
                "columns feed the inputs by position: no name says that they are the right ones"
                    .to_owned(),
            );
        }
        self.warnings.extend(facts.binding.notes.iter().cloned());
        for warning in std::mem::take(&mut self.warnings) {
            self.say("warning", "", warning, None);
        }
    }

    fn into_rows(self) -> Result<RecordBatch, Error> {
        let column = |of: fn(&Line) -> Option<&str>| -> ArrayRef {
            Arc::new(self.lines.iter().map(of).collect::<StringArray>())
        };
        let columns = vec![
            column(|line| Some(line.part)),
            column(|line| Some(&line.name)),
            column(|line| Some(&line.value)),
            column(|line| line.remark.as_deref()),
        ];
        RecordBatch::try_new(schema(), columns)
            .map_err(|error| Error::new(ErrorCode::Bug, format!("cannot report: {error}")))
    }
}

/// How many values are others once they are of the input's type.
fn changed(column: &ArrayRef, element: ElementType) -> Result<usize, Error> {
    let bug = |error| Error::new(ErrorCode::Bug, format!("cannot compare a cast: {error}"));
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let fed = cast_with_options(column, &element.arrow(), &options).map_err(bug)?;
    let back = cast_with_options(&fed, column.data_type(), &options).map_err(bug)?;
    let same = not_distinct(column, &back).map_err(bug)?;
    Ok(same.len() - same.true_count())
}

fn nans(value: &ArrayRef) -> usize {
    match value.data_type() {
        DataType::Float32 => {
            let values = value.as_primitive::<Float32Type>().iter();
            values.flatten().filter(|value| value.is_nan()).count()
        }
        DataType::Float64 => {
            let values = value.as_primitive::<Float64Type>().iter();
            values.flatten().filter(|value| value.is_nan()).count()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array};
    use whimbrel_predict::mapping::{Form, map};
    use whimbrel_predict::testing;

    use super::*;

    fn argument(name: &str, data_type: DataType) -> Argument {
        Argument {
            name: Some(name.to_owned()),
            shown: format!("trips.{name}"),
            data_type,
        }
    }

    fn holder(rows_scored: u64, score_micros: u64) -> Holder {
        Holder {
            executor_id: "e1".to_owned(),
            model: LoadedModel {
                loads: 1,
                rows_scored,
                score_micros,
                held_bytes: 4096,
                ..LoadedModel::default()
            },
        }
    }

    fn lines(report: &RecordBatch) -> Vec<String> {
        let columns: Vec<&StringArray> = report
            .columns()
            .iter()
            .map(|column| column.as_string::<i32>())
            .collect();
        let line = |row| {
            let texts = columns.iter().map(|column| column.value(row));
            texts.collect::<Vec<_>>().join(" | ")
        };
        (0..report.num_rows()).map(line).collect()
    }

    #[test]
    fn a_report_says_what_feeds_what_and_warns_of_all_that_deserves_a_look() {
        let mut binding = testing::binding("tip", &["a", "b"], ElementType::Float32).unwrap();
        binding.recorded = vec![("mlflow".to_owned(), "3.17.2".to_owned())];
        binding.notes = vec!["a note".to_owned()];
        let args = [
            argument("x", DataType::Float64),
            argument("y", DataType::Int64),
        ];
        let mapping = map(&binding, &args, Form::Star).unwrap();
        let columns: [ArrayRef; 2] = [
            Arc::new(Float64Array::from(vec![Some(0.1), Some(0.5), None])),
            Arc::new(Int64Array::from(vec![1, 2, 3])),
        ];
        let value: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 2.0, f32::NAN]));
        let facts = Facts {
            binding: &binding,
            table: "trips",
            args: &args,
            mapping: &mapping,
            columns: &columns,
            value: &value,
            before: (10, 500),
            holders: &[holder(13, 503)],
        };
        let report = report(&facts).unwrap();
        let want = [
            "sample | rows | 3 | of table trips".to_owned(),
            "input | a | ← trips.x float64 as float32 | loses digits in 1 of 3 values; 1 NULLs become NaN".to_owned(),
            "input | b | ← trips.y int64 as float32 | may lose digits; in the sample it loses none".to_owned(),
            "value | PREDICT | FLOAT | 0 NULLs and 1 NaNs in the sample".to_owned(),
            "output | variable | float32 | ".to_owned(),
            format!("model | digest | {} | 1 bytes", "ab".repeat(32)),
            "model | uri | file:///models/tip.onnx | ".to_owned(),
            "model | runtime | ort | ".to_owned(),
            "made with | mlflow | 3.17.2 | recorded with the model".to_owned(),
            "speed | rows/s | 1000000 | on one scoring thread, over 3 rows; larger samples are measured better".to_owned(),
            "memory | bytes | 4096 | executor e1, loaded once".to_owned(),
            "warning |  | 1 of 3 values of trips.x lose digits as float32 | ".to_owned(),
            "warning |  | 1 NULLs of trips.x become NaN | ".to_owned(),
            "warning |  | 1 of 3 predictions are NaN | ".to_owned(),
            "warning |  | columns feed the inputs by position: no name says that they are the right ones | ".to_owned(),
            "warning |  | a note | ".to_owned(),
        ];
        assert_eq!(lines(&report), want);
    }
}
