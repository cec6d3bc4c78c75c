//! A model of several outputs: the whole prediction, one part of it, and several parts of one run.

use super::harness::{Pool, line};

#[tokio::test]
async fn a_prediction_of_several_outputs_is_a_struct_and_each_part_can_be_asked_for() {
    let pool = Pool::new();
    let cases = [
        // What is asked, what it gives for a = 3, and the type of what the model answers.
        (
            "PREDICT('three', a)",
            "{label: 3, scores: [6.0], margin: 9.0}",
        ),
        ("PREDICT('three', *)['margin']", "9.0"),
        ("PREDICT('three', *)['LABEL']", "3"),
        ("PREDICT('three', *)['scores']", "[6.0]"),
        ("PREDICT('three', *)['scores'][1] + 1", "7.0"),
        ("(PREDICT('three', *))['scores'][1]", "6.0"),
        (
            "PREDICT('three', *)['margin'] > PREDICT('three', *)['label']",
            "true",
        ),
        (
            "CASE WHEN PREDICT('three', *)['label'] = 3 THEN PREDICT('three', *)['margin'] END",
            "9.0",
        ),
        ("avg(PREDICT('three', *)['margin'])", "9.0"),
    ];
    for (asked, wanted) in cases {
        let answer = pool
            .run(&format!("SELECT {asked} AS p FROM t WHERE id = 3"))
            .await
            .unwrap_or_else(|error| panic!("{asked}: {}", error));
        assert_eq!(answer.rows, [format!("|{wanted}|")], "{asked}");
        assert_eq!(
            (answer.nodes, answer.scored),
            (1, 1),
            "{asked}\n{}",
            answer.plan
        );
    }
}

#[tokio::test]
async fn parts_of_one_call_share_one_run_wherever_they_stand() {
    for pool in [Pool::new(), Pool::distributed()] {
        let sql = "SELECT id, PREDICT('three', *)['label'] AS label, PREDICT('three', *)['margin'] AS margin \
                   FROM t WHERE PREDICT('three', *)['scores'][1] > 10 ORDER BY PREDICT('three', *)['margin'] DESC";
        let answer = pool.run(sql).await.unwrap();
        assert_eq!(answer.rows, ["|8|8|24.0|", "|7|7|21.0|", "|6|6|18.0|"]);
        assert_eq!(answer.names, ["id", "label", "margin"]);
        assert_eq!((answer.nodes, answer.scored), (1, 8), "{}", answer.plan);
        let sql = "SELECT PREDICT('three', *), PREDICT('three', *)['label'] FROM t WHERE id = 1";
        let answer = pool.run(sql).await.unwrap();
        assert_eq!(answer.rows, ["|{label: 1, scores: [2.0], margin: 3.0}|1|"]);
        assert_eq!(
            answer.names,
            ["predict('three', *)", "predict('three', *)['label']"]
        );
        assert_eq!((answer.nodes, answer.scored), (1, 1), "{}", answer.plan);
    }
}

#[tokio::test]
async fn a_part_alone_is_all_that_is_read() {
    let pool = Pool::new();
    let plan = pool
        .plan("SELECT PREDICT('three', *)['margin'] FROM t")
        .await
        .unwrap();
    let plan = pool.ctx.state().optimize(&plan).unwrap();
    let value = plan.schema().field(0);
    assert_eq!(
        (
            value.name().as_str(),
            value.data_type().to_string().as_str()
        ),
        ("predict('three', *)['margin']", "Float64")
    );
    assert!(
        !plan.display_indent().to_string().contains("get_field"),
        "{}",
        plan.display_indent()
    );
}

#[tokio::test]
async fn a_name_that_is_no_output_is_refused_with_the_outputs() {
    let pool = Pool::new();
    for (sql, wanted) in [
        (
            "SELECT PREDICT('three', *)['scroes'] FROM t",
            "PREDICT('three', ...)['scroes']: the model has no output 'scroes'; did you mean 'scores'? its outputs are \
             'label', 'scores', 'margin'",
        ),
        (
            "SELECT PREDICT('m', *)['label'] FROM t",
            "PREDICT('m', ...)['label']: the model has no output 'label'; its outputs are 'variable'",
        ),
    ] {
        assert_eq!(line(&pool.run(sql).await.unwrap_err()), wanted);
    }
}
