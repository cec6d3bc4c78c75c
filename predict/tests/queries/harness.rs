//! Small tables, models that add, and the comparison of a query with its twin that adds by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};

use whimbrel_predict::binding::{Binding, BindingSource, GivenValue, InputElement, elements};
use whimbrel_predict::error::find;
use whimbrel_predict::options::DateUnit;
use whimbrel_predict::runtime::ModelHostRef;
use whimbrel_predict::signature::{ElementType, OutputSpec, RowNames};
use whimbrel_predict::sql::{explain_failure, rewrite_statement};
use whimbrel_predict::testing::{self, SumHost};
use whimbrel_predict::value::Value;

#[derive(Debug, Default)]
pub(crate) struct Bindings(BTreeMap<String, Arc<Binding>>);

impl BindingSource for Bindings {
    fn binding(&self, alias: &str) -> Option<Arc<Binding>> {
        self.0.get(alias).cloned()
    }

    fn aliases(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

impl Bindings {
    fn with(mut self, alias: &str, inputs: &[&str], element: ElementType) -> Self {
        let returns = match element {
            ElementType::Int64 => DataType::Int64,
            _ => DataType::Float64,
        };
        let binding = testing::binding(alias, inputs, element).unwrap();
        let binding = binding.with_returns(&returns).unwrap();
        self.0.insert(alias.to_owned(), Arc::new(binding));
        self
    }

    /// The same with other inputs, outputs or options: `change` makes them of a model of one float input `a`.
    fn changed(mut self, alias: &str, change: impl FnOnce(&mut Binding)) -> Self {
        let mut binding = testing::binding(alias, &["a"], ElementType::Float64).unwrap();
        change(&mut binding);
        let output = binding.options.output.clone();
        let value = Value::resolve(&binding.signature, output.as_deref(), None).unwrap();
        self.0
            .insert(alias.to_owned(), Arc::new(binding.returning(value)));
        self
    }
}

/// One `[N,2]` input without names for its columns.
fn matrix(binding: &mut Binding) {
    binding.signature.inputs[0].name = "v".to_owned();
    binding.signature.inputs[0].shape = vec![-1, 2];
    binding.elements = elements(&binding.signature, &[]).unwrap();
}

/// A label, a list of one score, and a margin.
fn three_outputs(binding: &mut Binding) {
    let output = |name: &str, element, shape: &[i64]| OutputSpec {
        name: name.to_owned(),
        element,
        shape: shape.to_vec(),
        names: RowNames::None,
    };
    binding.signature.outputs = vec![
        output("label", ElementType::Int64, &[-1]),
        output("scores", ElementType::Float64, &[-1, -1]),
        output("margin", ElementType::Float64, &[-1, 1]),
    ];
}

/// An optional integer, a float with a default for NULL, and an integer with one.
fn optional(binding: &mut Binding) {
    let element = |name: &str, element, optional, default: Option<&str>| {
        let mut input = InputElement::scalar(name, true, element, 0);
        input.optional = optional;
        input.default = default.map(|text| GivenValue::parse(text, &input).unwrap());
        input
    };
    binding.elements = vec![
        element("a", ElementType::Float64, false, Some("100")),
        element("k", ElementType::Int64, false, Some("50")),
        element("bonus", ElementType::Int64, true, Some("1000")),
    ];
}

pub(crate) struct Pool {
    pub(crate) ctx: SessionContext,
    host: Arc<SumHost>,
}

/// What a query gave, and what it cost.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) nodes: usize,
    pub(crate) scored: usize,
    pub(crate) plan: String,
}

impl Pool {
    /// `three` gives a's sum as three outputs; `matrix` adds what feeds its two columns, `ordered` does by position;
    /// `optional` adds a, k and bonus with defaults; `seconds` takes a time for a.
    /// `blind` does not use its input b. `m` adds floats a and b; `i` adds the integers k (no NULL allowed); `s` adds the number a; `xy` adds x and y.
    pub(crate) fn new() -> Self {
        Self::with(SessionConfig::new())
    }

    /// As the cluster plans: scalar subqueries become joins.
    pub(crate) fn distributed() -> Self {
        let mut config = SessionConfig::new();
        config
            .options_mut()
            .optimizer
            .enable_physical_uncorrelated_scalar_subquery = false;
        Self::with(config)
    }

    fn with(config: SessionConfig) -> Self {
        let bindings = Bindings::default()
            .with("m", &["a", "b"], ElementType::Float64)
            .with("i", &["k"], ElementType::Int64)
            .with("s", &["a"], ElementType::Float64)
            .with("xy", &["x", "y"], ElementType::Float64)
            .with("f", &["a", "b"], ElementType::Float32)
            .changed("three", three_outputs)
            .changed("matrix", matrix)
            .changed("optional", optional)
            .changed("ordered", |binding| {
                matrix(binding);
                binding.options.by_position = true;
                binding.elements[0].name = "b".to_owned();
                binding.elements[1].name = "a".to_owned();
                binding
                    .elements
                    .iter_mut()
                    .for_each(|element| element.named = true);
            })
            .changed("blind", |binding| {
                *binding = testing::binding("blind", &["a", "b"], ElementType::Float64).unwrap();
                binding.elements[1].unused = true;
            })
            .changed("seconds", |binding| {
                binding.options.datetime = Some(DateUnit::Seconds)
            });
        let host = Arc::new(SumHost::default());
        let config = config
            .with_target_partitions(2)
            .with_extension(Arc::new(ModelHostRef(Arc::clone(&host) as _)));
        let builder = SessionStateBuilder::new_with_default_features().with_config(config);
        let builder = whimbrel_predict::session::install(builder, Arc::new(bindings)).unwrap();
        let ctx = SessionContext::new_with_state(builder.build());
        ctx.register_table("t", Arc::new(t())).unwrap();
        ctx.register_table("u", Arc::new(u())).unwrap();
        Self { ctx, host }
    }

    pub(crate) async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let state = self.ctx.state();
        let dialect = state.config_options().sql_parser.dialect;
        let mut statement = state.sql_to_statement(sql, &dialect)?;
        rewrite_statement(&mut statement).map_err(whimbrel_predict::error::external)?;
        match state.statement_to_plan(statement.clone()).await {
            Ok(plan) => Ok(plan),
            Err(error) => Err(explain_failure(&statement, error)),
        }
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<Answer> {
        let plan = self.plan(sql).await?;
        let frame = self.ctx.execute_logical_plan(plan).await?;
        let physical = frame.create_physical_plan().await?;
        let plan = displayable(physical.as_ref()).indent(false).to_string();
        let before = self.host.rows.load(Ordering::Relaxed);
        let batches =
            datafusion::physical_plan::collect(Arc::clone(&physical), self.ctx.task_ctx()).await?;
        let names = physical
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let rows = pretty_format_batches(&batches)?.to_string();
        let rows = rows
            .lines()
            .skip(3)
            .filter(|line| line.starts_with('|'))
            .map(cells)
            .collect();
        Ok(Answer {
            rows,
            names,
            nodes: plan.matches("PredictExec").count(),
            scored: self.host.rows.load(Ordering::Relaxed) - before,
            plan,
        })
    }

    /// Runs `sql` and its twin without PREDICT; says what differs: rows, scoring nodes or rows scored.
    pub(crate) async fn differs(
        &self,
        sql: &str,
        twin: &str,
        nodes: Option<usize>,
        scored: usize,
    ) -> Option<String> {
        let answer = match self.run(sql).await {
            Ok(answer) => answer,
            Err(error) => return Some(format!("{sql}\n{error}")),
        };
        let mut rows = answer.rows.clone();
        let mut expected = self
            .run(twin)
            .await
            .unwrap_or_else(|error| panic!("{twin}\n{error}"))
            .rows;
        if !is_ordered(sql) {
            rows.sort();
            expected.sort();
        }
        let cost = (nodes.map_or(answer.nodes, |nodes| nodes), scored);
        if rows == expected && (answer.nodes, answer.scored) == cost {
            return None;
        }
        let found = (answer.nodes, answer.scored);
        Some(format!(
            "{sql}\nnodes and rows scored: {found:?}, not {cost:?}\ngot      {rows:?}\nexpected {expected:?}\n{}",
            answer.plan
        ))
    }

    /// The one line that a user would read.
    pub(crate) async fn refusal(&self, sql: &str) -> String {
        match self.run(sql).await {
            Ok(answer) => panic!("{sql} gave {:?}\n{}", answer.rows, answer.plan),
            Err(error) => line(&error),
        }
    }
}

/// A table's line without its padding.
fn cells(line: &str) -> String {
    line.split('|').map(str::trim).collect::<Vec<_>>().join("|")
}

/// Whether the whole statement is ordered, not only a part in parentheses.
fn is_ordered(sql: &str) -> bool {
    let mut depth = 0;
    let mut outer = String::new();
    for letter in sql.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            letter if depth == 0 => outer.push(letter),
            _ => {}
        }
    }
    outer.contains("ORDER BY")
}

/// Fails with all that differs.
pub(crate) fn none(differences: Vec<String>) {
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

pub(crate) fn line(error: &DataFusionError) -> String {
    match find(error) {
        Some(error) => error.to_string(),
        None => panic!("not the pool's error: {error:?}"),
    }
}

fn table(columns: Vec<(&str, ArrayRef)>) -> MemTable {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let half = batch.num_rows() / 2;
    let parts = vec![
        vec![batch.slice(0, half)],
        vec![batch.slice(half, batch.num_rows() - half)],
    ];
    MemTable::try_new(batch.schema(), parts).unwrap()
}

/// id 1..8; a = id; b = 10 id; k = id where it is odd, else NULL; zone p or q.
fn t() -> MemTable {
    let ids: Vec<i64> = (1..=8).collect();
    table(vec![
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        (
            "a",
            Arc::new(Float64Array::from_iter_values(
                ids.iter().map(|id| *id as f64),
            )),
        ),
        (
            "b",
            Arc::new(Float64Array::from_iter_values(
                ids.iter().map(|id| 10.0 * *id as f64),
            )),
        ),
        (
            "k",
            Arc::new(Int64Array::from_iter(
                ids.iter().map(|id| (id % 2 == 1).then_some(*id)),
            )),
        ),
        (
            "zone",
            Arc::new(StringArray::from_iter_values(
                ids.iter().map(|id| if *id < 4 { "p" } else { "q" }),
            )),
        ),
    ])
}

/// id 1, 3, 5, 7, 9; x = id; y = 100; zone of t.
fn u() -> MemTable {
    let ids: Vec<i64> = vec![1, 3, 5, 7, 9];
    table(vec![
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        (
            "x",
            Arc::new(Float64Array::from_iter_values(
                ids.iter().map(|id| *id as f64),
            )),
        ),
        (
            "y",
            Arc::new(Float64Array::from_iter_values(ids.iter().map(|_| 100.0))),
        ),
        (
            "zone",
            Arc::new(StringArray::from_iter_values(
                ids.iter().map(|id| if *id < 4 { "p" } else { "q" }),
            )),
        ),
    ])
}
