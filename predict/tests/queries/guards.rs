//! A guarded row is never scored: `i` takes integers and fails on the NULLs that every second row has.

use super::harness::{Pool, none};

/// (query, the same query without PREDICT, rows scored)
type Case = (&'static str, &'static str, usize);

async fn check(cases: &[Case]) {
    let pool = Pool::new();
    let mut differences = Vec::new();
    for (sql, twin, scored) in cases {
        differences.extend(pool.differs(sql, twin, None, *scored).await);
    }
    none(differences);
}

#[tokio::test]
async fn case_and_coalesce_guard() {
    check(&[(
            "SELECT id, CASE WHEN k IS NOT NULL THEN PREDICT('i', k) END AS p FROM t",
            "SELECT id, k AS p FROM t",
            4,
        ),
(
            "SELECT id, CASE WHEN k IS NULL THEN 0 ELSE PREDICT('i', k) END AS p FROM t",
            "SELECT id, coalesce(k, 0) AS p FROM t",
            4,
        ),
(
            "SELECT id, CASE zone WHEN 'p' THEN PREDICT('s', a) WHEN 'q' THEN -PREDICT('s', a) END AS p FROM t",
            "SELECT id, CASE zone WHEN 'p' THEN a ELSE -a END AS p FROM t",
            8,
        ),
(
            "SELECT id, CASE k WHEN 3 THEN PREDICT('i', k) ELSE 0 END AS p FROM t",
            "SELECT id, CASE WHEN id = 3 THEN 3 ELSE 0 END AS p FROM t",
            1,
        ),
(
            "SELECT id, coalesce(a * NULL, PREDICT('s', a)) AS p FROM t",
            "SELECT id, a AS p FROM t",
            8,
        ),
(
            "SELECT id, coalesce(CAST(k AS DOUBLE), PREDICT('s', a)) AS p FROM t",
            "SELECT id, a AS p FROM t",
            4,
        ),
(
            "SELECT id, nvl(CAST(k AS DOUBLE), PREDICT('s', a)) AS p FROM t",
            "SELECT id, a AS p FROM t",
            4,
        ),
(
            "SELECT id, nvl2(k, PREDICT('i', k), 0) AS p FROM t",
            "SELECT id, nvl2(k, k, 0) AS p FROM t",
            4,
        ),
(
            "SELECT id FROM t WHERE k IS NOT NULL AND CASE WHEN zone = 'p' THEN PREDICT('i', k) > 1 ELSE false END",
            "SELECT id FROM t WHERE id = 3",
            2,
        ),
(
            "SELECT id FROM t ORDER BY CASE WHEN k IS NULL THEN 100 - id ELSE PREDICT('i', *) END",
            "SELECT id FROM t ORDER BY CASE WHEN k IS NULL THEN 100 - id ELSE k END",
            4,
        ),
(
            "SELECT id, CASE WHEN PREDICT('s', a) > 4 THEN PREDICT('m', *) END AS p FROM t",
            "SELECT id, CASE WHEN a > 4 THEN a + b END AS p FROM t",
            12,
        ),
(
            "SELECT id, CASE WHEN a > 4 THEN PREDICT('m', *) END AS p, PREDICT('m', *) AS q FROM t",
            "SELECT id, CASE WHEN a > 4 THEN a + b END AS p, a + b AS q FROM t",
            8,
        ),
(
            "SELECT id, CASE WHEN id > 0 THEN CASE WHEN id % 4 = 1 THEN PREDICT('i', 8 / (id % 4)) END END AS p FROM t",
            "SELECT id, CASE WHEN id % 4 = 1 THEN 8 END AS p FROM t",
            2,
        ),
(
            "SELECT id, CASE WHEN id % 4 = 0 THEN 0 WHEN 8 / (id % 4) = 8 THEN PREDICT('i', id) END AS p FROM t",
            "SELECT id, CASE WHEN id % 4 = 0 THEN 0 WHEN id % 4 = 1 THEN id END AS p FROM t",
            2,
        ),]).await;
}

#[tokio::test]
async fn conditions_and_filters_guard() {
    check(&[(
            "SELECT id FROM t WHERE k IS NOT NULL AND PREDICT('i', k) > 2",
            "SELECT id FROM t WHERE k > 2",
            4,
        ),
(
            "SELECT id FROM t WHERE PREDICT('i', k) > 2 AND k IS NOT NULL",
            "SELECT id FROM t WHERE k > 2",
            4,
        ),
(
            "SELECT id FROM t WHERE k IS NULL OR PREDICT('i', k) > 2",
            "SELECT id FROM t WHERE k IS NULL OR k > 2",
            4,
        ),
(
            "SELECT id, k IS NOT NULL AND PREDICT('i', k) > 2 AS p FROM t",
            "SELECT id, k IS NOT NULL AND k > 2 AS p FROM t",
            4,
        ),
(
            "SELECT id, NOT (k IS NULL OR PREDICT('i', k) > 2) AS p FROM t",
            "SELECT id, NOT (k IS NULL OR k > 2) AS p FROM t",
            4,
        ),
(
            "SELECT sum(PREDICT('i', k)) FILTER (WHERE k IS NOT NULL) AS p FROM t",
            "SELECT sum(k) AS p FROM t",
            4,
        ),
(
            "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND k IS NOT NULL AND PREDICT('i', k) > 2",
            "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND k > 2",
            4,
        ),
(
            "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND k IS NOT NULL AND PREDICT('i', k) > 2",
            "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND k > 2",
            4,
        ),
(
            "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND (u.id = 1 OR PREDICT('i', k) > 5)",
            "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND (u.id = 1 OR k > 5)",
            3,
        ),]).await;
}

#[tokio::test]
async fn without_a_guard_the_null_is_refused() {
    let pool = Pool::new();
    let error = pool.refusal("SELECT id, PREDICT('i', k) AS p FROM t").await;
    assert!(error.contains("NULL") && error.contains("'k'"), "{error}");
}

#[tokio::test]
async fn a_volatile_guard_is_asked_once() {
    let pool = Pool::new();
    let sql = "SELECT CASE WHEN random() < 0.5 THEN PREDICT('s', a) ELSE -1 END AS p FROM t";
    for _ in 0..20 {
        let answer = pool.run(sql).await.unwrap();
        assert!(
            answer
                .rows
                .iter()
                .all(|row| row.chars().any(|c| c.is_ascii_digit())),
            "{:?}\n{}",
            answer.rows,
            answer.plan
        );
    }
}
