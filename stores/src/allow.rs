//! Where a pool may read, and write its outputs. The answer is a pure function of the areas that the config names and of a place as it is once it is
//! understood; local paths have their links followed before they are asked about.

use std::path::Path as FilePath;
use std::sync::Arc;

use whimbrel_proto::{Error, ErrorCode};

use crate::area::{Area, real};
use crate::location::Location;
use crate::process::Process;
use crate::purpose::Purpose;

/// What stands in the config of a pool that is not embedded where nobody wrote it: object stores, and no local files.
pub const STORES_ONLY: [&str; 2] = ["s3://", "abfss://"];
/// What holds for an embedded pool, which reads with the rights of its own user.
pub const EVERYTHING: [&str; 3] = ["s3://", "abfss://", "file:///"];

/// Names more areas than this help nobody.
const SHOWN: usize = 4;

/// The areas that may be read and written.
#[derive(Clone, Debug)]
pub struct Allow {
    areas: Arc<[Area]>,
    process: Process,
}

impl Allow {
    /// The areas that `allow` of the config of `process` names.
    pub fn parse(list: &[String], process: Process) -> Result<Self, Error> {
        let areas: Result<Vec<Area>, Error> = list.iter().map(|text| Area::parse(text)).collect();
        let areas = areas.map_err(|error| {
            let told = Error::new(error.code(), format!("allow: {}", error.message()));
            match error.hint() {
                Some(hint) => told.with_hint(hint),
                None => told,
            }
        })?;
        Ok(Self {
            areas: areas.into(),
            process,
        })
    }

    /// Everything, as in an embedded pool.
    pub fn everything(process: Process) -> Self {
        let path = Vec::new;
        Self {
            areas: Arc::new([
                Area::S3 {
                    bucket: None,
                    path: path(),
                },
                Area::Azure {
                    account: None,
                    container: None,
                    path: path(),
                },
                Area::Local("/".into()),
            ]),
            process,
        }
    }

    /// Refuses a place in an object store that is in no area.
    pub fn check(&self, place: &Location, purpose: Purpose) -> Result<(), Error> {
        if self.areas.iter().any(|area| area.holds(place)) {
            return Ok(());
        }
        Err(self.refusal(&format!("'{place}'"), purpose))
    }

    /// Whether every local file may be read.
    pub fn any_file(&self) -> bool {
        self.areas
            .iter()
            .any(|area| area.holds_path(FilePath::new("/")))
    }

    /// Refuses a local path that leads outside of every area, by itself or by a link in it. A part with a wildcard is taken
    /// as a name: what it matches is asked about when it is opened.
    pub fn check_path(&self, path: &FilePath, purpose: Purpose) -> Result<(), Error> {
        if self.any_file() {
            return Ok(());
        }
        let real = real(path);
        if self.areas.iter().any(|area| area.holds_path(&real)) {
            return Ok(());
        }
        let via = match real == path {
            true => String::new(),
            false => format!(", which leads to '{}',", real.display()),
        };
        Err(self.refusal(&format!("'{}'{via}", path.display()), purpose))
    }

    fn refusal(&self, place: &str, purpose: Purpose) -> Error {
        let names: Vec<String> = self.areas.iter().take(SHOWN).map(Area::to_string).collect();
        let more = if self.areas.len() > SHOWN {
            ", ..."
        } else {
            ""
        };
        let may = match names.is_empty() {
            true => "nothing".to_owned(),
            false => format!("only {}{more}", names.join(", ")),
        };
        Error::new(
            ErrorCode::Denied,
            format!(
                "{place} may not be {}: `allow` of {} holds {may}",
                purpose.done(),
                self.process
            ),
        )
        .with_hint(match purpose {
            Purpose::Read => "have an operator add it to `allow` of the scheduler and of every executor, or put the files where the pool may read",
            Purpose::Write => "have an operator add it to `allow` of the scheduler and of every executor, or name an output where the pool may write",
        })
    }
}
