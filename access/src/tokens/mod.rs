//! The file of tokens: who holds one and what each may do, without the tokens themselves.
//!
//! One token a line, `NAME ROLE sha256:HEX [expires=2027-01-31]`; `#` begins a comment. The file is looked at again while the
//! pool runs, so that a token is given or taken by writing a line. A file that is broken at the start stops the start; one that
//! breaks later changes nothing, so that a slip of the pen shuts nobody out.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::{Instant, MissedTickBehavior};
use whimbrel_proto::{Error, ErrorCode};

use crate::clock;
use crate::date::Date;
use crate::digest::{self, Hash};
use crate::file::{self, Stamp};
use crate::role::{Caller, Role};

const WHAT: &str = "the file of tokens";
const FORM: &str = "a line is NAME ROLE sha256:HEX [expires=2027-01-31]";
const PREFIX: &str = "whim_";
const MAX_NAME: usize = 128;
/// A file is not looked at more often, however many callers come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One line of the file.
#[derive(Clone, PartialEq, Eq)]
struct Line {
    name: String,
    role: Role,
    hash: Hash,
    /// The token counts no more from the first second of this day.
    expires: Option<Date>,
}

struct State {
    lines: Arc<Vec<Line>>,
    stamp: Option<Stamp>,
    looked: Instant,
    /// The last failure that was logged, so that it is logged once.
    told: Option<String>,
}

/// The tokens of a file, as it is now.
pub struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl TokenFile {
    /// Reads the file; an error names the line and what is wrong with it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let stamp = Stamp::of(&path);
        let lines = Arc::new(read(&path)?);
        let state = Mutex::new(State {
            lines,
            stamp,
            looked: clock::monotonic(),
            told: None,
        });
        Ok(Self { path, state })
    }

    /// Whose token this is; nothing where it is nobody's.
    pub fn identify(&self, token: &str, now_unix: u64) -> Result<Option<Caller>, Error> {
        self.look(clock::monotonic());
        let lines = Arc::clone(&self.state().lines);
        let hash = digest::hash(token.as_bytes());
        let found = lines.iter().fold(None, |found, line| {
            if digest::same(&line.hash, &hash) {
                Some(line)
            } else {
                found
            }
        });
        let Some(line) = found else { return Ok(None) };
        let expires = line.expires.map(Date::unix);
        if let (Some(day), Some(second)) = (line.expires, expires)
            && now_unix >= second
        {
            return Err(Error::new(
                ErrorCode::Unauthenticated,
                format!("the token of {} expired on {day}", line.name),
            )
            .with_hint("ask whoever runs the pool for a new one"));
        }
        Ok(Some(Caller {
            user: line.name.clone(),
            role: line.role,
            expires,
        }))
    }

    /// Never returns: reads the file again whenever it has changed, also while nobody calls.
    pub async fn follow(&self) {
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(clock::monotonic());
        }
    }

    /// Reads the file again if it has changed since, and it was not looked at just before.
    fn look(&self, now: Instant) {
        let mut state = self.state();
        if now.duration_since(state.looked) < LOOK_AGAIN {
            return;
        }
        state.looked = now;
        let stamp = Stamp::of(&self.path);
        if let (Some(now), Some(before)) = (&stamp, &state.stamp)
            && now.is_still(before)
        {
            return;
        }
        match read(&self.path) {
            Ok(lines) => {
                if lines != *state.lines {
                    let tokens = lines.len();
                    tracing::info!(path = %self.path.display(), tokens, "the file of tokens is new");
                    state.lines = Arc::new(lines);
                }
                state.stamp = stamp;
                state.told = None;
            }
            Err(error) => {
                let text = error.to_string();
                if state.told.as_ref() != Some(&text) {
                    tracing::warn!(error = %text, "the file of tokens stays as it was read before");
                    state.told = Some(text);
                }
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Vec<Line>, Error> {
    let broken = |place: usize, why: String| {
        let place = format!("{WHAT} '{}', line {place}: {why}", path.display());
        Error::new(ErrorCode::Invalid, place).with_hint(FORM)
    };
    let bytes = file::read(path, WHAT)?;
    let (mut lines, mut names, mut hashes) = (Vec::new(), HashSet::new(), HashSet::new());
    for (place, text) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let text = std::str::from_utf8(text)
            .map_err(|_| broken(place + 1, "it is not UTF-8 text".to_owned()))?;
        let Some(line) = parse(text).map_err(|why| broken(place + 1, why))? else {
            continue;
        };
        if !names.insert(line.name.clone()) {
            let why = format!("'{}' has a token already", line.name);
            return Err(broken(place + 1, why));
        }
        if !hashes.insert(line.hash) {
            let why = format!("the token of '{}' is in another line already", line.name);
            return Err(broken(place + 1, why));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Nothing for a blank line. A reason never repeats the line: it may hold a token by mistake.
fn parse(text: &str) -> Result<Option<Line>, String> {
    let text = text.split('#').next().unwrap_or_default();
    let mut words = text.split_whitespace();
    let Some(name) = words.next() else {
        return Ok(None);
    };
    if !is_name(name) {
        return Err(NAMES.to_owned());
    }
    let role = words.next().ok_or("the role is missing")?;
    let role: Role = role
        .parse()
        .map_err(|_| "the second word is not a role: reader, scorer or operator")?;
    let hash = words.next().ok_or("the hash of the token is missing")?;
    let hash = hash
        .strip_prefix("sha256:")
        .and_then(digest::from_hex)
        .ok_or("the third word is not sha256: and 64 hex digits")?;
    let mut expires = None;
    if let Some(word) = words.next() {
        let day = word
            .strip_prefix("expires=")
            .ok_or("the fourth word is not expires=2027-01-31")?;
        expires = Some(Date::parse(day).ok_or("expires= does not name a day such as 2027-01-31")?);
    }
    match words.next() {
        Some(_) => Err("there are too many words".to_owned()),
        None => Ok(Some(Line {
            name: name.to_owned(),
            role,
            hash,
            expires,
        })),
    }
}

const NAMES: &str = "a name is 1 to 128 letters, digits, dots, dashes, underscores and @";

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_@".contains(c))
}

/// A new token of `name`, and its line for the file. The token is shown once, to whoever asked for it, and kept nowhere.
pub fn new_token(name: &str, role: Role, random: [u8; 32]) -> Result<(String, String), Error> {
    if !is_name(name) {
        return Err(Error::new(
            ErrorCode::Invalid,
            "this is not a name for the holder of a token",
        )
        .with_hint(NAMES));
    }
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = digest::to_hex(&digest::hash(token.as_bytes()));
    Ok((token, format!("{name} {role} sha256:{hash}")))
}

/// Whether the line is one that a file of tokens may have.
pub fn check_line(line: &str) -> Result<(), Error> {
    match parse(line) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::new(ErrorCode::Invalid, why).with_hint(FORM)),
    }
}

#[cfg(test)]
mod tests;
