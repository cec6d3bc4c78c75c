//! Every kind of statement and every call of our own, as each role: whoever may not is refused with the right code, and nothing
//! has happened; whoever may is not.

use anyhow::{Context, Result, ensure};
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use tonic::Code;
use whimbrel::ErrorCode;
use whimbrel_access::Role;
use whimbrel_proto::v1::{AddTableRequest, BindModelRequest, Link, SubmitJobRequest};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::flight::{Answer, Visitor, code, refused, statement};
use whimbrel_tests::furnished::{People, Person, at};
use whimbrel_tests::jobs::say;
use whimbrel_tests::pool::Asker;

const DENIED: [Code; 1] = [Code::PermissionDenied];

/// A statement, the role that it needs, and the statements that come before; `{}` is another word each time.
struct Case {
    needs: Role,
    before: Vec<String>,
    sql: String,
}

fn case(needs: Role, before: &str, sql: &str) -> Case {
    Case {
        needs,
        before: before.split_terminator("; ").map(str::to_owned).collect(),
        sql: sql.to_owned(),
    }
}

/// Every kind of statement.
fn cases(cluster: &Cluster, datasets: &Datasets) -> Result<Vec<Case>> {
    use Role::{Reader, Scorer};
    let model = data::model("fare")?;
    let model = model.display();
    let table = datasets.trips.display();
    let out = cluster.folder().join("out");
    let out = out.display();
    let rows = "SELECT trip_id, PREDICT('fare', *) AS p FROM trips WHERE trip_id < 5";
    let create_model = format!("CREATE MODEL m{{}} FROM '{model}'");
    let create_table = format!("CREATE EXTERNAL TABLE t{{}} STORED AS PARQUET LOCATION '{table}'");
    let create_view = "CREATE VIEW v{} AS SELECT trip_id FROM trips";
    let copy = format!("COPY ({rows}) TO '{out}-{{}}' STORED AS PARQUET");
    let inserted = format!(
        "COPY ({rows}) TO '{out}-i{{}}' STORED AS PARQUET; \
         CREATE EXTERNAL TABLE i{{}} STORED AS PARQUET LOCATION '{out}-i{{}}/'"
    );
    Ok(vec![
        case(Reader, "", "SELECT 1"),
        case(Reader, "", rows),
        case(Reader, "", "VALUES (1), (2)"),
        case(
            Reader,
            "",
            "WITH w AS (SELECT 1 AS a) SELECT a FROM w UNION ALL SELECT 2",
        ),
        case(Reader, "", "EXPLAIN SELECT PREDICT('fare', *) FROM trips"),
        case(Reader, "", "SHOW TABLES"),
        case(Reader, "", "SHOW MODELS"),
        case(Reader, "", "DESCRIBE trips"),
        case(Reader, "", "DESCRIBE MODEL fare"),
        case(Reader, "", "CHECK MODEL fare ON trips SAMPLE 10"),
        case(Reader, "", "SELECT * FROM information_schema.models"),
        case(Reader, "", "SELECT * FROM information_schema.columns"),
        case(Reader, "", "SET datafusion.execution.batch_size = 4096"),
        case(Reader, "", "RESET datafusion.execution.batch_size"),
        case(
            Reader,
            "",
            "CREATE OR REPLACE TEMPORARY VIEW mine AS SELECT trip_id FROM trips",
        ),
        case(Scorer, "", &create_model),
        case(
            Scorer,
            "",
            &format!("CREATE OR REPLACE MODEL m{{}} FROM '{model}'"),
        ),
        case(
            Scorer,
            "",
            &format!("CREATE MODEL IF NOT EXISTS m{{}} FROM '{model}'"),
        ),
        case(Scorer, &create_model, "DROP MODEL m{}"),
        case(Scorer, "", "DROP MODEL IF EXISTS m{}"),
        case(Scorer, "", &create_table),
        case(Scorer, &create_table, "DROP TABLE t{}"),
        case(Scorer, "", create_view),
        case(
            Scorer,
            "",
            "CREATE OR REPLACE VIEW v{} AS SELECT trip_id FROM trips",
        ),
        case(Scorer, create_view, "DROP VIEW v{}"),
        case(Scorer, "", &copy),
        case(Scorer, "", &format!("{copy} OPTIONS ('wait' 'false')")),
        case(Scorer, &inserted, &format!("INSERT INTO i{{}} {rows}")),
        case(Scorer, &inserted, &format!("INSERT OVERWRITE i{{}} {rows}")),
        // Whoever cannot do the statement is told so before whether there is such a job.
        case(Scorer, "", "CANCEL JOB '01a1fff11f68758f836b02e8249277e7'"),
        case(Scorer, "", "RESUME JOB '01a1fff11f68758f836b02e8249277e7'"),
    ])
}

/// The ways by which a statement comes in.
const WAYS: [&str; 5] = [
    "info",
    "poll",
    "update",
    "prepared query",
    "prepared update",
];

async fn send(visitor: &Visitor, token: &str, way: &str, sql: &str) -> Answer<()> {
    let prepared = async || {
        let mut client = FlightSqlServiceClient::new(visitor.channel());
        client.set_token(token.to_owned());
        client.prepare(sql.to_owned(), None).await
    };
    match way {
        "info" => visitor.info(sql).await.map(drop),
        "poll" => visitor
            .client()
            .poll_flight_info(statement(sql))
            .await
            .map(drop),
        "update" => visitor.update(sql).await.map(drop),
        // Refused when it is prepared, or when it is run.
        "prepared query" => prepared().await?.execute().await.map(drop),
        _ => prepared().await?.execute_update().await.map(drop),
    }
}

/// What the pool has.
async fn inventory(operator: &Visitor) -> Result<String> {
    let mut text = String::new();
    for sql in [
        "SELECT alias, digest FROM information_schema.models ORDER BY alias",
        "SELECT table_name, table_type FROM information_schema.tables ORDER BY table_name",
    ] {
        text += &pretty_format_batches(&operator.rows(sql).await?)?.to_string();
    }
    Ok(text)
}

fn is_denied(error: &FlightError) -> bool {
    matches!(code(error), Code::PermissionDenied | Code::Unauthenticated)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_as_every_role() -> Result<()> {
    let people = People::new()?;
    let (cluster, datasets) = people.pool(1, &[]).await?;
    let operator = at(&cluster, &people.operator).await?;
    let (mut denied, mut passed, mut wrong, mut word) = (0, 0, Vec::new(), 0);
    for case in cases(&cluster, &datasets)? {
        for person in people.of_each_role() {
            let visitor = at(&cluster, person).await?;
            for way in WAYS {
                word += 1;
                let word = word.to_string();
                for before in &case.before {
                    operator.update(&before.replace("{}", &word)).await?;
                }
                let due = person.role < case.needs;
                let before = if due {
                    inventory(&operator).await?
                } else {
                    String::new()
                };
                let sql = case.sql.replace("{}", &word);
                let answer = send(&visitor, &person.token, way, &sql).await;
                if due != answer.as_ref().err().is_some_and(is_denied) {
                    wrong.push(format!("{} by {way}: {sql}: {answer:?}", person.role));
                } else if due {
                    denied += 1;
                    refused(answer, &DENIED).with_context(|| sql.clone())?;
                    ensure!(
                        inventory(&operator).await? == before,
                        "refused, and done all the same: {sql}"
                    );
                } else {
                    passed += 1;
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} answers are wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    say(&format!("{denied} refused, {passed} let through"));
    ensure!(
        denied > 50 && passed > 150,
        "{denied} and {passed} are too few"
    );
    Ok(())
}

async fn ask_as(cluster: &Cluster, person: &Person) -> Result<Asker> {
    Asker::connect_as(cluster.address(), &person.token).await
}

/// The calls of our own that change something, each with the role that it needs, and whether this client is denied it.
async fn own_calls(asker: &Asker, datasets: &Datasets) -> Result<Vec<(&'static str, Role, bool)>> {
    fn denied<T>(answer: Result<T, whimbrel::Error>) -> bool {
        answer
            .err()
            .is_some_and(|error| error.code() == ErrorCode::Denied)
    }
    let client = &asker.0;
    let bind = BindModelRequest {
        alias: "own".to_owned(),
        uri: data::model("fare")?.to_string_lossy().into_owned(),
        ..Default::default()
    };
    let table = AddTableRequest {
        name: "own".to_owned(),
        uri: datasets.trips.to_string_lossy().into_owned(),
        ..Default::default()
    };
    let link = Link {
        name: "own".to_owned(),
        ..Default::default()
    };
    let job = "01a1fff11f68758f836b02e8249277e7".parse()?;
    Ok(vec![
        (
            "bind a model",
            Role::Scorer,
            denied(client.bind_model(bind).await),
        ),
        (
            "unbind a model",
            Role::Scorer,
            denied(client.unbind_model("own").await),
        ),
        (
            "add a table",
            Role::Scorer,
            denied(client.add_table(table).await),
        ),
        (
            "drop a table",
            Role::Scorer,
            denied(client.drop_table("own").await),
        ),
        (
            "submit a job",
            Role::Scorer,
            denied(client.submit_job(SubmitJobRequest::default()).await),
        ),
        (
            "cancel a job",
            Role::Scorer,
            denied(client.cancel_job(&job).await),
        ),
        (
            "resume a job",
            Role::Scorer,
            denied(client.resume_job(&job).await),
        ),
        (
            "add a link",
            Role::Operator,
            denied(client.add_link(link, false).await),
        ),
        (
            "remove a link",
            Role::Operator,
            denied(client.remove_link("own").await),
        ),
        (
            "list models",
            Role::Reader,
            denied(client.list_models().await),
        ),
        (
            "list tables",
            Role::Reader,
            denied(client.list_tables().await),
        ),
        (
            "the pool's status",
            Role::Reader,
            denied(client.pool_status().await),
        ),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_our_own_as_every_role() -> Result<()> {
    let people = People::new()?;
    let (cluster, datasets) = people.pool(1, &[]).await?;
    for person in people.of_each_role() {
        let asker = ask_as(&cluster, person).await?;
        for (call, needs, denied) in own_calls(&asker, &datasets).await? {
            let due = person.role < needs;
            ensure!(
                denied == due,
                "{}: to {call} was denied: {denied}",
                person.role
            );
        }
    }
    for (what, token) in [
        ("no token", ""),
        ("a wrong one", "wrong"),
        ("one that is over", &people.late.token),
    ] {
        let asker = Asker::connect_as(cluster.address(), token).await?;
        let error = asker.0.pool_status().await.err().context(what)?;
        ensure!(
            error.code() == ErrorCode::Unauthenticated,
            "{what}: {error}"
        );
    }
    Ok(())
}

/// A query is its user's: others neither poll nor end it, but operators do.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_ended_by_its_user_or_an_operator() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(1, &[]).await?;
    let reader = at(&cluster, &people.reader).await?;
    let slow = "SELECT sum(PREDICT('slow', *)) FROM trips";
    for (person, due) in [
        (&people.stranger, false),
        (&people.scorer, false),
        (&people.operator, true),
        (&people.reader, true),
    ] {
        let polled = reader.client().poll_flight_info(statement(slow)).await?;
        let info = polled.info.context("the info so far")?;
        let next = polled
            .flight_descriptor
            .context("the query is over: it proves nothing")?;
        let other = at(&cluster, person).await?;
        if !due {
            let poll = other.client().poll_flight_info(next.clone()).await;
            refused(poll, &[Code::PermissionDenied, Code::NotFound])
                .with_context(|| format!("{} polls", person.name))?;
        }
        let request = arrow_flight::CancelFlightInfoRequest::new(info.clone());
        let cancel = other.client().cancel_flight_info(request).await;
        if due {
            cancel.with_context(|| format!("{} cancels", person.name))?;
        } else {
            refused(cancel, &[Code::PermissionDenied, Code::NotFound])
                .with_context(|| format!("{} cancels", person.name))?;
            let own = arrow_flight::CancelFlightInfoRequest::new(info);
            reader.client().cancel_flight_info(own).await?;
        }
    }
    Ok(())
}
