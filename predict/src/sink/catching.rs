//! A job's plan in which rows that cannot be scored do not end the work. Where they are to be told of, a column with the reason goes
//! from each PREDICT up to the sink, past whatever chooses rows and columns between.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{Column, binary, is_not_null, is_null};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use whimbrel_proto::{Error, ErrorCode};

use super::scan::telling;
use super::split::{is_split_wise, sink_of};
use super::{OnError, ScoreSinkExec};
use crate::error::external;
use crate::exec::{PredictExec, RowErrors};
use crate::sql::HIDDEN_PREFIX;

const TOLD: &str = "errors_";

/// The columns of a sink's input that are written, and those that tell why a row cannot be.
pub(super) fn sorted(schema: &Schema) -> (Vec<usize>, Vec<usize>) {
    let prefix = format!("{HIDDEN_PREFIX}{TOLD}");
    (0..schema.fields().len()).partition(|&place| !schema.field(place).name().starts_with(&prefix))
}

/// The plan of a sink that deals with such rows as its spec says.
pub fn catching(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let sink = sink_of(plan)?;
    let input = match &sink.spec().on_error {
        OnError::Fail => return Ok(Arc::clone(plan)),
        OnError::Null if !is_split_wise(plan) => nulled(Arc::clone(sink.input()))?,
        OnError::Null => widened(sink.input(), &mut Told::Nothing)?.narrowed()?,
        OnError::DeadLetter { .. } if !is_split_wise(plan) => return Err(refused()),
        OnError::DeadLetter { .. } => widened(sink.input(), &mut Told::Letters(0))?.plan,
    };
    Ok(Arc::new(ScoreSinkExec::new(input, Arc::clone(sink.spec()))))
}

fn refused() -> datafusion::error::DataFusionError {
    let text = "dead letters need a query that takes its rows one by one from one table";
    external(
        Error::new(ErrorCode::Invalid, text)
            .with_hint("leave joins, groups, sorting and limits out, or use --on-error null"),
    )
}

fn nulled(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| match node.downcast_ref::<PredictExec>() {
        Some(predict) => {
            let predict = predict.clone().catching(RowErrors::Null)?;
            Ok(Transformed::yes(Arc::new(predict) as Arc<dyn ExecutionPlan>))
        }
        None => Ok(Transformed::no(node)),
    })
    .data()
}

/// What the columns are for that a plan gets.
enum Told {
    /// Letters, of so many PREDICTs so far.
    Letters(usize),
    /// Only to leave bad records alone.
    Nothing,
}

/// A plan with more columns than before.
struct Widened {
    plan: Arc<dyn ExecutionPlan>,
    /// Where each column is that was there before.
    places: Vec<usize>,
    /// The columns that tell of errors.
    errors: Vec<usize>,
}

fn widened(plan: &Arc<dyn ExecutionPlan>, told: &mut Told) -> Result<Widened> {
    let children = plan.children();
    let [child] = children.as_slice() else {
        let own = plan.schema().fields().len();
        let telling = telling(plan, &format!("{HIDDEN_PREFIX}{TOLD}read"))?;
        return Ok(Widened {
            places: (0..own).collect(),
            errors: telling.iter().map(|_| own).collect(),
            plan: telling.unwrap_or_else(|| Arc::clone(plan)),
        });
    };
    let below = widened(child, told)?;
    if let Some(predict) = plan.downcast_ref::<PredictExec>() {
        let errors = match told {
            Told::Nothing => RowErrors::Null,
            Told::Letters(count) => {
                let name = format!("{HIDDEN_PREFIX}{TOLD}{count}");
                *count += 1;
                RowErrors::Told(name)
            }
        };
        return below.predicting(predict, errors);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return below.projected(projection);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return below.filtered(filter, matches!(told, Told::Letters(_)));
    }
    if plan.is::<CooperativeExec>() {
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CooperativeExec::new(below.plan));
        return Ok(Widened { plan, ..below });
    }
    Err(refused())
}

impl Widened {
    /// A row that is known to be bad is not scored.
    fn predicting(self, predict: &PredictExec, how: RowErrors) -> Result<Self> {
        let Self {
            plan,
            mut places,
            mut errors,
        } = self;
        let schema = plan.schema();
        let width = schema.fields().len();
        let args = predict.args().iter().map(|arg| moved(arg, &places));
        let mask = predict.mask().map(|mask| moved(mask, &places));
        let mut mask = mask.transpose()?;
        for &error in &errors {
            let column = Arc::new(Column::new(schema.field(error).name(), error));
            let sound = is_null(column)?;
            mask = Some(match mask {
                Some(mask) => binary(mask, Operator::And, sound, &schema)?,
                None => sound,
            });
        }
        let exec = PredictExec::try_new(
            plan,
            Arc::clone(predict.binding()),
            args.collect::<Result<_>>()?,
            mask,
            predict.output().to_owned(),
        )?;
        places.push(width);
        if let RowErrors::Told(_) = how {
            errors.push(width + 1);
        }
        Ok(Self {
            plan: Arc::new(exec.catching(how)?),
            places,
            errors,
        })
    }

    /// Only the columns that were there before.
    fn narrowed(self) -> Result<Arc<dyn ExecutionPlan>> {
        if self.errors.is_empty() {
            return Ok(self.plan);
        }
        let schema = self.plan.schema();
        let exprs = self.places.iter().map(|&place| {
            let alias = schema.field(place).name().clone();
            let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&alias, place));
            ProjectionExpr { expr, alias }
        });
        Ok(Arc::new(ProjectionExec::try_new(
            exprs.collect::<Vec<_>>(),
            self.plan,
        )?))
    }

    fn projected(self, projection: &ProjectionExec) -> Result<Self> {
        let Self {
            plan,
            places,
            errors,
        } = self;
        let schema = plan.schema();
        let own = projection.expr().len();
        let exprs = projection.expr().iter().map(|expr| {
            Ok(ProjectionExpr {
                expr: moved(&expr.expr, &places)?,
                alias: expr.alias.clone(),
            })
        });
        let told = errors.iter().map(|&error| {
            let alias = schema.field(error).name().clone();
            let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&alias, error));
            Ok(ProjectionExpr { expr, alias })
        });
        let exprs = exprs.chain(told).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            errors: (own..exprs.len()).collect(),
            places: (0..own).collect(),
            plan: Arc::new(ProjectionExec::try_new(exprs, plan)?),
        })
    }

    /// What is not known of a row's value must not drop the row where the sink is to tell of it.
    fn filtered(self, filter: &FilterExec, is_told: bool) -> Result<Self> {
        let Self {
            plan,
            places,
            errors,
        } = self;
        let schema = plan.schema();
        let mut predicate = moved(filter.predicate(), &places)?;
        for &error in errors.iter().filter(|_| is_told) {
            let column = Arc::new(Column::new(schema.field(error).name(), error));
            predicate = binary(predicate, Operator::Or, is_not_null(column)?, &schema)?;
        }
        let builder = FilterExecBuilder::new(predicate, plan)
            .with_default_selectivity(filter.default_selectivity())
            .with_batch_size(filter.batch_size());
        let Some(chosen) = filter.projection() else {
            let plan: Arc<dyn ExecutionPlan> = Arc::new(builder.build()?);
            return Ok(Self {
                plan,
                places,
                errors,
            });
        };
        let own = chosen.len();
        let chosen: Vec<usize> = chosen
            .iter()
            .map(|&place| places[place])
            .chain(errors)
            .collect();
        Ok(Self {
            places: (0..own).collect(),
            errors: (own..chosen.len()).collect(),
            plan: Arc::new(builder.apply_projection(Some(chosen))?.build()?),
        })
    }
}

/// The expression over columns that are elsewhere now.
fn moved(expr: &Arc<dyn PhysicalExpr>, places: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(expr)
        .transform_down(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let Some(&place) = places.get(column.index()) else {
                return internal_err!("a plan lost column {column}");
            };
            let column = Column::new(column.name(), place);
            Ok(Transformed::yes(Arc::new(column) as Arc<dyn PhysicalExpr>))
        })
        .data()
}

/// The columns that are written.
pub(super) fn visible(schema: &SchemaRef, columns: &[usize]) -> Result<SchemaRef> {
    Ok(Arc::new(schema.project(columns)?))
}
