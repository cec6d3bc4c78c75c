//! A plan that grows scoring nodes, and what is known to be scored in it already.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, Projection, lit};

use super::guards::{is_own, refused};
use crate::node::PredictNode;
use crate::sql::{BoundCall, HIDDEN_PREFIX, Pinned};

/// A column that holds what a call would give.
#[derive(Clone, Debug)]
pub(super) struct Known {
    binding: Pinned,
    args: Vec<Expr>,
    mask: Vec<Expr>,
    column: Column,
}

impl Known {
    /// A column scored under fewer conditions serves a call under more: the rows of the call are among its own.
    fn serves(&self, binding: &Pinned, args: &[Expr], mask: &[Expr]) -> bool {
        self.binding == *binding
            && self.args == args
            && self.mask.iter().all(|condition| mask.contains(condition))
    }

    /// The same in other names; none where one of its columns has no other name.
    pub(super) fn renamed(&self, names: &HashMap<Column, Column>) -> Option<Self> {
        let rename = |exprs: &[Expr]| {
            exprs
                .iter()
                .map(|expr| renamed(expr, names))
                .collect::<Option<Vec<_>>>()
        };
        Some(Self {
            binding: self.binding.clone(),
            args: rename(&self.args)?,
            mask: rename(&self.mask)?,
            column: names.get(&self.column)?.clone(),
        })
    }

    pub(super) fn column(&self) -> &Column {
        &self.column
    }
}

fn renamed(expr: &Expr, names: &HashMap<Column, Column>) -> Option<Expr> {
    let mut complete = true;
    let expr = expr
        .clone()
        .transform_up(|expr| {
            Ok(match expr {
                Expr::Column(column) => match names.get(&column) {
                    Some(name) => Transformed::yes(Expr::Column(name.clone())),
                    None => {
                        complete = false;
                        Transformed::no(Expr::Column(column))
                    }
                },
                // A subquery's own columns are out of reach here.
                Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_) => {
                    complete = false;
                    Transformed::no(expr)
                }
                other => Transformed::no(other),
            })
        })
        .data()
        .ok()?;
    complete.then_some(expr)
}

/// The arguments, with a constant for each that no output depends on: its column need not be read.
fn used(binding: &Pinned, args: Vec<Expr>) -> Result<Vec<Expr>> {
    let elements = binding.0.elements.iter();
    let pairs = elements.zip(args);
    pairs
        .map(|(element, arg)| match element.unused {
            true => ScalarValue::new_default(&element.element.arrow()).map(lit),
            false => Ok(arg),
        })
        .collect()
}

/// Whether PREDICT added a column of this name.
pub(super) fn is_hidden(column: &Column) -> bool {
    column.relation.is_none() && column.name.starts_with(HIDDEN_PREFIX)
}

/// The engine knows these only where it can turn them into joins, which is not below an expression.
fn asks_subquery(expr: &Expr) -> bool {
    let asks = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    };
    expr.exists(asks).unwrap_or(true)
}

/// A plan and what is scored in it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) plan: LogicalPlan,
    pub(super) known: Vec<Known>,
}

impl Block {
    /// The column with the call's value, scored here unless it is already.
    pub(super) fn score(
        &mut self,
        names: &AliasGenerator,
        call: &Arc<BoundCall>,
        args: Vec<Expr>,
        mask: &[Expr],
    ) -> Result<Expr> {
        let args = used(&call.binding, args)?;
        let is_own = args.iter().any(is_own);
        if !is_own
            && let Some(known) = self
                .known
                .iter()
                .find(|known| known.serves(&call.binding, &args, mask))
        {
            return Ok(Expr::Column(known.column.clone()));
        }
        if args.iter().chain(mask).any(asks_subquery) {
            let what = format!(
                "{} depends on IN or EXISTS (SELECT ...), which only WHERE can ask",
                call.text
            );
            return Err(refused(
                &what,
                "LEFT JOIN the subquery's rows and ask whether there was a partner",
            ));
        }
        let output = self.fresh(names);
        let input = std::mem::take(&mut self.plan);
        let node =
            PredictNode::try_new(input, Arc::clone(call), args.clone(), mask.to_vec(), output)?;
        let column = node.column();
        self.plan = LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        });
        if !is_own {
            let (binding, mask) = (call.binding.clone(), mask.to_vec());
            self.known.push(Known {
                binding,
                args,
                mask,
                column: column.clone(),
            });
        }
        Ok(Expr::Column(column))
    }

    /// Computes `expr` once and for all, as a hidden column: a volatile guard must not be asked twice.
    pub(super) fn fix(&mut self, names: &AliasGenerator, expr: Expr) -> Result<Expr> {
        let name = self.fresh(names);
        let input = std::mem::take(&mut self.plan);
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let exprs = columns.chain([expr.alias(&name)]).collect();
        self.plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
        Ok(Expr::Column(Column::new_unqualified(name)))
    }

    fn fresh(&self, names: &AliasGenerator) -> String {
        let stem = HIDDEN_PREFIX.trim_end_matches('_');
        loop {
            let name = names.next(stem);
            if !self.plan.schema().has_column_with_unqualified_name(&name) {
                return name;
            }
        }
    }

    /// The plan with `schema`'s columns only, in their order.
    pub(super) fn strip(self, schema: &DFSchema) -> Result<LogicalPlan> {
        let wanted = schema.columns();
        if self.plan.schema().columns() == wanted {
            return Ok(self.plan);
        }
        let exprs = wanted.into_iter().map(Expr::Column).collect();
        Projection::try_new(exprs, Arc::new(self.plan)).map(LogicalPlan::Projection)
    }
}
