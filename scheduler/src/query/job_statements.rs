//! SQL about score jobs: they are shown, cancelled and resumed by statements as they are by the command line.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode, v1};

use super::Runner;
use crate::session::Session;

/// A wish about one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobStatement {
    id: ScoreJobId,
    wish: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Cancel,
    Resume,
}

/// What a statement about jobs is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    One(JobStatement),
    /// All of them, by this query.
    Show(&'static str),
}

/// The statement, if it is one about jobs.
pub(super) fn read(sql: &str) -> Option<Result<Read, Error>> {
    let mut tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().ok()?;
    tokens.retain(|token| !matches!(token, Token::Whitespace(_) | Token::SemiColon | Token::EOF));
    let is = |token: &Token, word: &str| matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
    let wish = match tokens.as_slice() {
        [show, jobs] if is(show, "SHOW") && is(jobs, "JOBS") => {
            return Some(Ok(Read::Show("SELECT * FROM information_schema.jobs")));
        }
        [cancel, job, ..] if is(cancel, "CANCEL") && is(job, "JOB") => Wish::Cancel,
        [resume, job, ..] if is(resume, "RESUME") && is(job, "JOB") => Wish::Resume,
        _ => return None,
    };
    let id = match tokens.get(2..) {
        Some([Token::SingleQuotedString(id)]) => id.parse::<ScoreJobId>(),
        _ => Err(Error::new(
            ErrorCode::Invalid,
            "expected a job's id in single quotes",
        )),
    };
    let hint = match wish {
        Wish::Cancel => "write CANCEL JOB 'id'; SHOW JOBS has the ids",
        Wish::Resume => "write RESUME JOB 'id'; SHOW JOBS has the ids",
    };
    Some(
        id.map(|id| Read::One(JobStatement { id, wish }))
            .map_err(|error| error.with_hint(hint)),
    )
}

impl Runner {
    /// Does what is wished, where the job is one of the caller's.
    pub(super) async fn change_job(
        &self,
        session: &Session,
        statement: JobStatement,
    ) -> Result<v1::JobStatus, Error> {
        let jobs = self.jobs()?;
        let JobStatement { id, wish } = statement;
        jobs.get_for(session.caller(), &id)?;
        let job = match wish {
            Wish::Cancel => jobs.cancel(&id).await?,
            Wish::Resume => jobs.resume(&id).await?,
        };
        Ok(job.as_ref().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_jobs_are_told_from_all_others() {
        assert!(matches!(read("show jobs;"), Some(Ok(Read::Show(_)))));
        let Some(Ok(Read::One(one))) = read(" Cancel JOB 'j1' ;") else {
            panic!("it is a cancel");
        };
        assert_eq!((one.id.as_str(), one.wish), ("j1", Wish::Cancel));
        for wrong in [
            "CANCEL JOB",
            "CANCEL JOB x",
            "RESUME JOB 'a' 'b'",
            "RESUME JOB '../x'",
        ] {
            assert!(matches!(read(wrong), Some(Err(_))), "{wrong}");
        }
        for other in ["SELECT 1", "SHOW TABLES", "CANCEL", "SHOW \"JOBS\""] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
