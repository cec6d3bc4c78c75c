//! What kind of statement a plan is, and who runs it.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Statement, WindowFunctionDefinition};
use whimbrel_proto::{Error, ErrorCode};

use crate::engine::LISTS_SCHEMA;

/// What a statement gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rows,
    Effect,
}

pub(super) fn kind(plan: &LogicalPlan) -> std::result::Result<Kind, Error> {
    let not_yet = |what: &str, hint: &str| {
        Err(Error::new(ErrorCode::Invalid, format!("{what} is not supported")).with_hint(hint))
    };
    match plan {
        LogicalPlan::Ddl(_) => Ok(Kind::Effect),
        LogicalPlan::Statement(Statement::SetVariable(_) | Statement::ResetVariable(_)) => {
            Ok(Kind::Effect)
        }
        LogicalPlan::Statement(other) => not_yet(
            other.name(),
            "Flight SQL has prepared statements; there are no transactions",
        ),
        LogicalPlan::Dml(dml) => not_yet(
            dml.name(),
            "rows are added with INSERT INTO table SELECT ..., and written with COPY",
        ),
        LogicalPlan::Copy(_) => not_yet("EXPLAIN of COPY", "explain its SELECT"),
        LogicalPlan::Analyze(_) => not_yet("EXPLAIN ANALYZE", "EXPLAIN shows the plan"),
        _ => Ok(Kind::Rows),
    }
}

/// Whether the scheduler answers by itself: constants, explanations, and what there is. Whatever scores or reads a table is
/// for executors.
pub(super) fn stays_here(plan: &LogicalPlan) -> Result<bool> {
    if matches!(
        plan,
        LogicalPlan::Explain(_) | LogicalPlan::DescribeTable(_)
    ) {
        return Ok(true);
    }
    let (mut catalog, mut work) = (false, false);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan)
                if matches!(
                    scan.table_name.schema(),
                    Some("information_schema" | LISTS_SCHEMA)
                ) =>
            {
                catalog = true
            }
            LogicalPlan::RecursiveQuery(_) => return not_impl_err!("WITH RECURSIVE"),
            LogicalPlan::TableScan(_) | LogicalPlan::Extension(_) => work = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(catalog || !work)
}

/// Refuses what the engine's encoding loses without a word: an executor would compute something else.
pub(super) fn refuse_lossy(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::WindowFunction(window) = expr {
                    refuse_lossy_window(window)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

fn refuse_lossy_window(window: &WindowFunction) -> Result<()> {
    let is_udwf = matches!(window.fun, WindowFunctionDefinition::WindowUDF(_));
    if window.params.filter.is_some() {
        return not_impl_err!("FILTER with OVER; write CASE WHEN ... END inside the function");
    }
    if is_udwf && window.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return not_impl_err!("IGNORE NULLS with OVER; filter the NULLs out in a subquery");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn plan(sql: &str) -> LogicalPlan {
        let ctx =
            SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
        ctx.sql("CREATE TABLE t AS VALUES (1), (2)").await.unwrap();
        ctx.state().create_logical_plan(sql).await.unwrap()
    }

    #[tokio::test]
    async fn only_what_needs_no_table_is_answered_by_the_scheduler() {
        for (sql, here) in [
            ("SELECT 1 + 1", true),
            ("SHOW TABLES", true),
            ("EXPLAIN SELECT * FROM t", true),
            ("DESCRIBE t", true),
            ("SELECT count(*) FROM t", false),
            ("SELECT 1 WHERE EXISTS (SELECT 1 FROM t)", false),
        ] {
            assert_eq!(stays_here(&plan(sql).await).unwrap(), here, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_cannot_run_says_what_to_do_instead() {
        for sql in [
            "INSERT INTO t VALUES (3)",
            "COPY t TO '/tmp/x.csv'",
            "EXPLAIN ANALYZE SELECT 1",
            "START TRANSACTION",
        ] {
            assert!(
                kind(&plan(sql).await).unwrap_err().hint().is_some(),
                "{sql}"
            );
        }
        assert_eq!(
            kind(&plan("SET datafusion.execution.batch_size = 1").await).unwrap(),
            Kind::Effect
        );
    }

    #[tokio::test]
    async fn what_the_encoding_would_lose_is_refused() {
        for (sql, refused) in [
            (
                "SELECT sum(column1) FILTER (WHERE column1 > 1) OVER () FROM t",
                true,
            ),
            (
                "SELECT lag(column1) IGNORE NULLS OVER (ORDER BY column1) FROM t",
                true,
            ),
            (
                "SELECT * FROM (SELECT first_value(column1) IGNORE NULLS OVER () FROM t)",
                true,
            ),
            (
                "SELECT sum(column1) OVER (), lag(column1) OVER (ORDER BY column1) FROM t",
                false,
            ),
            (
                "SELECT sum(column1) FILTER (WHERE column1 > 1) FROM t",
                false,
            ),
        ] {
            assert_eq!(refuse_lossy(&plan(sql).await).is_err(), refused, "{sql}");
        }
    }
}
