//! `PREDICT(...)['name']`: one part of a prediction, read from the model by itself. Several parts of equal calls are read in
//! one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, GetFieldAccess, LogicalPlan, ScalarUDF};
use whimbrel_proto::Error;

use super::stub::{self, PredictStub, resolve};
use crate::binding::{Binding, BindingSource};
use crate::error::external;
use crate::value::{Access, Value};

/// Plans brackets behind PREDICT, before the engine takes them for a look into a finished value.
#[derive(Debug)]
pub(crate) struct PartPlanner {
    bindings: Arc<dyn BindingSource>,
}

impl PartPlanner {
    /// Parts are those of `bindings`.
    pub(crate) fn new(bindings: Arc<dyn BindingSource>) -> Self {
        Self { bindings }
    }

    fn part(&self, function: &ScalarFunction, name: &str) -> Result<Option<Expr>> {
        let alias = function.args.first().and_then(stub::alias_of);
        let binding = resolve(self.bindings.as_ref(), alias).map_err(external)?;
        match access(&binding, name).map_err(external)? {
            Access::Inside => Ok(None),
            Access::Part(_) => {
                let stub = PredictStub::of_part(Arc::clone(&self.bindings), name);
                let udf = Arc::new(ScalarUDF::new_from_impl(stub));
                let part = ScalarFunction::new_udf(udf, function.args.clone());
                Ok(Some(Expr::ScalarFunction(part)))
            }
        }
    }
}

impl ExprPlanner for PartPlanner {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::NamedStructField { name } = &access.field_access
            && let Some(name) = name.try_as_str().flatten()
            && let Expr::ScalarFunction(function) = &access.expr
            && let Some(None) = stub::part_of(function)
            && let Some(part) = self.part(function, name)?
        {
            return Ok(PlannerResult::Planned(part));
        }
        Ok(PlannerResult::Original(access))
    }
}

/// What `name` means of the binding's prediction; the error names the call.
pub(super) fn access(binding: &Binding, name: &str) -> Result<Access, Error> {
    binding
        .value
        .access(&binding.signature, name)
        .map_err(|error| {
            let what = format!(
                "PREDICT('{}', ...)['{name}']: {}",
                binding.alias,
                error.message()
            );
            let said = Error::new(error.code(), what);
            match error.hint() {
                Some(hint) => said.with_hint(hint),
                None => said,
            }
        })
}

/// What a statement asks of each of its calls: the parts by name, and the whole as none.
#[derive(Debug, Default)]
pub(super) struct Parts(BTreeMap<String, BTreeSet<Option<String>>>);

impl Parts {
    /// Of every call in the plan, its subqueries included.
    pub(super) fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut parts = Self::default();
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Expr::ScalarFunction(function) = expr
                        && let Some(part) = stub::part_of(function)
                    {
                        let asked = parts.0.entry(stub::text(&function.args)).or_default();
                        asked.insert(part.map(str::to_owned));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(parts)
    }

    /// The binding that gives all that is asked of the call `text`, and where in its value `part` is; none where it is the
    /// whole of it.
    pub(super) fn shared(
        &self,
        binding: &Binding,
        text: &str,
        part: Option<&str>,
    ) -> Result<(Binding, Option<String>), Error> {
        let value_of = |part: Option<&str>| match part.map(|name| access(binding, name)) {
            Some(Ok(Access::Part(value))) => Ok(value),
            Some(Err(error)) => Err(error),
            Some(Ok(Access::Inside)) | None => Ok(binding.value.clone()),
        };
        let asked = self.0.get(text).filter(|asked| asked.len() > 1);
        let Some(asked) = asked else {
            return Ok((binding.returning(value_of(part)?), None));
        };
        let name = |place: usize| format!("part{place}");
        let fields = asked
            .iter()
            .enumerate()
            .map(|(place, part)| Ok((name(place), value_of(part.as_deref())?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let place = asked.iter().position(|asked| asked.as_deref() == part);
        Ok((binding.returning(Value::Struct(fields)), place.map(name)))
    }
}

/// The part of the value.
pub(super) fn field(call: Expr, name: Option<String>) -> Expr {
    match name {
        None => call,
        Some(name) => get_field(call, ScalarValue::from(name)),
    }
}
