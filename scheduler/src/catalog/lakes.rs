//! Folders whose files are not their rows: the tables of Delta Lake, Iceberg and Hudi keep the files of older versions, and lists of
//! deleted rows. Read as they lie, deleted rows would come back. A Delta Lake table is read as its log says, by the name of its own
//! folder; all else is refused.

use whimbrel_proto::{Error, ErrorCode};

use super::list::Found;

/// Who keeps a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    Delta,
    Iceberg,
    Hudi,
}

impl Keeper {
    fn name(self) -> &'static str {
        match self {
            Self::Delta => "a Delta Lake table",
            Self::Iceberg => "an Iceberg table",
            Self::Hudi => "a Hudi table",
        }
    }
}

/// A folder that is such a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// What a person calls the folder, without a slash at its end.
    shown: String,
    keeper: Keeper,
}

impl Root {
    /// The table that a path gives away: one of an object, or of a folder with a slash at its end.
    pub(super) fn of_path(shown: &str) -> Option<Self> {
        let parts: Vec<&str> = shown.split('/').collect();
        let (name, folders) = parts.split_last()?;
        let found = folders.iter().rposition(|part| match *part {
            "_delta_log" | ".hoodie" => true,
            "metadata" => name.ends_with(".metadata.json"),
            _ => false,
        })?;
        let keeper = match folders[found] {
            "_delta_log" => Keeper::Delta,
            ".hoodie" => Keeper::Hudi,
            _ => Keeper::Iceberg,
        };
        let shown = folders[..found].join("/");
        Some(Self { shown, keeper })
    }

    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&self.shown)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether the folder `base` is a Delta Lake table's own, all of whose files are asked for. Refuses other files of such tables, and
/// the folders of others.
pub(super) fn is_delta(
    roots: &[Root],
    base: &str,
    pattern: &[&str],
    files: &[Found],
) -> Result<bool, Error> {
    let base = base.trim_end_matches('/');
    let held = |root: &&Root| root.holds(base) || files.iter().any(|file| root.holds(&file.shown));
    let mut held = roots.iter().filter(held);
    let Some(root) = held.next() else {
        return Ok(false);
    };
    let own = root.shown == base && pattern.is_empty();
    if own && root.keeper == Keeper::Delta && held.all(|other| other == root) {
        return Ok(true);
    }
    let Root { shown, keeper } = root;
    let (why, hint) = match keeper {
        Keeper::Delta => (
            "whose log says which of its files count",
            "name the table's own folder, and choose rows by its columns",
        ),
        Keeper::Iceberg | Keeper::Hudi => (
            "which cannot be read yet",
            "its files alone would bring deleted rows back; have the engine that keeps it write its rows to a folder of plain Parquet files, and name that",
        ),
    };
    let text = format!("'{shown}' is {}, {why}", keeper.name());
    Err(Error::new(ErrorCode::Invalid, text).with_hint(hint))
}

/// The folders above `path` that may be such a table's own: those of its partitions and data lie in it.
pub(super) fn above(path: &str) -> Vec<&str> {
    let mut folder = path.trim_end_matches('/');
    let mut found = Vec::new();
    while let Some((parent, name)) = folder.rsplit_once('/') {
        let inside = name.contains('=') || name == "data";
        if !inside {
            break;
        }
        folder = parent;
        found.push(folder);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_what_it_keeps_beside_its_files() {
        let root = |path: &str| Root::of_path(path).map(|root| (root.shown, root.keeper));
        let delta = Some(("s3://lake/t".to_owned(), Keeper::Delta));
        assert_eq!(
            root("s3://lake/t/_delta_log/00000000000000000000.json"),
            delta
        );
        assert_eq!(root("s3://lake/t/_delta_log/"), delta);
        let iceberg = Some(("/lake/t".to_owned(), Keeper::Iceberg));
        assert_eq!(root("/lake/t/metadata/v3.metadata.json"), iceberg);
        assert_eq!(root("/lake/t/metadata/notes.json"), None);
        assert_eq!(
            root("/lake/t/.hoodie/hoodie.properties").unwrap().1,
            Keeper::Hudi
        );
        assert_eq!(root("/lake/t/part-0.parquet"), None);
        let root = Root::of_path("/lake/t/_delta_log/").unwrap();
        assert!(root.holds("/lake/t") && root.holds("/lake/t/y=1/a.parquet"));
        assert!(!root.holds("/lake/t2/a.parquet") && !root.holds("/lake"));
        assert_eq!(above("t/data/y=1/m=2"), ["t/data/y=1", "t/data", "t"]);
        assert_eq!(above("t/days"), Vec::<&str>::new());
    }
}
