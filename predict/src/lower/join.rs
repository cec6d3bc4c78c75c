//! Calls in a join's condition: below the side that owns the arguments, or above an inner join where both do.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::{
    check_all_columns_from_schema, conjunction, split_conjunction_owned,
};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, Subquery};

use super::block::Block;
use super::guards::{Place, Use, concerns, lift, refused};
use super::plan::{Lowering, partition};
use crate::sql::BoundCall;

impl Lowering<'_> {
    pub(super) fn join(&self, join: Join) -> Result<Block> {
        let Join {
            left,
            right,
            on,
            filter,
            join_type,
            join_constraint,
            null_equality,
            null_aware,
            ..
        } = join;
        let mut sides = Sides {
            left: self.lower(Arc::unwrap_or_clone(left))?,
            right: self.lower(Arc::unwrap_or_clone(right))?,
            left_mask: Vec::new(),
            right_mask: Vec::new(),
            lowering: self,
        };
        let (on_left, on_right): (Vec<_>, Vec<_>) = on.into_iter().unzip();
        let on_left = self.lift(&mut sides.left, on_left, Use::Value)?;
        let on_right = self.lift(&mut sides.right, on_right, Use::Value)?;

        let (predicting, plain) =
            partition(filter.map(split_conjunction_owned).unwrap_or_default())?;
        let mut kept = Vec::new();
        let mut above = Vec::new();
        let plain = match predicting.is_empty() {
            true => plain,
            false => sides.guard_by(plain, join_type, null_aware)?,
        };
        for condition in plain {
            kept.extend(lift(&mut sides, vec![condition], Use::Truth, &[])?);
        }
        for condition in predicting {
            match sides.place(condition.clone())? {
                Some(condition) => kept.push(condition),
                None if join_type == JoinType::Inner => above.push(condition),
                None => return Err(both(join_type)),
            }
        }
        let Sides { left, right, .. } = sides;
        let known = match join_type {
            JoinType::Inner => left.known.into_iter().chain(right.known).collect(),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                left.known
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                right.known
            }
            // A row without a partner has NULL for what was scored on the other side, not what its NULLs would score.
            JoinType::Full => Vec::new(),
        };
        let joined = Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            on_left.into_iter().zip(on_right).collect(),
            conjunction(kept),
            join_type,
            join_constraint,
            null_equality,
            null_aware,
        )?;
        self.filtered(
            Block {
                plan: LogicalPlan::Join(joined),
                known,
            },
            above,
        )
    }
}

fn both(join_type: JoinType) -> DataFusionError {
    let what =
        format!("PREDICT in the condition of this {join_type} join reads columns of both sides");
    refused(
        &what,
        "predict over an inner join in a subquery, and join its rows",
    )
}

/// The two inputs of a join whose condition is lowered.
struct Sides<'a, 'b> {
    left: Block,
    right: Block,
    /// What the other conditions ask of a side's rows: those that fail them meet no partner, whatever they would score.
    left_mask: Vec<Expr>,
    right_mask: Vec<Expr>,
    lowering: &'a Lowering<'b>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Sides<'_, '_> {
    /// The side that has all the columns.
    fn owner<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Option<Side>> {
        let columns: HashSet<&Column> = exprs
            .into_iter()
            .flat_map(|expr| expr.column_refs())
            .collect();
        for (side, block) in [(Side::Left, &self.left), (Side::Right, &self.right)] {
            if check_all_columns_from_schema(&columns, block.plan.schema())? {
                return Ok(Some(side));
            }
        }
        Ok(None)
    }

    /// Conditions on one side alone keep its other rows from the model: as filters below the join where that leaves the
    /// join's rows as they are, else as masks. What must stay in the condition is returned.
    fn guard_by(
        &mut self,
        plain: Vec<Expr>,
        join_type: JoinType,
        null_aware: bool,
    ) -> Result<Vec<Expr>> {
        let mut kept = Vec::with_capacity(plain.len());
        for condition in plain {
            let usable = !condition.is_volatile()
                && !concerns(&condition)?
                && !condition.column_refs().is_empty();
            let owner = if usable {
                self.owner([&condition])?
            } else {
                None
            };
            let (block, mask) = match owner {
                None => {
                    kept.push(condition);
                    continue;
                }
                Some(Side::Left) => (&mut self.left, &mut self.left_mask),
                Some(Side::Right) => (&mut self.right, &mut self.right_mask),
            };
            if owner.is_some_and(|side| filters(join_type, side)) && !null_aware {
                let input = std::mem::take(&mut block.plan);
                block.plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input))?);
            } else {
                mask.push(Expr::IsTrue(Box::new(condition.clone())));
                kept.push(condition);
            }
        }
        Ok(kept)
    }

    /// The condition with its calls below the sides; none, and nothing done, where a call needs both.
    fn place(&mut self, condition: Expr) -> Result<Option<Expr>> {
        let before = (self.left.clone(), self.right.clone());
        match lift(self, vec![condition], Use::Truth, &[]) {
            Ok(mut placed) => Ok(placed.pop()),
            Err(error) if needs_both(&error) => {
                (self.left, self.right) = before;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether dropping a side's rows below the join is the same as not matching them in it.
fn filters(join_type: JoinType, side: Side) -> bool {
    match join_type {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => true,
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => side == Side::Right,
        JoinType::Right | JoinType::RightAnti | JoinType::RightMark => side == Side::Left,
        JoinType::Full => false,
    }
}

impl Place for Sides<'_, '_> {
    fn score(&mut self, call: &Arc<BoundCall>, args: Vec<Expr>, mask: &[Expr]) -> Result<Expr> {
        let names = self.lowering.names;
        let owner = self.owner(args.iter().chain(mask))?;
        let (block, own) = match owner {
            None => return Err(DataFusionError::External(Box::new(NeedsBoth))),
            Some(Side::Left) => (&mut self.left, &self.left_mask),
            Some(Side::Right) => (&mut self.right, &self.right_mask),
        };
        let mask: Vec<Expr> = own.iter().chain(mask).cloned().collect();
        block.score(names, call, args, &mask)
    }

    fn fix(&mut self, _guard: Expr) -> Result<Expr> {
        // A volatile guard is asked once per pair of rows, which no side can do.
        Err(DataFusionError::External(Box::new(NeedsBoth)))
    }

    fn subquery(&mut self, subquery: Subquery) -> Result<Subquery> {
        self.lowering.subquery(subquery)
    }
}

/// A call, with its guards, reads columns of both sides. It never leaves this file.
#[derive(Debug)]
struct NeedsBoth;

impl fmt::Display for NeedsBoth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prediction reads both sides of a join")
    }
}

impl std::error::Error for NeedsBoth {}

fn needs_both(error: &DataFusionError) -> bool {
    matches!(error, DataFusionError::External(error) if error.is::<NeedsBoth>())
}
