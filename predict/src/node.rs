//! The place in a logical plan where rows are scored: its input's columns, and the model's value beside them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::sql::{BoundCall, HIDDEN_PREFIX};

/// Scores each row of its input once, with one model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PredictNode {
    pub input: LogicalPlan,
    pub call: Arc<BoundCall>,
    /// One per element of the binding, each of that element's type.
    pub args: Vec<Expr>,
    /// A row is scored only where all of these are true, tried in this order; its value is NULL elsewhere.
    pub mask: Vec<Expr>,
    /// The name of the column that is added.
    pub output: String,
    schema: DFSchemaRef,
}

impl PredictNode {
    /// Adds the column `output` to `input`.
    pub fn try_new(
        input: LogicalPlan,
        call: Arc<BoundCall>,
        args: Vec<Expr>,
        mask: Vec<Expr>,
        output: String,
    ) -> Result<Self> {
        let schema = input.schema();
        let value = Field::new(&output, call.binding.0.returns.clone(), true);
        let fields = schema
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .chain([(None, Arc::new(value))])
            .collect();
        let dependencies = schema.functional_dependencies().clone();
        let schema = DFSchema::new_with_metadata(fields, schema.metadata().clone())?
            .with_functional_dependencies(dependencies)?;
        Ok(Self {
            input,
            call,
            args,
            mask,
            output,
            schema: Arc::new(schema),
        })
    }

    /// The column that is added.
    pub fn column(&self) -> Column {
        Column::new_unqualified(self.output.clone())
    }
}

impl PartialOrd for PredictNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| {
            (
                node.input.clone(),
                node.args.clone(),
                node.mask.clone(),
                node.output.clone(),
            )
        };
        key(self)
            .partial_cmp(&key(other))
            .filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for PredictNode {
    fn name(&self) -> &str {
        "Predict"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.args.iter().chain(&self.mask).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([self.output.clone()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let binding = &self.call.binding.0;
        write!(
            f,
            "Predict: {} = '{}' {} {}: ",
            self.output,
            binding.alias,
            binding.digest.short(),
            binding.runtime
        )?;
        for (place, (element, arg)) in binding.elements.iter().zip(&self.args).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            if element.unused {
                write!(f, "{comma}{} not read", element.name)?;
                continue;
            }
            write!(f, "{comma}{} ← {}", element.name, shown(arg))?;
            if let Some(Some(remark)) = self.call.remarks.get(place) {
                write!(f, " ({remark})")?;
            }
        }
        if self.call.by_position {
            f.write_str("; by position")?;
        }
        for (place, condition) in self.mask.iter().enumerate() {
            write!(
                f,
                "{} {condition}",
                if place == 0 { "; only where" } else { " and" }
            )?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(input), true, true) = (
            inputs.pop(),
            inputs.is_empty(),
            exprs.len() >= self.args.len(),
        ) else {
            return internal_err!("Predict has one input and an argument per element");
        };
        let mask = exprs.split_off(self.args.len());
        Self::try_new(
            input,
            Arc::clone(&self.call),
            exprs,
            mask,
            self.output.clone(),
        )
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // What the arguments and the mask read is added by the optimizer.
        let own = self.input.schema().fields().len();
        Some(vec![
            output_columns
                .iter()
                .copied()
                .filter(|column| *column < own)
                .collect(),
        ])
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}

/// The argument without the cast that the element's type asks for.
fn shown(arg: &Expr) -> String {
    let shown = match arg {
        Expr::Cast(cast) => cast.expr.to_string(),
        other => other.to_string(),
    };
    shown.replace(&format!("{HIDDEN_PREFIX}in_"), "")
}
