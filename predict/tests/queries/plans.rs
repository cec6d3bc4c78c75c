//! What plans look like, and what stays the same however often they are optimized.

use datafusion::common::ScalarValue;

use super::harness::Pool;

#[tokio::test]
async fn a_limit_scores_few_rows() {
    let pool = Pool::new();
    for sql in [
        "SELECT *, PREDICT('m', *) AS p FROM t LIMIT 3",
        "SELECT p FROM (SELECT PREDICT('m', *) AS p FROM t) LIMIT 3",
    ] {
        let answer = pool.run(sql).await.unwrap();
        assert_eq!(
            (answer.rows.len(), answer.scored),
            (3, 3),
            "{}",
            answer.plan
        );
    }
}

#[tokio::test]
async fn only_needed_columns_are_read() {
    let pool = Pool::new();
    let plan = pool
        .plan("SELECT id, PREDICT('m', *) AS p FROM t WHERE zone = 'p'")
        .await
        .unwrap();
    let plan = pool
        .ctx
        .state()
        .optimize(&plan)
        .unwrap()
        .display_indent()
        .to_string();
    assert!(
        plan.contains("TableScan: t projection=[id, a, b, zone]"),
        "{plan}"
    );
    assert!(
        plan.contains("Predict: __predict_1 = 'm' abababababab ort: a ← t.a, b ← t.b"),
        "{plan}"
    );
}

#[tokio::test]
async fn a_plan_says_how_the_model_is_fed() {
    let pool = Pool::new();
    for (sql, part) in [
        (
            "SELECT PREDICT('f', *) FROM t",
            "a ← t.a (float64 to float32, lossy), b ← t.b (float64 to float32, lossy)",
        ),
        (
            "SELECT PREDICT('m', id, b / 2) FROM t",
            "a ← t.id (int64 to float64, lossy), b ← t.b / Float64(2); by position",
        ),
        (
            "SELECT CASE WHEN id > 3 THEN PREDICT('m', *) END FROM t",
            "; only where t.id > Int64(3) IS TRUE",
        ),
        (
            "SELECT id FROM t ORDER BY PREDICT('m', *)",
            "a ← t.a, b ← t.b",
        ),
    ] {
        let answer = pool.run(&format!("EXPLAIN {sql}")).await;
        let shown = answer.map(|answer| answer.rows.join("\n")).unwrap();
        assert!(shown.contains(part), "{sql}\n{shown}");
        assert!(shown.contains("PredictExec"), "{sql}\n{shown}");
    }
}

#[tokio::test]
async fn names_of_columns_are_what_was_written() {
    let pool = Pool::new();
    for (sql, names) in [
        ("SELECT PREDICT('m', *) FROM t", vec!["predict('m', *)"]),
        (
            "SELECT Predict('m', t.*), PREDICT('s', a) + 1 FROM t",
            vec!["predict('m', t.*)", "predict('s', t.a) + Int64(1)"],
        ),
        (
            "SELECT avg(PREDICT('m', *)), zone FROM t GROUP BY zone",
            vec!["avg(predict('m', *))", "zone"],
        ),
        (
            "SELECT * FROM t WHERE PREDICT('m', *) > 3 ORDER BY PREDICT('m', *)",
            vec!["id", "a", "b", "k", "zone"],
        ),
        (
            "SELECT * FROM t WHERE PREDICT('m', *) > 1e9",
            vec!["id", "a", "b", "k", "zone"],
        ),
    ] {
        assert_eq!(pool.run(sql).await.unwrap().names, names, "{sql}");
    }
}

#[tokio::test]
async fn optimizing_again_changes_nothing() {
    let pool = Pool::new();
    for sql in [
        "SELECT id, PREDICT('m', *) AS p FROM t WHERE PREDICT('m', *) > 3 ORDER BY PREDICT('m', *) LIMIT 5",
        "SELECT t.id FROM t JOIN u ON t.id = u.id AND PREDICT('m', a, y) > 102",
        "SELECT id, CASE WHEN k IS NOT NULL THEN PREDICT('i', k) END AS p FROM t",
        "SELECT zone, avg(PREDICT('m', *)) FROM t GROUP BY zone",
    ] {
        let state = pool.ctx.state();
        let once = state.optimize(&pool.plan(sql).await.unwrap()).unwrap();
        let twice = state.optimize(&once).unwrap();
        assert_eq!(
            once.display_indent().to_string(),
            twice.display_indent().to_string(),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn what_is_written_is_scored() {
    let pool = Pool::new();
    pool.run("CREATE TABLE scored AS SELECT id, PREDICT('m', *) AS p FROM t")
        .await
        .unwrap();
    pool.run("INSERT INTO scored SELECT id, PREDICT('m', *) FROM t WHERE PREDICT('m', *) > 33 ORDER BY PREDICT('m', *)").await.unwrap();
    assert_eq!(
        pool.run("SELECT sum(p) FROM scored").await.unwrap().rows,
        ["|726.0|"]
    );
}

#[tokio::test]
async fn parameters_have_the_types_of_the_inputs_they_feed() {
    let pool = Pool::new();
    let plan = pool
        .plan("SELECT PREDICT('m', ?, b) AS p FROM t WHERE id = ?")
        .await
        .unwrap();
    let plan = plan
        .with_param_values(vec![ScalarValue::from(1_i64), ScalarValue::from(2_i64)])
        .unwrap();
    let frame = pool.ctx.execute_logical_plan(plan).await.unwrap();
    let rows = frame.to_string().await.unwrap();
    assert!(rows.contains("21.0"), "{rows}");
}
