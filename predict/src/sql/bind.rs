//! Binds every call: the alias becomes one pinned binding, `*` and lists become one argument per input of the model.
//!
//! An analyzer rule rather than a `FunctionRewrite`, since `*` means the columns of FROM: an ORDER BY stands above a select
//! list that may have dropped them, a window function adds some, and only the plan tells.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Cast as CastExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Projection, Sort,
};
use datafusion::optimizer::AnalyzerRule;
use whimbrel_proto::{Error, ErrorCode};

use super::access::{Parts, field};
use super::bound::{BoundCall, BoundPredict, Pinned};
use super::scope::{Scope, carry};
use super::stub::{self, PredictStub, resolve};
use crate::binding::{Binding, BindingSource, InputElement};
use crate::error::external;
use crate::mapping::{self, Argument, Form, Source};

/// The rule; it must come before all others, which know nothing of `*` in arguments.
#[derive(Debug)]
pub struct BindPredict {
    bindings: Arc<dyn BindingSource>,
}

impl BindPredict {
    /// The name in the list of rules.
    pub const NAME: &str = "bind_predict";

    /// Binds to what `bindings` says at that moment.
    pub fn new(bindings: Arc<dyn BindingSource>) -> Self {
        Self { bindings }
    }

    fn bind_node(&self, plan: LogicalPlan, parts: &Parts) -> Result<Transformed<LogicalPlan>> {
        if !has_stub(&plan)? {
            return Ok(Transformed::no(plan));
        }
        let plan = selected_stars(plan)?;
        let source = plan.clone();
        let scope = Scope::of(&source);
        let schema = scope.schema();
        // A call is part of its parents' names, which the node's schema has already.
        let names = NamePreserver::new(&plan);
        let bound = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let bound = expr.transform_up(|expr| self.bind_expr(expr, &scope, &schema, parts))?;
            Ok(bound.update_data(|expr| name.restore(expr)))
        })?;
        let bound = same_types(&source, bound.data)?;
        match (bound, &scope) {
            (LogicalPlan::Sort(sort), Scope::Ordering(projection)) => {
                order_by(sort, projection).map(Transformed::yes)
            }
            (bound, _) => Ok(Transformed::yes(bound)),
        }
    }

    fn bind_expr(
        &self,
        expr: Expr,
        scope: &Scope<'_>,
        schema: &DFSchema,
        parts: &Parts,
    ) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(function) if is_stub(&function) => self
                .bind_call(function, scope, schema, parts)
                .map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        }
    }

    fn bind_call(
        &self,
        function: ScalarFunction,
        scope: &Scope<'_>,
        schema: &DFSchema,
        parts: &Parts,
    ) -> Result<Expr> {
        let text = function.func.schema_name(&function.args)?;
        let whole = stub::text(&function.args);
        let part = stub::part_of(&function).flatten().map(str::to_owned);
        let mut args = function.args.into_iter();
        let alias = args.next();
        let binding = resolve(
            self.bindings.as_ref(),
            alias.as_ref().and_then(stub::alias_of),
        )
        .map_err(external)?;
        let (binding, inside) = parts
            .shared(&binding, &whole, part.as_deref())
            .map_err(external)?;
        let (form, columns) = candidates(args.collect(), scope, schema)?;
        let (arguments, exprs): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let mapping = mapping::map(&binding, &arguments, form).map_err(external)?;
        let elements = mapping.elements.unwrap_or_else(|| binding.elements.clone());
        let binding = Arc::new(Binding {
            elements,
            ..binding
        });
        let mut fed = Vec::with_capacity(mapping.sources.len());
        let mut remarks = Vec::with_capacity(mapping.sources.len());
        for (source, element) in mapping.sources.iter().zip(&binding.elements) {
            remarks.push(source.remark(&arguments, element));
            fed.push(match source {
                Source::Argument { place, way } => feed(exprs[*place].clone(), &way.steps, element),
                Source::Absent(value) => Expr::Literal(value.clone(), None),
            });
        }
        let by_position = mapping.by_position;
        let call = BoundCall {
            binding: Pinned(binding),
            text: if inside.is_some() { whole } else { text },
            remarks,
            by_position,
        };
        Ok(field(BoundPredict::expr(call, fed), inside))
    }
}

impl AnalyzerRule for BindPredict {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let parts = Parts::of(&plan)?;
        plan.transform_up_with_subqueries(|plan| self.bind_node(plan, &parts))
            .map(|bound| bound.data)
    }
}

fn is_stub(function: &ScalarFunction) -> bool {
    function
        .func
        .inner()
        .downcast_ref::<PredictStub>()
        .is_some()
}

fn has_stub(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found = found
            || expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarFunction(function) if is_stub(function)))
            })?;
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(found)
}

/// ORDER BY PREDICT('m', *) sorts by the select list's own PREDICT('m', *) where it has one: DISTINCT leaves nothing else.
fn selected_stars(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Sort(mut sort) = plan else {
        return Ok(plan);
    };
    let input = match sort.input.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => Arc::clone(input),
        _ => Arc::clone(&sort.input),
    };
    if let LogicalPlan::Projection(projection) = input.as_ref() {
        for sort in &mut sort.expr {
            let expr = std::mem::take(&mut sort.expr);
            sort.expr = expr
                .transform_down(|expr| Ok(selected_star(expr, projection)))
                .data()?;
        }
    }
    Ok(LogicalPlan::Sort(sort))
}

fn selected_star(expr: Expr, projection: &Projection) -> Transformed<Expr> {
    let Expr::ScalarFunction(function) = &expr else {
        return Transformed::no(expr);
    };
    if !is_stub(function) || !function.args.iter().skip(1).all(is_star) {
        return Transformed::no(expr);
    }
    let Ok(text) = function.func.schema_name(&function.args) else {
        return Transformed::no(expr);
    };
    let selected = projection.expr.iter().zip(projection.schema.columns()).find(|(selected, _)| {
        let inner = (*selected).clone().unalias_nested().data;
        matches!(&inner, Expr::ScalarFunction(function) if BoundPredict::of(function).is_some_and(|call| call.text == text))
    });
    match selected {
        Some((_, column)) => Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump),
        None => Transformed::no(expr),
    }
}

#[expect(
    deprecated,
    reason = "the planner still gives `*` inside arguments as this variant"
)]
fn is_star(expr: &Expr) -> bool {
    matches!(expr, Expr::Wildcard { .. })
}

/// What may feed the model, as the mapping and as the plan see it.
#[expect(
    deprecated,
    reason = "the planner still gives `*` inside arguments as this variant"
)]
fn candidates(
    args: Vec<Expr>,
    scope: &Scope<'_>,
    schema: &DFSchema,
) -> Result<(Form, Vec<(Argument, Expr)>)> {
    let mut form = Form::List;
    let mut columns = Vec::with_capacity(args.len());
    for arg in args {
        if let Expr::Wildcard { qualifier, .. } = &arg {
            form = Form::Star;
            for column in scope.star(qualifier.as_ref())? {
                let argument = Argument {
                    name: Some(column.column.name.clone()),
                    shown: column.column.flat_name(),
                    data_type: column.data_type,
                };
                columns.push((argument, column.expr));
            }
        } else {
            let argument = Argument {
                name: name_of(&arg),
                shown: shown(&arg),
                data_type: type_of(&arg, schema)?,
            };
            columns.push((argument, arg));
        }
    }
    Ok((form, columns))
}

/// A cast column keeps its name: CAST is how a user makes a column fit.
fn name_of(arg: &Expr) -> Option<String> {
    match arg {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => Some(column.name.clone()),
        Expr::Cast(cast) => name_of(&cast.expr),
        Expr::TryCast(cast) => name_of(&cast.expr),
        _ => None,
    }
}

fn shown(arg: &Expr) -> String {
    match arg {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => column.flat_name(),
        other => other.to_string(),
    }
}

fn type_of(arg: &Expr, schema: &DFSchema) -> Result<DataType> {
    match arg {
        Expr::Placeholder(Placeholder { field: None, .. }) => Ok(DataType::Null),
        other => other.get_type(schema),
    }
}

fn feed(arg: Expr, steps: &[DataType], element: &InputElement) -> Expr {
    if let Expr::Placeholder(Placeholder { id, field: None }) = arg {
        // A parameter has the type of the input it feeds.
        let to = steps
            .last()
            .cloned()
            .unwrap_or_else(|| element.element.arrow());
        let field = Some(Arc::new(Field::new(&id, to, true)));
        return Expr::Placeholder(Placeholder { id, field });
    }
    steps.iter().fold(arg, |arg, to| {
        Expr::Cast(CastExpr::new(Box::new(arg), to.clone()))
    })
}

/// The names were resolved with the bindings of a moment ago; a type that has changed since would be read as another.
fn same_types(before: &LogicalPlan, after: LogicalPlan) -> Result<LogicalPlan> {
    let after = after.recompute_schema()?;
    let old = before.schema();
    let changed = old
        .fields()
        .iter()
        .zip(after.schema().fields())
        .any(|(old, new)| old.data_type() != new.data_type());
    if changed {
        let error = Error::new(
            ErrorCode::Unavailable,
            "a model was bound anew, with another type, while this query was planned",
        );
        return Err(external(error.with_hint("run it again")));
    }
    Ok(after)
}

/// A sort by what the select list had dropped: the list carries it up to the sort, and no further.
fn order_by(sort: Sort, projection: &Projection) -> Result<LogicalPlan> {
    let used: HashSet<&Column> = sort
        .expr
        .iter()
        .flat_map(|sort| sort.expr.column_refs())
        .collect();
    let Some(wider) = carry(projection, &used)? else {
        return Ok(LogicalPlan::Sort(sort));
    };
    let selected = projection
        .schema
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let sorted = LogicalPlan::Sort(Sort {
        input: Arc::new(LogicalPlan::Projection(wider)),
        ..sort.clone()
    });
    Projection::try_new(selected, Arc::new(sorted)).map(LogicalPlan::Projection)
}
