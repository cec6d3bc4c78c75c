//! What cannot be meant is refused in one line that says what would be right.

use super::harness::{Pool, line};

#[tokio::test]
async fn refusals_name_the_thing_and_the_way_out() {
    let pool = Pool::new();
    for (sql, parts) in [
        (
            "SELECT PREDICT('mm', *) FROM t",
            vec!["alias 'mm'", "did you mean 'm'"],
        ),
        (
            "SELECT PREDICT('nothing', *) FROM t",
            vec!["alias 'nothing'", "whimbrel model bind nothing"],
        ),
        (
            "SELECT PREDICT('xy', *) FROM t",
            vec!["are no columns 'x', 'y'", "t.id"],
        ),
        (
            "SELECT PREDICT('m', b, a) FROM t",
            vec!["column t.b stands where input 'a' is fed", "(a, b)"],
        ),
        (
            "SELECT PREDICT('m', a) FROM t",
            vec!["takes 2 inputs, and 1 are given", "'b' missing"],
        ),
        (
            "SELECT PREDICT('s', zone) FROM t",
            vec!["t.zone is text, and input 'a' takes float64"],
        ),
        (
            "SELECT PREDICT('i', b) FROM t",
            vec![
                "t.b is float64, and input 'k' takes int64",
                "CAST(t.b AS BIGINT)",
            ],
        ),
        (
            "SELECT PREDICT('m', *) FROM t JOIN (SELECT a FROM t) AS q ON t.a = q.a",
            vec!["input 'a' could be fed by each of t.a, q.a"],
        ),
        (
            "SELECT zone, PREDICT('m', *) FROM t GROUP BY zone",
            vec!["no columns 'a', 'b'"],
        ),
        (
            "SELECT count(*), PREDICT('m', *) FROM t GROUP BY a + b",
            vec!["groups by no plain column"],
        ),
        (
            "SELECT PREDICT('m', *) AS p FROM t WHERE p > 3",
            vec!["'p' names a prediction", "repeat the PREDICT"],
        ),
        (
            "SELECT t.id FROM t LEFT JOIN u ON PREDICT('m', a, y) > 3",
            vec!["Left join reads columns of both sides"],
        ),
        (
            "SELECT t.id FROM t LEFT JOIN u ON t.id = u.id AND (u.y > 1 OR PREDICT('m', a, b) > 3)",
            vec!["Left join reads columns of both sides"],
        ),
        (
            "SELECT CASE WHEN id IN (SELECT id FROM u) THEN PREDICT('s', a) END FROM t",
            vec!["depends on IN or EXISTS", "LEFT JOIN"],
        ),
        (
            "VALUES (PREDICT('m', 1, 2))",
            vec!["cannot stand in this place"],
        ),
    ] {
        let error = pool.refusal(sql).await;
        for part in parts {
            assert!(error.contains(part), "{sql}\n{error}");
        }
    }
}

#[tokio::test]
async fn an_explained_query_is_refused_like_the_query() {
    let pool = Pool::new();
    let error = pool
        .run("EXPLAIN SELECT PREDICT('mm', *) FROM t")
        .await
        .unwrap_err();
    assert!(line(&error).contains("did you mean 'm'"));
}
