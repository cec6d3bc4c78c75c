//! PREDICT after it is bound: a call that carries its binding, so that a re-bound alias changes no plan that exists. The
//! optimizer rule in [`crate::lower`] takes it out of the plan before anything could run it.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::PREDICT_NAME;
use crate::binding::Binding;

/// A binding as a plan holds it. Alias, digest and generation tell bindings apart; two calls of one may still read other parts
/// of its value, or feed it other shapes.
#[derive(Clone, Debug)]
pub struct Pinned(pub Arc<Binding>);

impl Pinned {
    fn key(&self) -> (&str, &str, u64) {
        (
            self.0.alias.as_str(),
            self.0.digest.as_str(),
            self.0.generation.0,
        )
    }
}

impl PartialEq for Pinned {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
            && self.0.value == other.0.value
            && self.0.elements == other.0.elements
    }
}

impl Eq for Pinned {}

impl PartialOrd for Pinned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let order = self.key().cmp(&other.key());
        (order != Ordering::Equal || self == other).then_some(order)
    }
}

impl Hash for Pinned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// What a call is bound to, and what `EXPLAIN` says about how it is fed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Hash)]
pub struct BoundCall {
    pub binding: Pinned,
    /// The call's name as a column.
    pub text: String,
    /// Per element: a remark on its cast, where there is one.
    pub remarks: Vec<Option<String>>,
    pub by_position: bool,
}

/// The function of a bound call; its arguments are one per element, each already of that element's type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BoundPredict {
    call: Arc<BoundCall>,
    signature: Signature,
}

impl BoundPredict {
    /// The call as an expression.
    pub fn expr(call: BoundCall, args: Vec<Expr>) -> Expr {
        let signature = Signature::variadic_any(Volatility::Volatile);
        let function = ScalarUDF::new_from_impl(Self {
            call: Arc::new(call),
            signature,
        });
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), args))
    }

    /// The bound call that this function is.
    pub fn of(function: &ScalarFunction) -> Option<&Arc<BoundCall>> {
        function
            .func
            .inner()
            .downcast_ref::<Self>()
            .map(|bound| &bound.call)
    }
}

impl ScalarUDFImpl for BoundPredict {
    fn name(&self) -> &str {
        PREDICT_NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, _args: &[Expr]) -> Result<String> {
        Ok(self.call.text.clone())
    }

    fn display_name(&self, _args: &[Expr]) -> Result<String> {
        Ok(self.call.text.clone())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.call.binding.0.returns.clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(
            PREDICT_NAME,
            self.call.binding.0.returns.clone(),
            true,
        )))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("predict was not lowered to a scoring node before it ran")
    }
}
