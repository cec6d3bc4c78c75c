//! Lists, positions, defaults and dates on their way into a model.

use super::harness::{Pool, line};

/// Each question has one row and one column.
async fn answers(cases: &[(&str, &str)]) {
    let pool = Pool::new();
    for (sql, wanted) in cases {
        match pool.run(sql).await {
            Ok(answer) => assert_eq!(
                answer.rows,
                [format!("|{wanted}|")],
                "{sql}\n{}",
                answer.plan
            ),
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_column_of_lists_feeds_a_whole_matrix_and_so_do_columns() {
    let lists = "(SELECT id, make_array(a, b) AS v, zone FROM t WHERE id = 3) AS q";
    answers(&[
        (&format!("SELECT PREDICT('matrix', *) FROM {lists}"), "33.0"),
        (&format!("SELECT PREDICT('matrix', v) FROM {lists}"), "33.0"),
        (
            "SELECT PREDICT('matrix', make_array(a, b)) FROM t WHERE id = 3",
            "33.0",
        ),
        ("SELECT PREDICT('matrix', a, b) FROM t WHERE id = 3", "33.0"),
        (
            &format!(
                "SELECT PREDICT('matrix', *) FROM (SELECT v AS embedding, id FROM {lists}) AS r"
            ),
            "33.0",
        ),
        (
            "SELECT PREDICT('ordered', a, b) FROM t WHERE id = 3",
            "33.0",
        ),
    ])
    .await;
}

#[tokio::test]
async fn defaults_stand_for_nulls_and_for_optional_columns() {
    answers(&[
        ("SELECT PREDICT('optional', *) FROM t WHERE id = 3", "1006.0"),
        ("SELECT PREDICT('optional', *) FROM t WHERE id = 4", "1054.0"),
        ("SELECT PREDICT('optional', NULL, k, id) FROM t WHERE id = 4", "154.0"),
        ("SELECT PREDICT('optional', *) FROM (SELECT a, k, id AS bonus FROM t WHERE id = 3) AS q", "9.0"),
        (
            "SELECT PREDICT('seconds', CAST('1970-01-02T00:00:01' AS TIMESTAMP)) FROM t WHERE id = 1",
            "86401.0",
        ),
    ])
    .await;
    let pool = Pool::new();
    let plan = pool
        .run("EXPLAIN SELECT PREDICT('optional', *) FROM t")
        .await
        .unwrap()
        .rows
        .join("\n");
    assert!(plan.contains("bonus ← Int64(1000) (absent)"), "{plan}");
}

#[tokio::test]
async fn wrong_shapes_are_refused_with_what_would_be_right() {
    let pool = Pool::new();
    let lists = "(SELECT id, make_array(a, b, id) AS v, zone FROM t) AS q";
    for (sql, wanted) in [
        (
            format!("SELECT PREDICT('matrix', v) FROM {lists} WHERE id = 2"),
            "PREDICT('matrix'): input 'v' takes a list of 2 float64, and a list of 3 where 2 are needed is in row 1 of \
             partition 0; filter such rows out, or cut and fill their lists",
        ),
        (
            "SELECT PREDICT('matrix', make_array(zone, zone)) FROM t".to_owned(),
            "PREDICT('matrix', ...): make_array(t.zone, t.zone) is list of text, and input 'v' takes a list of 2 float64; \
             give a list, or lists of lists as deep as the input, of values that become float64",
        ),
        (
            "SELECT PREDICT('s', make_array(a)) FROM t".to_owned(),
            "PREDICT('s', ...): make_array(t.a) is list of float64, and input 'a' takes float64; take one value of it, \
             such as make_array(t.a)[1]",
        ),
        (
            "SELECT PREDICT('s', CAST('2024-01-31' AS DATE)) FROM t".to_owned(),
            "PREDICT('s', ...): CAST(Utf8(\"2024-01-31\") AS Date32) is date32, and input 'a' takes float64; say the unit \
             since 1970 that the model was trained on, by binding it with the option datetime (days, seconds, \
             milliseconds, microseconds or nanoseconds)",
        ),
        (
            "SELECT PREDICT('ordered', a) FROM t".to_owned(),
            "PREDICT('ordered', ...): the model takes 2 inputs, and 1 are given; 'b' missing; its inputs are 'b', 'a', in \
             this order",
        ),
        (
            "SELECT PREDICT('optional', *) FROM (SELECT a, id FROM t) AS q".to_owned(),
            "PREDICT('optional', *): there is no column 'k' for the model; the columns are q.a, q.id",
        ),
    ] {
        let error = pool.run(&sql).await;
        let error = match error {
            Ok(answer) => panic!("{sql}: {:?}", answer.rows),
            Err(error) => line(&error),
        };
        let plain = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(plain, wanted, "{sql}");
    }
}
