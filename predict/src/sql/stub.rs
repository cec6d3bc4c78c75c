//! The function that stands for PREDICT while SQL becomes a plan: it knows the name and the type, and never runs.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use whimbrel_proto::{Error, ErrorCode};

use super::PREDICT_NAME;
use super::access::access;
use crate::binding::{Binding, BindingSource};
use crate::error::external;
use crate::mapping::nearest;
use crate::value::Access;

/// PREDICT before it is bound.
#[derive(Debug)]
pub struct PredictStub {
    bindings: Arc<dyn BindingSource>,
    signature: Signature,
    /// The name in brackets behind the call, where it is a part that is read by itself.
    part: Option<String>,
}

impl PredictStub {
    /// Types come from `bindings`.
    pub fn new(bindings: Arc<dyn BindingSource>) -> Self {
        // Volatile keeps the optimizer from folding, merging or repeating calls before they are lowered.
        let signature = Signature::variadic_any(Volatility::Volatile);
        Self {
            bindings,
            signature,
            part: None,
        }
    }

    /// The function of `PREDICT(...)['part']`.
    pub(super) fn of_part(bindings: Arc<dyn BindingSource>, part: &str) -> Self {
        Self {
            part: Some(part.to_owned()),
            ..Self::new(bindings)
        }
    }

    fn shown(&self, args: &[Expr]) -> String {
        let call = text(args);
        match &self.part {
            None => call,
            Some(part) => format!("{call}['{part}']"),
        }
    }
}

/// Whether the function is PREDICT, and if so which part of its value is asked for.
pub(super) fn part_of(function: &ScalarFunction) -> Option<Option<&str>> {
    let stub = function.func.inner().downcast_ref::<PredictStub>()?;
    Some(stub.part.as_deref())
}

impl PartialEq for PredictStub {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bindings, &other.bindings) && self.part == other.part
    }
}

impl Eq for PredictStub {}

impl Hash for PredictStub {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (PREDICT_NAME, &self.part).hash(state);
    }
}

impl ScalarUDFImpl for PredictStub {
    fn name(&self) -> &str {
        PREDICT_NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(self.shown(args))
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(self.shown(args))
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("predict's type depends on its alias")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let alias = args
            .scalar_arguments
            .first()
            .copied()
            .flatten()
            .and_then(text_of);
        let binding = resolve(self.bindings.as_ref(), alias).map_err(external)?;
        let part = self.part.as_deref().map(|part| access(&binding, part));
        let data_type = match part.transpose().map_err(external)? {
            Some(Access::Part(value)) => value.data_type(),
            Some(Access::Inside) | None => binding.returns.clone(),
        };
        Ok(Arc::new(Field::new(PREDICT_NAME, data_type, true)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("predict was not bound to a model before it ran")
    }
}

/// The call as a column name: stable, and readable as SQL.
pub(super) fn text(args: &[Expr]) -> String {
    let shown = args
        .iter()
        .enumerate()
        .map(|(place, arg)| match (place, alias_of(arg)) {
            (0, Some(alias)) => format!("'{alias}'"),
            _ => arg.schema_name().to_string(),
        });
    format!("{PREDICT_NAME}({})", shown.collect::<Vec<_>>().join(", "))
}

/// The alias, where the argument is a text literal.
pub(super) fn alias_of(arg: &Expr) -> Option<&str> {
    match arg {
        Expr::Literal(value, _) => text_of(value),
        _ => None,
    }
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

/// The binding of a call's alias, or what to do about its lack.
pub fn resolve(bindings: &dyn BindingSource, alias: Option<&str>) -> Result<Arc<Binding>, Error> {
    let Some(alias) = alias else {
        let error = Error::new(
            ErrorCode::Invalid,
            "the first argument of PREDICT is not a text literal",
        );
        return Err(
            error.with_hint("write the model's alias in single quotes: PREDICT('alias', *)")
        );
    };
    bindings.binding(alias).ok_or_else(|| {
        let known = bindings.aliases();
        let hint = match nearest(alias, known.iter().map(String::as_str)) {
            Some(near) => {
                format!("did you mean '{near}'? `whimbrel model list` shows what is bound")
            }
            None => format!("bind one with `whimbrel model bind {alias} --uri FILE.onnx`"),
        };
        Error::new(
            ErrorCode::NotFound,
            format!("no model is bound to the alias '{alias}'"),
        )
        .with_hint(hint)
    })
}
