//! Puts PREDICT into a DataFusion session: the function, the rules in their places, and the planner.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::BindingSource;
use crate::known::KnownInputs;
use crate::lower::LowerPredict;
use crate::planner::PredictQueryPlanner;
use crate::sql::{BindPredict, PartPlanner, PredictStub};

/// The rule that PREDICT is lowered after: correlated subqueries must be joins by then, and filters, limits and projections
/// not yet pushed about.
const LOWER_AFTER: &str = "decorrelate_lateral_join";

/// The session with PREDICT in it, bound through `bindings`; doing it twice is as good as once.
pub fn install(
    mut builder: SessionStateBuilder,
    bindings: Arc<dyn BindingSource>,
) -> Result<SessionStateBuilder, Error> {
    let bind = Arc::new(BindPredict::new(Arc::clone(&bindings)));
    let analyzer = builder.analyzer().get_or_insert_default();
    analyzer
        .rules
        .retain(|rule| rule.name() != BindPredict::NAME);
    analyzer.rules.insert(0, bind);

    let optimizer = builder.optimizer().get_or_insert_default();
    optimizer
        .rules
        .retain(|rule| rule.name() != LowerPredict::NAME);
    let Some(place) = optimizer
        .rules
        .iter()
        .position(|rule| rule.name() == LOWER_AFTER)
    else {
        let what =
            format!("the engine has no optimizer rule '{LOWER_AFTER}' to lower PREDICT after");
        return Err(Error::new(ErrorCode::Bug, what));
    };
    optimizer.rules.insert(place + 1, Arc::new(LowerPredict));

    let physical = builder.physical_optimizers().get_or_insert_default();
    physical
        .rules
        .retain(|rule| rule.name() != KnownInputs::NAME);
    physical.rules.push(Arc::new(KnownInputs));

    // Before the engine's own planner of brackets; of two of ours the first sees all there is.
    let parts = Arc::new(PartPlanner::new(Arc::clone(&bindings)));
    builder
        .expr_planners()
        .get_or_insert_default()
        .insert(0, parts);
    let stub = ScalarUDF::new_from_impl(PredictStub::new(bindings));
    builder
        .scalar_functions()
        .get_or_insert_default()
        .push(Arc::new(stub));
    Ok(builder.with_query_planner(Arc::new(PredictQueryPlanner)))
}
