//! The walk through a plan, inputs first: each node's calls go below it, and what is scored below is known above as long as
//! the rows are the same ones.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Limit, LogicalPlan, Projection, Sort, Subquery, SubqueryAlias, Window,
};

use super::block::{Block, is_hidden};
use super::guards::{Place, Use, lift, refused};
use super::{defer, has_call};
use crate::sql::BoundCall;

/// Lowers the calls of one statement.
pub(super) struct Lowering<'a> {
    pub(super) names: &'a AliasGenerator,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(names: &'a AliasGenerator) -> Self {
        Self { names }
    }

    /// The plan without calls, with the very schema it had.
    pub(super) fn lowered(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let schema = Arc::clone(plan.schema());
        self.lower(plan)?.strip(&schema)
    }

    /// The plan without calls; its schema may have hidden columns on top.
    pub(super) fn lower(&self, plan: LogicalPlan) -> Result<Block> {
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::SubqueryAlias(alias) => self.subquery_alias(alias),
            LogicalPlan::Join(join) => self.join(join),
            other => self.other(other),
        }
    }

    fn projection(&self, projection: Projection) -> Result<Block> {
        let mut block = self.lower(Arc::unwrap_or_clone(projection.input))?;
        let exprs = self.lift_named(&mut block, projection.expr)?;
        let (exprs, known) = passed(&block, exprs);
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(block.plan))?);
        Ok(Block { plan, known })
    }

    fn filter(&self, filter: Filter) -> Result<Block> {
        let block = self.lower(Arc::unwrap_or_clone(filter.input))?;
        self.filtered(block, split_conjunction_owned(filter.predicate))
    }

    /// Conditions that do not predict come first, so that the rows they drop are not scored; then one prediction after the
    /// other, each only for the rows that the one before has left.
    pub(super) fn filtered(&self, mut block: Block, conditions: Vec<Expr>) -> Result<Block> {
        let (predicting, plain) = partition(conditions)?;
        let plain = self.lift(&mut block, plain, Use::Truth)?;
        if let Some(plain) = conjunction(plain) {
            block.plan = LogicalPlan::Filter(Filter::try_new(plain, Arc::new(block.plan))?);
        }
        for condition in predicting {
            for condition in self.lift(&mut block, vec![condition], Use::Truth)? {
                block.plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(block.plan))?);
            }
        }
        Ok(block)
    }

    fn sort(&self, sort: Sort) -> Result<Block> {
        let mut block = self.lower(Arc::unwrap_or_clone(sort.input))?;
        let exprs = sort.expr.iter().map(|sort| sort.expr.clone()).collect();
        let lifted = self.lift(&mut block, exprs, Use::Value)?;
        let expr = sort
            .expr
            .into_iter()
            .zip(lifted)
            .map(|(sort, expr)| sort.with_expr(expr))
            .collect();
        block.plan = LogicalPlan::Sort(Sort {
            expr,
            input: Arc::new(block.plan),
            fetch: sort.fetch,
        });
        Ok(block)
    }

    fn limit(&self, limit: Limit) -> Result<Block> {
        if let Some(later) = defer::score_after(&limit)? {
            return self.lower(later);
        }
        let mut block = self.lower(Arc::unwrap_or_clone(limit.input))?;
        block.plan = LogicalPlan::Limit(Limit {
            input: Arc::new(block.plan),
            skip: limit.skip,
            fetch: limit.fetch,
        });
        Ok(block)
    }

    fn window(&self, window: Window) -> Result<Block> {
        let mut block = self.lower(Arc::unwrap_or_clone(window.input))?;
        let exprs = self.lift_named(&mut block, window.window_expr)?;
        block.plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(block.plan))?);
        Ok(block)
    }

    fn aggregate(&self, aggregate: Aggregate) -> Result<Block> {
        let mut block = self.lower(Arc::unwrap_or_clone(aggregate.input))?;
        let grouped = aggregate.group_expr.len();
        let exprs = aggregate
            .group_expr
            .into_iter()
            .chain(aggregate.aggr_expr)
            .collect();
        let mut group = self.lift_named(&mut block, exprs)?;
        let aggr = group.split_off(grouped);
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(block.plan), group, aggr)?);
        Ok(Block {
            plan,
            known: Vec::new(),
        })
    }

    /// Another name for the rows: nothing hidden passes, but predictions that are selected are known by their new names.
    fn subquery_alias(&self, alias: SubqueryAlias) -> Result<Block> {
        let schema = Arc::clone(alias.input.schema());
        let block = self.lower(Arc::unwrap_or_clone(alias.input))?;
        let known = block.known.clone();
        let aliased = SubqueryAlias::try_new(Arc::new(block.strip(&schema)?), alias.alias)?;
        let names: HashMap<Column, Column> = schema
            .columns()
            .into_iter()
            .zip(aliased.schema.columns())
            .collect();
        let known = known
            .iter()
            .filter_map(|known| known.renamed(&names))
            .collect();
        Ok(Block {
            plan: LogicalPlan::SubqueryAlias(aliased),
            known,
        })
    }

    /// Nodes that fix their inputs' schemas: unions, recursion, writes, and whatever else there may be.
    fn other(&self, plan: LogicalPlan) -> Result<Block> {
        for expr in plan.expressions() {
            if has_call(&expr)? {
                let what = format!(
                    "PREDICT cannot stand in this place of the query: {}",
                    plan.display()
                );
                return Err(refused(
                    &what,
                    "predict in a subquery and use its column here",
                ));
            }
        }
        let plan = plan
            .map_expressions(|expr| {
                let mut place = NoInput(self);
                let mut lifted = lift(&mut place, vec![expr], Use::Value, &[])?;
                Ok(Transformed::yes(lifted.pop().unwrap_or_default()))
            })
            .data()?;
        let plan = plan
            .map_children(|child| self.lowered(child).map(Transformed::yes))
            .data()?;
        Ok(Block {
            plan,
            known: Vec::new(),
        })
    }

    pub(super) fn lift(
        &self,
        block: &mut Block,
        exprs: Vec<Expr>,
        purpose: Use,
    ) -> Result<Vec<Expr>> {
        lift(
            &mut Below {
                block,
                lowering: self,
            },
            exprs,
            purpose,
            &[],
        )
    }

    /// The same where the expressions' names are the node's schema.
    fn lift_named(&self, block: &mut Block, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        let preserver = NamePreserver::new_for_projection();
        let names: Vec<_> = exprs.iter().map(|expr| preserver.save(expr)).collect();
        let lifted = self.lift(block, exprs, Use::Value)?;
        Ok(names
            .into_iter()
            .zip(lifted)
            .map(|(name, expr)| match expr {
                Expr::GroupingSet(_) => expr,
                other => name.restore(other),
            })
            .collect())
    }

    pub(super) fn subquery(&self, subquery: Subquery) -> Result<Subquery> {
        let Subquery {
            subquery,
            outer_ref_columns,
            spans,
        } = subquery;
        if !outer_ref_columns.is_empty() && super::Found::look(&subquery)?.calls {
            return Err(refused(
                "PREDICT stands in a subquery that reads the outer query's rows in a way that cannot be turned into a join",
                "write the subquery as a join",
            ));
        }
        let subquery = Arc::new(self.lowered(Arc::unwrap_or_clone(subquery))?);
        Ok(Subquery {
            subquery,
            outer_ref_columns,
            spans,
        })
    }
}

/// Calls that are scored right below the node.
struct Below<'a, 'b> {
    block: &'a mut Block,
    lowering: &'a Lowering<'b>,
}

impl Place for Below<'_, '_> {
    fn score(&mut self, call: &Arc<BoundCall>, args: Vec<Expr>, mask: &[Expr]) -> Result<Expr> {
        self.block.score(self.lowering.names, call, args, mask)
    }

    fn fix(&mut self, guard: Expr) -> Result<Expr> {
        self.block.fix(self.lowering.names, guard)
    }

    fn subquery(&mut self, subquery: Subquery) -> Result<Subquery> {
        self.lowering.subquery(subquery)
    }
}

/// Nodes below which nothing can be put; only their subqueries are walked.
struct NoInput<'a, 'b>(&'a Lowering<'b>);

impl Place for NoInput<'_, '_> {
    fn score(&mut self, call: &Arc<BoundCall>, _args: Vec<Expr>, _mask: &[Expr]) -> Result<Expr> {
        Err(refused(
            &format!("{} has no rows to score here", call.text),
            "predict in a subquery",
        ))
    }

    fn fix(&mut self, guard: Expr) -> Result<Expr> {
        Ok(guard)
    }

    fn subquery(&mut self, subquery: Subquery) -> Result<Subquery> {
        self.0.subquery(subquery)
    }
}

/// Those that predict, and those that do not.
pub(super) fn partition(conditions: Vec<Expr>) -> Result<(Vec<Expr>, Vec<Expr>)> {
    let mut predicting = Vec::new();
    let mut plain = Vec::new();
    for condition in conditions {
        match has_call(&condition)? {
            true => predicting.push(condition),
            false => plain.push(condition),
        }
    }
    Ok((predicting, plain))
}

/// The select list with the hidden columns that a node above may use again: those whose arguments are selected too.
fn passed(block: &Block, mut exprs: Vec<Expr>) -> (Vec<Expr>, Vec<super::block::Known>) {
    let mut names: HashMap<Column, Column> = HashMap::new();
    for expr in &exprs {
        if let Some(column) = plain_column(expr) {
            let (relation, name) = expr.qualified_name();
            names
                .entry(column.clone())
                .or_insert_with(|| Column::new(relation, name));
        }
    }
    let mut known = Vec::new();
    for scored in &block.known {
        let column = scored.column();
        let carry = is_hidden(column) && !names.contains_key(column);
        if carry {
            names.insert(column.clone(), column.clone());
        }
        match scored.renamed(&names) {
            Some(renamed) => {
                if carry {
                    exprs.push(Expr::Column(column.clone()));
                }
                known.push(renamed);
            }
            None if carry => {
                names.remove(column);
            }
            None => {}
        }
    }
    (exprs, known)
}

fn plain_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}
