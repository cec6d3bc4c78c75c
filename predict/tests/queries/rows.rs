//! Every place where an expression may stand: the rows are right, and no more nodes or rows are scored than must be.

use super::harness::{Pool, none};

/// (query, the same query without PREDICT, scoring nodes, rows scored)
type Case = (&'static str, &'static str, usize, usize);

async fn check(cases: &[Case]) {
    for pool in [Pool::new(), Pool::distributed()] {
        check_in(&pool, cases).await;
    }
}

async fn check_in(pool: &Pool, cases: &[Case]) {
    let mut differences = Vec::new();
    for (sql, twin, nodes, scored) in cases {
        differences.extend(pool.differs(sql, twin, Some(*nodes), *scored).await);
    }
    none(differences);
}

#[tokio::test]
async fn in_the_select_list() {
    check(&[
        ("SELECT id, PREDICT('m', *) AS p FROM t", "SELECT id, a + b AS p FROM t", 1, 8),
        ("SELECT predict('m', t.*) + 1, id FROM t", "SELECT a + b + 1, id FROM t", 1, 8),
        ("SELECT PREDICT('m', a, b) * 2 AS p, Predict('m', *) - a AS q FROM t", "SELECT (a + b) * 2 AS p, b AS q FROM t", 1, 8),
        ("SELECT *, PREDICT('m', *) FROM t", "SELECT *, a + b FROM t", 1, 8),
        ("SELECT PREDICT('m', b - 9 * a, a * 2) AS p FROM t", "SELECT b - 7 * a AS p FROM t", 1, 8),
        ("SELECT PREDICT('m', a, b) AS p, PREDICT('s', a) AS q FROM t", "SELECT a + b AS p, a AS q FROM t", 2, 16),
        ("SELECT PREDICT('m', 1, 2.5) AS p", "SELECT 3.5 AS p", 1, 1),
        ("SELECT PREDICT('m', PREDICT('s', a) + 0, b) AS p FROM t", "SELECT a + b AS p FROM t", 2, 16),
        ("SELECT DISTINCT PREDICT('m', a - a, b - b) AS p FROM t", "SELECT 0.0 AS p", 1, 8),
        ("SELECT abs(-PREDICT('m', *)) AS p FROM t WHERE id BETWEEN 2 AND 3", "SELECT a + b AS p FROM t WHERE id IN (2, 3)", 1, 2),
        ("SELECT PREDICT('m', *) AS p FROM (VALUES (1.0, 2.0), (3.0, 4.0)) AS v(a, b)", "VALUES (3.0), (7.0)", 1, 2),
        ("SELECT PREDICT('s', st['x']) AS p, st FROM (SELECT named_struct('x', a, 'y', b) AS st, id FROM t) WHERE st['y'] > 30", "SELECT a AS p, named_struct('x', a, 'y', b) AS st FROM t WHERE b > 30", 1, 5),
        ("SELECT unnest([id, 0]) AS i, PREDICT('m', *) AS p FROM t", "SELECT unnest([id, 0]) AS i, a + b AS p FROM t", 1, 8),
        ("SELECT PREDICT('m', *) AS p FROM t WHERE false", "SELECT a FROM t WHERE false", 0, 0),
        ("SELECT nullif(PREDICT('m', *), 22) AS p, PREDICT('m', *) IS NULL AS q FROM t", "SELECT nullif(a + b, 22) AS p, false AS q FROM t", 1, 8),
        ("SELECT CAST(PREDICT('m', *) AS INT) AS p FROM t", "SELECT CAST(a + b AS INT) AS p FROM t", 1, 8),
    ])
    .await;
}

#[tokio::test]
async fn in_where_and_having() {
    check(&[
        ("SELECT id FROM t WHERE PREDICT('m', *) > 33", "SELECT id FROM t WHERE a + b > 33", 1, 8),
        ("SELECT id, PREDICT('m', *) AS p FROM t WHERE PREDICT('m', *) > 33", "SELECT id, a + b AS p FROM t WHERE a + b > 33", 1, 8),
        ("SELECT id FROM t WHERE PREDICT('m', *) > 33 AND id < 6", "SELECT id FROM t WHERE a + b > 33 AND id < 6", 1, 5),
        (
            "SELECT id FROM t WHERE PREDICT('m', *) > 33 AND PREDICT('s', a) < 6 AND zone = 'q'",
            "SELECT id FROM t WHERE a + b > 33 AND a < 6 AND zone = 'q'",
            2,
            10,
        ),
        ("SELECT id FROM t WHERE NOT PREDICT('m', *) > 33", "SELECT id FROM t WHERE NOT a + b > 33", 1, 8),
        ("SELECT id FROM t WHERE PREDICT('m', *) BETWEEN 30 AND 50", "SELECT id FROM t WHERE a + b BETWEEN 30 AND 50", 1, 8),
        ("SELECT id FROM t WHERE PREDICT('m', *) IN (11, 22)", "SELECT id FROM t WHERE a + b IN (11, 22)", 1, 8),
        (
            "SELECT zone, avg(PREDICT('m', *)) AS p FROM t GROUP BY zone HAVING avg(PREDICT('m', *)) > 30",
            "SELECT zone, avg(a + b) AS p FROM t GROUP BY zone HAVING avg(a + b) > 30",
            1,
            8,
        ),
        (
            "SELECT a FROM t GROUP BY a HAVING PREDICT('s', a) > 3",
            "SELECT a FROM t GROUP BY a HAVING a > 3",
            1,
            8,
        ),
    ])
    .await;
}

#[tokio::test]
async fn in_groups_and_aggregates() {
    check(&[
        ("SELECT avg(PREDICT('m', *)) AS p FROM t", "SELECT avg(a + b) AS p FROM t", 1, 8),
        ("SELECT max(PREDICT('m', *)) - min(PREDICT('m', *)) AS p, count(*) FROM t", "SELECT max(a + b) - min(a + b) AS p, count(*) FROM t", 1, 8),
        ("SELECT PREDICT('m', *) AS p, count(*) FROM t GROUP BY PREDICT('m', *)", "SELECT a + b AS p, count(*) FROM t GROUP BY a + b", 1, 8),
        ("SELECT PREDICT('m', *) > 33 AS p, count(*) FROM t GROUP BY p", "SELECT a + b > 33 AS p, count(*) FROM t GROUP BY p", 1, 8),
        ("SELECT PREDICT('s', a % 2) AS p, count(*) FROM t GROUP BY 1", "SELECT a % 2 AS p, count(*) FROM t GROUP BY 1", 1, 8),
        ("SELECT count(DISTINCT PREDICT('s', a % 3)) AS p FROM t", "SELECT count(DISTINCT a % 3) AS p FROM t", 1, 8),
        (
            "SELECT sum(PREDICT('m', *)) FILTER (WHERE zone = 'p') AS p FROM t",
            "SELECT sum(a + b) FILTER (WHERE zone = 'p') AS p FROM t",
            1,
            3,
        ),
        (
            "SELECT sum(PREDICT('m', *)) FILTER (WHERE PREDICT('m', *) > 40) AS p FROM t",
            "SELECT sum(a + b) FILTER (WHERE a + b > 40) AS p FROM t",
            1,
            8,
        ),
        (
            "SELECT zone, PREDICT('s', a % 2) AS p, count(*) FROM t GROUP BY ROLLUP (zone, PREDICT('s', a % 2))",
            "SELECT zone, a % 2 AS p, count(*) FROM t GROUP BY ROLLUP (zone, a % 2)",
            1,
            8,
        ),
        (
            "SELECT zone, PREDICT('s', a % 2) AS p, count(*) FROM t GROUP BY GROUPING SETS ((zone), (PREDICT('s', a % 2)), ())",
            "SELECT zone, a % 2 AS p, count(*) FROM t GROUP BY GROUPING SETS ((zone), (a % 2), ())",
            1,
            8,
        ),
        ("SELECT PREDICT('s', sum(a)) AS p FROM t GROUP BY zone", "SELECT sum(a) AS p FROM t GROUP BY zone", 1, 2),
        (
            "SELECT array_agg(id ORDER BY PREDICT('m', *) DESC) AS p FROM t",
            "SELECT array_agg(id ORDER BY a + b DESC) AS p FROM t",
            1,
            8,
        ),
        ("SELECT a, b, PREDICT('m', *) AS p FROM t GROUP BY a, b", "SELECT a, b, a + b AS p FROM t", 1, 8),
    ])
    .await;
}

#[tokio::test]
async fn in_sorts_and_limits() {
    check(&[
        ("SELECT id FROM t ORDER BY PREDICT('m', *) DESC", "SELECT id FROM t ORDER BY id DESC", 1, 8),
        ("SELECT id, PREDICT('m', *) AS p FROM t ORDER BY PREDICT('m', *) DESC", "SELECT id, a + b AS p FROM t ORDER BY id DESC", 1, 8),
        ("SELECT id, PREDICT('m', *) AS p FROM t ORDER BY id DESC LIMIT 2", "SELECT id, a + b AS p FROM t ORDER BY id DESC LIMIT 2", 1, 2),
        ("SELECT PREDICT('m', *) AS p, zone AS z FROM t ORDER BY z, b DESC LIMIT 1 OFFSET 1", "SELECT a + b AS p, zone AS z FROM t ORDER BY z, b DESC LIMIT 1 OFFSET 1", 1, 1),
        ("SELECT id, PREDICT('m', *) AS p FROM t ORDER BY p DESC LIMIT 2", "SELECT id, a + b AS p FROM t ORDER BY id DESC LIMIT 2", 1, 8),
        ("SELECT id, PREDICT('m', a, b) AS p FROM t ORDER BY PREDICT('m', *) DESC", "SELECT id, a + b AS p FROM t ORDER BY id DESC", 1, 8),
        (
            "SELECT zone AS a FROM t ORDER BY PREDICT('m', *) DESC, t.id",
            "SELECT zone AS a FROM t ORDER BY id DESC",
            1,
            8,
        ),
        (
            "SELECT id, a + 0 AS b FROM t ORDER BY zone, -PREDICT('m', t.*)",
            "SELECT id, a + 0 AS b FROM t ORDER BY zone, -id",
            1,
            8,
        ),
        (
            "SELECT id FROM t WHERE PREDICT('m', *) > 33 ORDER BY PREDICT('m', *) DESC LIMIT 3",
            "SELECT id FROM t WHERE a + b > 33 ORDER BY id DESC LIMIT 3",
            1,
            8,
        ),
        (
            "SELECT zone, count(*) FROM t GROUP BY zone ORDER BY avg(PREDICT('m', *)) DESC",
            "SELECT zone, count(*) FROM t GROUP BY zone ORDER BY avg(a + b) DESC",
            1,
            8,
        ),
        ("SELECT id, sum(a) OVER (ORDER BY id) AS s FROM t ORDER BY PREDICT('m', *) DESC", "SELECT id, sum(a) OVER (ORDER BY id) AS s FROM t ORDER BY id DESC", 1, 8),
        ("SELECT DISTINCT a, b FROM t ORDER BY PREDICT('m', *) DESC", "SELECT DISTINCT a, b FROM t ORDER BY a DESC", 1, 8),
        ("SELECT DISTINCT PREDICT('m', *) AS p FROM t ORDER BY PREDICT('m', *) DESC", "SELECT a + b AS p FROM t ORDER BY p DESC", 1, 8),
        (
            "SELECT DISTINCT ON (zone) zone, PREDICT('m', *) AS p FROM t ORDER BY zone, PREDICT('m', *) DESC",
            "SELECT DISTINCT ON (zone) zone, a + b AS p FROM t ORDER BY zone, a + b DESC",
            1,
            8,
        ),
        (
            "SELECT a, b FROM t UNION ALL SELECT x, y FROM u ORDER BY PREDICT('m', *) DESC",
            "SELECT a, b FROM t UNION ALL SELECT x, y FROM u ORDER BY a + b DESC",
            1,
            13,
        ),
    ])
    .await;
}

#[tokio::test]
async fn in_windows() {
    check(&[
        (
            "SELECT id, sum(PREDICT('m', *)) OVER (PARTITION BY zone ORDER BY id) AS p FROM t",
            "SELECT id, sum(a + b) OVER (PARTITION BY zone ORDER BY id) AS p FROM t",
            1,
            8,
        ),
        (
            "SELECT id, row_number() OVER (ORDER BY PREDICT('m', *) DESC) AS r, PREDICT('m', *) AS p FROM t",
            "SELECT id, row_number() OVER (ORDER BY a + b DESC) AS r, a + b AS p FROM t",
            1,
            8,
        ),
        (
            "SELECT id FROM t QUALIFY row_number() OVER (PARTITION BY zone ORDER BY PREDICT('m', *) DESC) = 1",
            "SELECT id FROM t QUALIFY row_number() OVER (PARTITION BY zone ORDER BY a + b DESC) = 1",
            1,
            8,
        ),
        (
            "SELECT id, lag(PREDICT('m', *)) OVER (ORDER BY id) AS p FROM t",
            "SELECT id, lag(a + b) OVER (ORDER BY id) AS p FROM t",
            1,
            8,
        ),
        (
            "SELECT PREDICT('s', sum(a) OVER (PARTITION BY zone)) AS p FROM t",
            "SELECT sum(a) OVER (PARTITION BY zone) AS p FROM t",
            1,
            8,
        ),
    ])
    .await;
}

#[tokio::test]
async fn in_views() {
    for pool in [Pool::new(), Pool::distributed()] {
        for view in [
            "CREATE VIEW v AS SELECT *, PREDICT('m', *) AS p FROM t",
            "CREATE VIEW w AS SELECT *, a + b AS p FROM t",
        ] {
            let plan = pool.plan(view).await.unwrap();
            pool.ctx.execute_logical_plan(plan).await.unwrap();
        }
        check_in(&pool, VIEWS).await;
    }
}

const VIEWS: &[Case] = &[
    (
        "SELECT id, p FROM v WHERE p > 33",
        "SELECT id, p FROM w WHERE p > 33",
        1,
        8,
    ),
    (
        "SELECT id FROM v WHERE id < 3",
        "SELECT id FROM w WHERE id < 3",
        0,
        0,
    ),
    ("SELECT count(*) FROM v", "SELECT count(*) FROM w", 0, 0),
    (
        "SELECT id, p FROM v WHERE id < 3",
        "SELECT id, p FROM w WHERE id < 3",
        1,
        2,
    ),
    (
        "SELECT v.p, x.p AS q FROM v JOIN v AS x ON v.id = x.id",
        "SELECT v.p, x.p AS q FROM w AS v JOIN w AS x ON v.id = x.id",
        2,
        16,
    ),
];

#[tokio::test]
async fn in_subqueries() {
    check(&[(
            "SELECT id FROM t WHERE PREDICT('m', *) IN (SELECT x * 11 FROM u)",
            "SELECT id FROM t WHERE a IN (SELECT x FROM u)",
            1,
            8,
        ),
(
            "SELECT id FROM t WHERE a IN (SELECT PREDICT('xy', *) - 100 FROM u)",
            "SELECT id FROM t WHERE a IN (SELECT x FROM u)",
            1,
            5,
        ),
(
            "SELECT id FROM t WHERE PREDICT('m', *) NOT IN (SELECT PREDICT('xy', x * 11, 0) FROM u)",
            "SELECT id FROM t WHERE a NOT IN (SELECT x FROM u)",
            2,
            13,
        ),
(
            "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND PREDICT('xy', *) > 102)",
            "SELECT id FROM t WHERE id IN (3, 5, 7)",
            1,
            5,
        ),
(
            "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND PREDICT('s', t.a) > 2)",
            "SELECT id FROM t WHERE id NOT IN (3, 5, 7)",
            1,
            8,
        ),
(
            "SELECT id, (SELECT max(PREDICT('xy', *)) FROM u WHERE u.zone = t.zone) AS p FROM t",
            "SELECT id, (SELECT max(x + y) FROM u WHERE u.zone = t.zone) AS p FROM t",
            1,
            5,
        ),
(
            "SELECT id FROM t WHERE PREDICT('m', *) > (SELECT avg(PREDICT('m', *)) FROM t)",
            "SELECT id FROM t WHERE a + b > (SELECT avg(a + b) FROM t)",
            2,
            16,
        ),
(
            "SELECT PREDICT('s', (SELECT max(x) FROM u)) AS p FROM t",
            "SELECT (SELECT max(x) FROM u) AS p FROM t",
            1,
            8,
        ),
(
            "SELECT id FROM t WHERE id IN (SELECT u.id FROM u WHERE u.zone = t.zone AND PREDICT('xy', *) > 102)",
            "SELECT id FROM t WHERE id IN (3, 5, 7)",
            1,
            5,
        ),
(
            "SELECT id FROM t WHERE a > (SELECT avg(PREDICT('xy', x, 0)) FROM u WHERE u.zone = t.zone)",
            "SELECT id FROM t WHERE a > (SELECT avg(x) FROM u WHERE u.zone = t.zone)",
            1,
            5,
        ),]).await;
}

#[tokio::test]
async fn in_ctes_and_set_operations() {
    check(&[(
            "WITH s AS (SELECT id, PREDICT('m', *) AS p FROM t) SELECT p * 2 AS q FROM s WHERE p > 33",
            "SELECT (a + b) * 2 AS q FROM t WHERE a + b > 33",
            1,
            8,
        ),
(
            "SELECT id FROM (SELECT *, PREDICT('m', *) AS p FROM t) AS s WHERE PREDICT('m', a, b) > 33 AND p < 80",
            "SELECT id FROM t WHERE a + b > 33 AND a + b < 80",
            1,
            8,
        ),
(
            "SELECT PREDICT('m', *) AS p FROM t UNION ALL SELECT PREDICT('xy', *) FROM u",
            "SELECT a + b AS p FROM t UNION ALL SELECT x + y FROM u",
            2,
            13,
        ),
(
            "SELECT PREDICT('s', a) AS p FROM t UNION SELECT PREDICT('s', x) FROM u",
            "SELECT a AS p FROM t UNION SELECT x FROM u",
            2,
            13,
        ),
(
            "SELECT PREDICT('s', a) AS p FROM t INTERSECT SELECT PREDICT('s', x) FROM u",
            "SELECT a AS p FROM t INTERSECT SELECT x FROM u",
            2,
            13,
        ),
(
            "SELECT PREDICT('s', a) AS p FROM t EXCEPT SELECT PREDICT('s', x) FROM u",
            "SELECT a AS p FROM t EXCEPT SELECT x FROM u",
            2,
            13,
        ),
(
            "SELECT id FROM t WHERE PREDICT('m', *) > 33 UNION ALL SELECT id FROM t WHERE PREDICT('m', *) <= 33",
            "SELECT id FROM t",
            2,
            16,
        ),
(
            "WITH RECURSIVE r AS (SELECT 1.0 AS a UNION ALL SELECT PREDICT('s', a) + 1 FROM r WHERE a < 4) SELECT a FROM r",
            "VALUES (1.0), (2.0), (3.0), (4.0)",
            1,
            3,
        ),
(
            "SELECT p FROM (SELECT a, PREDICT('m', *) AS p FROM t LIMIT 3)",
            "SELECT a + b AS p FROM t LIMIT 3",
            1,
            3,
        ),]).await;
}

#[tokio::test]
async fn in_joins() {
    check(&[
        ("SELECT t.id FROM t JOIN u ON PREDICT('m', a, b) = u.x * 11", "SELECT t.id FROM t JOIN u ON a = u.x", 1, 8),
        ("SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND PREDICT('xy', x, y) > 102", "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND u.id > 2", 1, 5),
        ("SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND PREDICT('xy', x, y) > 102", "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND u.id > 2", 1, 5),
        ("SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND PREDICT('m', a, b) > 22", "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND t.id > 2", 1, 8),
        ("SELECT t.id, u.id FROM t FULL JOIN u ON t.id = u.id AND PREDICT('m', a, b) > 22", "SELECT t.id, u.id FROM t FULL JOIN u ON t.id = u.id AND t.id > 2", 1, 8),
        ("SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND PREDICT('m', a, y) > 102", "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id AND t.id > 2", 1, 4),
        ("SELECT t.id, PREDICT('m', a, y) AS p FROM t JOIN u ON t.id = u.id", "SELECT t.id, a + y AS p FROM t JOIN u ON t.id = u.id", 1, 4),
        (
            "SELECT t.id, PREDICT('xy', x, y) AS p FROM t JOIN u ON t.id = u.id AND PREDICT('xy', x, y) > 102",
            "SELECT t.id, x + y AS p FROM t JOIN u ON t.id = u.id AND u.id > 2",
            1,
            5,
        ),
        (
            "SELECT x.id FROM t AS x JOIN t AS y ON PREDICT('m', x.a, x.b) = PREDICT('m', y.a, y.b) AND y.id < 4",
            "SELECT id FROM t WHERE id < 4",
            2,
            11,
        ),
        ("SELECT PREDICT('m', x.*) AS p, PREDICT('m', y.*) AS q FROM t AS x JOIN t AS y ON x.id = y.id - 1", "SELECT a + b AS p, a + b + 11 AS q FROM t WHERE id < 8", 2, 14),
        ("SELECT PREDICT('xy', *) AS p FROM t JOIN u USING (id)", "SELECT x + y AS p FROM t JOIN u USING (id)", 1, 4),
        ("SELECT PREDICT('m', a, b) AS p, q.p AS r FROM t CROSS JOIN (SELECT PREDICT('xy', *) AS p FROM u) AS q", "SELECT a + b AS p, x + y AS r FROM t CROSS JOIN u", 2, 45),
        (
            "SELECT t.id, s.p FROM t, LATERAL (SELECT PREDICT('xy', x, y) AS p FROM u WHERE u.id = t.id) AS s",
            "SELECT t.id, x + y AS p FROM t JOIN u ON u.id = t.id",
            1,
            5,
        ),
        (
            "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND u.id > 3 AND PREDICT('xy', x, y) > 105",
            "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND u.id > 5",
            1,
            3,
        ),
        (
            "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND t.id > 6 AND PREDICT('m', a, b) > 0",
            "SELECT t.id, u.id FROM t LEFT JOIN u ON t.id = u.id AND t.id > 6",
            1,
            2,
        ),
        (
            "SELECT t.id FROM t LEFT JOIN u ON t.id = u.id WHERE PREDICT('xy', coalesce(x, 0), coalesce(y, 0)) > 102",
            "SELECT id FROM t WHERE id IN (3, 5, 7)",
            1,
            8,
        ),
    ])
    .await;
}
