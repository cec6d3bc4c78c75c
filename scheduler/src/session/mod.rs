//! Client sessions: settings, views and prepared statements of one client, over the pool's one catalog. They are memory, and
//! forgotten when they have not been used for a while.
//!
//! A temporary view is kept as its statement and planned again each time it is used, so it never carries the schema of a model
//! that has been bound anew since.

mod lists;
mod planner;
mod schema;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datafusion::common::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use tokio_util::sync::CancellationToken;
use whimbrel_access::Caller;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::Clock;

pub(crate) use planner::{SessionPlanner, one_statement};

/// Views and prepared statements that one session may have.
const LIMIT: usize = 1000;
/// Bytes of bound values that one session may have.
const BOUND_BYTES: usize = 64 << 20;
/// Sessions at a time.
const SESSIONS: usize = 10_000;

/// A view by its `CREATE VIEW` statement.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) statement: Statement,
}

/// Whose a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewKind {
    Pool,
    Temporary,
}

/// Whose view the statement makes; `None` where it makes none.
pub(crate) fn view_kind(statement: &Statement) -> Option<ViewKind> {
    let Statement::Statement(ast) = statement else {
        return None;
    };
    match ast.as_ref() {
        Ast::CreateView(view) if view.temporary => Some(ViewKind::Temporary),
        Ast::CreateView(_) => Some(ViewKind::Pool),
        _ => None,
    }
}

/// A prepared statement: its text, and the rows of values that were bound last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) sql: String,
    pub(crate) rows: Vec<Vec<ScalarValue>>,
    pub(crate) bytes: usize,
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    caller: Caller,
    closed: CancellationToken,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    settings: BTreeMap<String, String>,
    views: BTreeMap<String, View>,
    prepared: HashMap<String, Prepared>,
    used: Duration,
}

impl Session {
    /// A session that no client has.
    pub(crate) fn alone(id: &str) -> Arc<Self> {
        Arc::new(Self::new(id, Caller::anybody()))
    }

    fn new(id: &str, caller: Caller) -> Self {
        Self {
            id: id.to_owned(),
            caller,
            closed: CancellationToken::new(),
            facts: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Ends with the session's end.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Whose it is.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn settings(&self) -> BTreeMap<String, String> {
        self.lock().settings.clone()
    }

    pub(crate) fn set(&self, key: String, value: String) {
        self.lock().settings.insert(key, value);
    }

    pub(crate) fn reset(&self, key: &str) {
        self.lock().settings.remove(key);
    }

    pub(crate) fn views(&self) -> BTreeMap<String, View> {
        self.lock().views.clone()
    }

    pub(crate) fn has_view(&self, name: &str) -> bool {
        self.lock().views.contains_key(name)
    }

    pub(crate) fn add_view(&self, name: String, view: View) -> Result<(), Error> {
        let mut facts = self.lock();
        if facts.views.len() >= LIMIT && !facts.views.contains_key(&name) {
            return Err(too_many("views"));
        }
        facts.views.insert(name, view);
        Ok(())
    }

    pub(crate) fn drop_view(&self, name: &str) -> bool {
        self.lock().views.remove(name).is_some()
    }

    pub(crate) fn prepare(&self, handle: String, sql: String) -> Result<(), Error> {
        let mut facts = self.lock();
        if facts.prepared.len() >= LIMIT {
            return Err(too_many("prepared statements"));
        }
        let fresh = Prepared {
            sql,
            ..Prepared::default()
        };
        facts.prepared.insert(handle, fresh);
        Ok(())
    }

    pub(crate) fn prepared(&self, handle: &str) -> Result<Prepared, Error> {
        let facts = self.lock();
        facts.prepared.get(handle).cloned().ok_or_else(unprepared)
    }

    /// Binds values to the parameters of a prepared statement, in the place of those that were bound before.
    pub(crate) fn bind(&self, handle: &str, rows: Vec<Vec<ScalarValue>>) -> Result<(), Error> {
        let bytes = rows.iter().flatten().map(ScalarValue::size).sum();
        let mut facts = self.lock();
        let others = facts.prepared.iter().filter(|(name, _)| *name != handle);
        let held: usize = others.map(|(_, prepared)| prepared.bytes).sum();
        if held + bytes > BOUND_BYTES {
            let text = "the values that are bound in this session take more than 64 MiB";
            return Err(Error::new(ErrorCode::Exhausted, text)
                .with_hint("bind fewer at a time, and close statements that are not used"));
        }
        let prepared = facts.prepared.get_mut(handle).ok_or_else(unprepared)?;
        (prepared.rows, prepared.bytes) = (rows, bytes);
        Ok(())
    }

    pub(crate) fn unprepare(&self, handle: &str) {
        self.lock().prepared.remove(handle);
    }
}

fn unprepared() -> Error {
    Error::new(
        ErrorCode::NotFound,
        "the prepared statement does not exist in this session",
    )
    .with_hint("prepare it again; a session that is not used for a while is forgotten")
}

fn too_many(what: &str) -> Error {
    Error::new(
        ErrorCode::Exhausted,
        format!("the session has {LIMIT} {what}"),
    )
    .with_hint("drop some, or open a new session")
}

/// All sessions, by what their clients are known by.
#[derive(Debug)]
pub(crate) struct Sessions {
    clock: Arc<dyn Clock>,
    ttl: Duration,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new(clock: Arc<dyn Clock>, ttl: Duration) -> Self {
        Self {
            clock,
            ttl,
            sessions: Mutex::new(HashMap::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client's session; a new one where it has none.
    pub(crate) fn open(&self, id: &str, caller: &Caller) -> Result<Arc<Session>, Error> {
        let mut sessions = self.lock();
        let now = self.clock.monotonic();
        let known = sessions
            .get(id)
            .filter(|known| known.caller.user == caller.user);
        let session = match known {
            Some(known) if known.caller.role == caller.role => Arc::clone(known),
            // The same user with another role: what was kept goes on, under what the caller may now.
            Some(known) => Arc::new(Session {
                facts: Mutex::new(std::mem::take(&mut *known.lock())),
                ..Session::new(id, caller.clone())
            }),
            None if sessions.len() >= SESSIONS => {
                return Err(Error::new(
                    ErrorCode::Exhausted,
                    format!("the pool has {SESSIONS} open sessions"),
                )
                .with_hint("close sessions that are not used, or try again later"));
            }
            None => Arc::new(Session::new(id, caller.clone())),
        };
        session.lock().used = now;
        sessions.insert(id.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    /// Ends a session; nothing happens where there is none.
    pub(crate) fn close(&self, id: &str) {
        if let Some(session) = self.lock().remove(id) {
            session.closed.cancel();
        }
    }

    /// Forgets the sessions that nobody has used for the time they are kept.
    pub(crate) fn sweep(&self) {
        let now = self.clock.monotonic();
        self.lock()
            // A statement that still runs holds its session.
            .retain(|_, session| {
                Arc::strong_count(session) > 1
                    || now.saturating_sub(session.lock().used) <= self.ttl
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn anybody() -> Caller {
        Caller::anybody()
    }

    #[test]
    fn a_session_lasts_as_long_as_it_is_used() {
        let clock = ManualClock::shared();
        let sessions = Sessions::new(clock.clone(), Duration::from_secs(10));
        sessions
            .open("a", &anybody())
            .unwrap()
            .set("k".to_owned(), "v".to_owned());
        clock.advance(Duration::from_secs(8));
        assert_eq!(sessions.open("a", &anybody()).unwrap().settings().len(), 1);
        clock.advance(Duration::from_secs(8));
        sessions.sweep();
        assert_eq!(
            sessions.open("a", &anybody()).unwrap().settings().len(),
            1,
            "it was used in between"
        );
        clock.advance(Duration::from_secs(11));
        sessions.sweep();
        assert!(
            sessions
                .open("a", &anybody())
                .unwrap()
                .settings()
                .is_empty()
        );
    }
}
