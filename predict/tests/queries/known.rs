//! What a query says of the rows reaches the operator that scores them, and what a model does not use is not read.

use super::harness::Pool;

/// The part of the plan that tells what is known.
fn known(plan: &str) -> &str {
    let Some((_, told)) = plan.split_once("known=[") else {
        return "";
    };
    told.split_once(']').map_or("", |(told, _)| told)
}

#[tokio::test]
async fn a_filter_below_the_model_is_known_to_it() {
    let pool = Pool::new();
    for (sql, told) in [
        ("SELECT PREDICT('m', *) FROM t WHERE a = 1", "a = 1"),
        (
            "SELECT PREDICT('m', *) FROM t WHERE a >= 1 AND a <= 2.5 AND b > 0.5 AND id > 7",
            "1 <= a <= 2.5, b >= 0.5000000000000001 or NaN",
        ),
        (
            "SELECT PREDICT('m', a, b / 2) FROM t WHERE a BETWEEN 1 AND 2",
            "1 <= a <= 2",
        ),
        (
            "SELECT PREDICT('m', id, b / 2) FROM t WHERE id IN (1, 2, 4)",
            "1 <= a <= 4",
        ),
        (
            "SELECT PREDICT('f', *) FROM t WHERE a < 0.1",
            "a <= 0.10000000149011612 or NaN",
        ),
        ("SELECT PREDICT('m', 3.5, b) FROM t", "a = 3.5"),
        (
            "SELECT CASE WHEN a = 2 THEN PREDICT('m', *) END FROM t WHERE b = 1",
            "a = 2, b = 1",
        ),
        (
            "SELECT PREDICT('m', a, b) FROM (SELECT b AS a, a AS b FROM t WHERE a = 1 ORDER BY id LIMIT 9)",
            "b = 1",
        ),
        (
            "SELECT PREDICT('m', a, b) FROM (SELECT a, b FROM t WHERE a = 1 UNION ALL SELECT a, b FROM t WHERE a = 3)",
            "1 <= a <= 3",
        ),
        (
            "SELECT PREDICT('m', t.a, t.b) FROM t JOIN u ON t.id = u.id WHERE t.b = 1",
            "b = 1",
        ),
        ("SELECT PREDICT('m', *) FROM t WHERE a = 1 OR b = 2", ""),
        ("SELECT PREDICT('m', *) FROM t", ""),
        // A default stands in for NULL, of which the filter lets none pass.
        (
            "SELECT PREDICT('optional', *) FROM (SELECT a, id AS k FROM t WHERE a = 1)",
            "a = 1, bonus = 1000",
        ),
        (
            "SELECT PREDICT('optional', *) FROM (SELECT a, id AS k FROM t WHERE a < 1)",
            "a <= 100 or NaN, bonus = 1000",
        ),
    ] {
        let answer = pool.run(sql).await.unwrap();
        assert_eq!(known(&answer.plan), told, "{sql}\n{}", answer.plan);
    }
}

#[tokio::test]
async fn what_is_predicted_is_filtered_later_and_not_known() {
    let pool = Pool::new();
    let answer = pool
        .run("SELECT * FROM (SELECT a, PREDICT('m', *) AS p FROM t) WHERE p > 3 AND a = 1")
        .await
        .unwrap();
    assert_eq!(known(&answer.plan), "a = 1", "{}", answer.plan);
}

#[tokio::test]
async fn a_column_that_no_output_depends_on_is_not_read() {
    let pool = Pool::new();
    let sql = "SELECT id, PREDICT('blind', *) AS p FROM t";
    let plan = pool
        .ctx
        .state()
        .optimize(&pool.plan(sql).await.unwrap())
        .unwrap();
    let plan = plan.display_indent().to_string();
    assert!(plan.contains("TableScan: t projection=[id, a]"), "{plan}");
    assert!(plan.contains("a ← t.a, b not read"), "{plan}");
    let answer = pool.run(sql).await.unwrap();
    assert!(answer.plan.contains("b not read"), "{}", answer.plan);
    let plain = pool.run("SELECT id, a FROM t").await.unwrap();
    assert_eq!(answer.rows.len(), plain.rows.len());
    // It must be there all the same, as the model's inputs are.
    let error = pool
        .run("SELECT PREDICT('blind', *) FROM (SELECT a FROM t)")
        .await
        .unwrap_err();
    assert!(error.to_string().contains('b'), "{error}");
}
