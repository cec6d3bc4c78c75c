//! The walk through an expression that replaces calls by columns and keeps account of the conditions under which each would
//! have been evaluated, so that a row which its guard keeps from the model is never scored.
//!
//! A condition says exactly what SQL says: the right side of AND matters where the left is not FALSE, and only where NULL and
//! FALSE come to the same (WHERE, CASE WHEN, FILTER, ON) may it be "where the left is TRUE".

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::expr::{
    AggregateFunction, Alias, Exists, GroupingSet, InSubquery, ScalarFunction, SetComparison, Sort,
    WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_binary_owned;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Operator, Subquery, binary_expr};
use whimbrel_proto::{Error, ErrorCode};

use super::has_call;
use crate::error::external;
use crate::sql::{BoundCall, BoundPredict};

/// Where calls go.
pub(super) trait Place {
    /// The column with the call's value for rows where all of `mask` is true.
    fn score(&mut self, call: &Arc<BoundCall>, args: Vec<Expr>, mask: &[Expr]) -> Result<Expr>;
    /// The column that holds a volatile guard's value.
    fn fix(&mut self, guard: Expr) -> Result<Expr>;
    /// The subquery with its own calls lowered.
    fn subquery(&mut self, subquery: Subquery) -> Result<Subquery>;
}

/// What the value of an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Every value counts.
    Value,
    /// Only TRUE counts: NULL is as good as FALSE.
    Truth,
}

/// Replaces the calls in `exprs`, all of one node.
pub(super) fn lift(
    place: &mut dyn Place,
    exprs: Vec<Expr>,
    purpose: Use,
    mask: &[Expr],
) -> Result<Vec<Expr>> {
    // Calls that nothing guards go first: they serve the guarded ones too.
    let mut scout = Walk {
        place: &mut *place,
        base: mask.len(),
        scouting: true,
    };
    for expr in &exprs {
        scout.walk(expr.clone(), mask, purpose)?;
    }
    let mut walk = Walk {
        place,
        base: mask.len(),
        scouting: false,
    };
    exprs
        .into_iter()
        .map(|expr| walk.walk(expr, mask, purpose))
        .collect()
}

struct Walk<'a> {
    place: &'a mut dyn Place,
    /// How many conditions the whole node stands under.
    base: usize,
    /// Only unguarded calls are placed, and what is returned is dropped.
    scouting: bool,
}

impl Walk<'_> {
    fn walk(&mut self, expr: Expr, mask: &[Expr], purpose: Use) -> Result<Expr> {
        if (self.scouting && mask.len() > self.base) || !concerns(&expr)? {
            return Ok(expr);
        }
        match expr {
            Expr::Alias(alias) => {
                let inner = self.walk(*alias.expr, mask, purpose)?;
                Ok(Expr::Alias(Alias {
                    expr: Box::new(inner),
                    ..alias
                }))
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => self.logic(binary_expr(*left, op, *right), op, mask, purpose),
            Expr::IsTrue(inner) => Ok(Expr::IsTrue(Box::new(self.walk(
                *inner,
                mask,
                Use::Truth,
            )?))),
            Expr::IsNotTrue(inner) => Ok(Expr::IsNotTrue(Box::new(self.walk(
                *inner,
                mask,
                Use::Truth,
            )?))),
            Expr::Case(case) => self.case(case, mask, purpose),
            Expr::ScalarFunction(function) => self.function(function, mask),
            Expr::AggregateFunction(function) => self.aggregate(function, mask),
            Expr::WindowFunction(function) => self.window(*function, mask),
            Expr::GroupingSet(set) => self.grouping_set(set, mask),
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_) => self.subquery(expr, mask),
            Expr::HigherOrderFunction(_) | Expr::Lambda(_) if has_call(&expr)? => Err(refused(
                "PREDICT stands inside a lambda, which has no rows of its own",
                "unnest the list first and predict its rows",
            )),
            other => self.children(other, mask),
        }
    }

    fn children(&mut self, expr: Expr, mask: &[Expr]) -> Result<Expr> {
        expr.map_children(|child| self.walk(child, mask, Use::Value).map(Transformed::yes))
            .data()
    }

    /// AND and OR: what does not predict guards what does, and a prediction guards those after it.
    fn logic(&mut self, expr: Expr, op: Operator, mask: &[Expr], purpose: Use) -> Result<Expr> {
        let parts = split_binary_owned(expr, op)
            .into_iter()
            .map(|part| Ok((has_call(&part)?, part)))
            .collect::<Result<Vec<_>>>()?;
        if !parts.iter().any(|(has_call, _)| *has_call) {
            let parts = parts
                .into_iter()
                .map(|(_, part)| self.walk(part, mask, purpose))
                .collect::<Result<Vec<_>>>()?;
            return join(parts, op);
        }
        let guards = |part: Expr| match (op, purpose) {
            (Operator::And, Use::Truth) => Expr::IsTrue(Box::new(part)),
            (Operator::And, Use::Value) => Expr::IsNotFalse(Box::new(part)),
            _ => Expr::IsNotTrue(Box::new(part)),
        };
        let mut under = mask.to_vec();
        let mut done: Vec<Option<Expr>> = vec![None; parts.len()];
        for predicting in [false, true] {
            for (slot, (has_call, part)) in done.iter_mut().zip(&parts) {
                if *has_call == predicting {
                    let part = self.walk(part.clone(), &under, purpose)?;
                    let part = self.fixed(part)?;
                    under.push(guards(part.clone()));
                    *slot = Some(part);
                }
            }
        }
        join(done.into_iter().flatten().collect(), op)
    }

    fn case(&mut self, case: Case, mask: &[Expr], purpose: Use) -> Result<Expr> {
        let Case {
            expr,
            when_then_expr,
            else_expr,
        } = case;
        let operand = match expr {
            Some(operand) => {
                let operand = self.walk(*operand, mask, Use::Value)?;
                Some(self.fixed(operand)?)
            }
            None => None,
        };
        let when_use = if operand.is_some() {
            Use::Value
        } else {
            Use::Truth
        };
        let mut under = mask.to_vec();
        let mut branches = Vec::with_capacity(when_then_expr.len());
        for (when, then) in when_then_expr {
            let when = self.walk(*when, &under, when_use)?;
            let when = self.fixed(when)?;
            let met = match &operand {
                Some(operand) => binary_expr(operand.clone(), Operator::Eq, when.clone()),
                None => when.clone(),
            };
            under.push(Expr::IsTrue(Box::new(met.clone())));
            let then = self.walk(*then, &under, purpose)?;
            under.pop();
            under.push(Expr::IsNotTrue(Box::new(met)));
            branches.push((Box::new(when), Box::new(then)));
        }
        let otherwise = match else_expr {
            Some(otherwise) => Some(Box::new(self.walk(*otherwise, &under, purpose)?)),
            None => None,
        };
        Ok(Expr::Case(Case::new(
            operand.map(Box::new),
            branches,
            otherwise,
        )))
    }

    fn function(&mut self, function: ScalarFunction, mask: &[Expr]) -> Result<Expr> {
        if let Some(call) = BoundPredict::of(&function).cloned() {
            let args = function
                .args
                .into_iter()
                .map(|arg| self.walk(arg, mask, Use::Value));
            let args = args.collect::<Result<Vec<_>>>()?;
            if self.scouting && args.iter().any(is_own) {
                return Ok(Expr::ScalarFunction(ScalarFunction {
                    func: function.func,
                    args,
                }));
            }
            return self.place.score(&call, args, mask);
        }
        let ScalarFunction { func, args } = function;
        let args = match func.name() {
            "coalesce" | "nvl" => self.first_known(args, mask)?,
            "nvl2" => self.either(args, mask)?,
            name => {
                let lazy = func
                    .conditional_arguments(&args)
                    .map(|(_, lazy)| lazy)
                    .unwrap_or_default();
                for arg in lazy {
                    if has_call(arg)? {
                        let what = format!(
                            "PREDICT stands in {name}, which does not evaluate every argument for every row"
                        );
                        return Err(refused(&what, "write the condition as CASE"));
                    }
                }
                args.into_iter()
                    .map(|arg| self.walk(arg, mask, Use::Value))
                    .collect::<Result<_>>()?
            }
        };
        Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
    }

    /// COALESCE: an argument counts where all before it are NULL.
    fn first_known(&mut self, args: Vec<Expr>, mask: &[Expr]) -> Result<Vec<Expr>> {
        let mut under = mask.to_vec();
        let mut done = Vec::with_capacity(args.len());
        for arg in args {
            let arg = self.walk(arg, &under, Use::Value)?;
            let arg = self.fixed(arg)?;
            under.push(Expr::IsNull(Box::new(arg.clone())));
            done.push(arg);
        }
        Ok(done)
    }

    /// NVL2(test, known, unknown).
    fn either(&mut self, args: Vec<Expr>, mask: &[Expr]) -> Result<Vec<Expr>> {
        let mut args = args.into_iter();
        let Some(test) = args.next() else {
            return Ok(Vec::new());
        };
        let test = self.walk(test, mask, Use::Value)?;
        let test = self.fixed(test)?;
        let mut done = vec![test.clone()];
        for (arg, known) in args.zip([true, false]) {
            let test = Box::new(test.clone());
            let condition = if known {
                Expr::IsNotNull(test)
            } else {
                Expr::IsNull(test)
            };
            let under: Vec<Expr> = mask.iter().cloned().chain([condition]).collect();
            done.push(self.walk(arg, &under, Use::Value)?);
        }
        Ok(done)
    }

    fn aggregate(&mut self, function: AggregateFunction, mask: &[Expr]) -> Result<Expr> {
        let AggregateFunction { func, mut params } = function;
        let (filter, under) = self.filter(params.filter, mask)?;
        params.filter = filter;
        params.args = self.each(params.args, &under)?;
        params.order_by = self.sorts(params.order_by, &under)?;
        Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
    }

    fn window(&mut self, mut function: WindowFunction, mask: &[Expr]) -> Result<Expr> {
        let (filter, under) = self.filter(function.params.filter, mask)?;
        function.params.filter = filter;
        function.params.args = self.each(function.params.args, &under)?;
        function.params.partition_by = self.each(function.params.partition_by, mask)?;
        function.params.order_by = self.sorts(function.params.order_by, mask)?;
        Ok(Expr::WindowFunction(Box::new(function)))
    }

    /// FILTER (WHERE ...), and the conditions under which the arguments count.
    fn filter(
        &mut self,
        filter: Option<Box<Expr>>,
        mask: &[Expr],
    ) -> Result<(Option<Box<Expr>>, Vec<Expr>)> {
        let mut under = mask.to_vec();
        let Some(filter) = filter else {
            return Ok((None, under));
        };
        let filter = self.walk(*filter, mask, Use::Truth)?;
        let filter = self.fixed(filter)?;
        under.push(Expr::IsTrue(Box::new(filter.clone())));
        Ok((Some(Box::new(filter)), under))
    }

    fn each(&mut self, exprs: Vec<Expr>, mask: &[Expr]) -> Result<Vec<Expr>> {
        exprs
            .into_iter()
            .map(|expr| self.walk(expr, mask, Use::Value))
            .collect()
    }

    fn sorts(&mut self, sorts: Vec<Sort>, mask: &[Expr]) -> Result<Vec<Sort>> {
        sorts
            .into_iter()
            .map(|sort| {
                Ok(Sort {
                    expr: self.walk(sort.expr, mask, Use::Value)?,
                    ..sort
                })
            })
            .collect()
    }

    /// The sets' columns are known by their names above.
    fn grouping_set(&mut self, set: GroupingSet, mask: &[Expr]) -> Result<Expr> {
        let mut named = |exprs: Vec<Expr>| -> Result<Vec<Expr>> {
            let walk = |expr: Expr| {
                let name = NamePreserver::new_for_projection().save(&expr);
                Ok(name.restore(self.walk(expr, mask, Use::Value)?))
            };
            exprs.into_iter().map(walk).collect()
        };
        Ok(Expr::GroupingSet(match set {
            GroupingSet::Rollup(exprs) => GroupingSet::Rollup(named(exprs)?),
            GroupingSet::Cube(exprs) => GroupingSet::Cube(named(exprs)?),
            GroupingSet::GroupingSets(sets) => {
                GroupingSet::GroupingSets(sets.into_iter().map(named).collect::<Result<_>>()?)
            }
        }))
    }

    fn subquery(&mut self, expr: Expr, mask: &[Expr]) -> Result<Expr> {
        Ok(match expr {
            Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(self.inner(subquery)?),
            Expr::Exists(Exists { subquery, negated }) => Expr::Exists(Exists {
                subquery: self.inner(subquery)?,
                negated,
            }),
            Expr::InSubquery(InSubquery {
                expr,
                subquery,
                negated,
            }) => {
                let expr = Box::new(self.walk(*expr, mask, Use::Value)?);
                Expr::InSubquery(InSubquery {
                    expr,
                    subquery: self.inner(subquery)?,
                    negated,
                })
            }
            Expr::SetComparison(SetComparison {
                expr,
                subquery,
                op,
                quantifier,
            }) => {
                let expr = Box::new(self.walk(*expr, mask, Use::Value)?);
                Expr::SetComparison(SetComparison {
                    expr,
                    subquery: self.inner(subquery)?,
                    op,
                    quantifier,
                })
            }
            other => other,
        })
    }

    fn inner(&mut self, subquery: Subquery) -> Result<Subquery> {
        if self.scouting {
            return Ok(subquery);
        }
        self.place.subquery(subquery)
    }

    /// A guard is asked by the mask and by its own expression, and must answer both alike.
    fn fixed(&mut self, guard: Expr) -> Result<Expr> {
        if self.scouting || !guard.is_volatile() || has_call(&guard)? {
            return Ok(guard);
        }
        self.place.fix(guard)
    }
}

fn join(parts: Vec<Expr>, op: Operator) -> Result<Expr> {
    let joined = parts
        .into_iter()
        .reduce(|left, right| binary_expr(left, op, right));
    joined.ok_or_else(|| internal_datafusion_err!("a condition without parts"))
}

/// Whether two copies of it are two things: each call with such an argument is scored for itself.
pub(super) fn is_own(arg: &Expr) -> bool {
    arg.is_volatile() || arg.exists(|expr| Ok(is_subquery(expr))).unwrap_or(true)
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
    )
}

/// Whether there is anything to do inside.
pub(super) fn concerns(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| {
        Ok(match expr {
            Expr::ScalarFunction(function) => BoundPredict::of(function).is_some(),
            other => is_subquery(other),
        })
    })
}

pub(super) fn refused(what: &str, hint: &str) -> datafusion::error::DataFusionError {
    external(Error::new(ErrorCode::Invalid, what).with_hint(hint))
}
