//! Layering on a small struct of the same make as the daemons' configurations.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    bind: String,
    port: u16,
    slots: Option<u32>,
    verbose: bool,
    tags: Vec<String>,
    client_token: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".into(),
            port: 50050,
            slots: None,
            verbose: false,
            tags: vec![],
            client_token: None,
        }
    }
}

fn file(text: &str) -> (tempdir::Folder, PathBuf) {
    let folder = tempdir::Folder::new();
    let path = folder.path().join("pool.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// A folder that ends with its test.
mod tempdir {
    pub(super) struct Folder(std::path::PathBuf);

    impl Folder {
        pub(super) fn new() -> Self {
            let path = std::env::temp_dir().join(crate::clock::unique_name());
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        pub(super) fn path(&self) -> &std::path::Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn flags(pairs: &[(&str, Value)]) -> Table {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

#[test]
fn later_layers_win() {
    let (_folder, path) = file("bind = 'file'\nport = 1\nslots = 2\n");
    let sources = Sources {
        file: Some(path),
        environment: [
            ("WHIMBREL_PORT", "7"),
            ("WHIMBREL_SLOTS", "3"),
            ("WHIMBREL_TAGS", "a, b"),
            ("WHIMBREL_VERBOSE", "true"),
        ]
        .into_iter()
        .collect(),
        known_elsewhere: &[],
        flags: flags(&[("slots", Value::Integer(4))]),
    };
    let config: Config = load(&sources).unwrap();
    let expected = Config {
        bind: "file".into(),
        port: 7,
        slots: Some(4),
        verbose: true,
        tags: vec!["a".into(), "b".into()],
        client_token: None,
    };
    assert_eq!(config, expected);
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(
        load::<Config>(&Sources::default()).unwrap(),
        Config::default()
    );
    assert_eq!(
        keys::<Config>(),
        ["bind", "port", "slots", "verbose", "tags", "client_token"]
    );
}

#[test]
fn a_number_like_text_stays_text() {
    let environment = [("WHIMBREL_CLIENT_TOKEN", "12345"), ("WHIMBREL_BIND", "0")]
        .into_iter()
        .collect();
    let config: Config = load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(
        (config.client_token.as_deref(), config.bind.as_str()),
        (Some("12345"), "0")
    );
}

fn refused(sources: Sources<'_>) -> String {
    load::<Config>(&sources).unwrap_err().to_string()
}

#[test]
fn mistakes_in_a_file_are_named_with_their_line() {
    let cases = [
        (
            "bind = 'x'\nprot = 5\n",
            ":2: no setting is called 'prot'; did you mean 'port'?",
        ),
        (
            "\n\nport = 'many'\n",
            ":3: invalid type: string \"many\", expected u16",
        ),
        (
            "port = 70000\n",
            ":1: invalid value: integer `70000`, expected u16",
        ),
        ("port == 5\n", ":1: "),
        (
            "[scheduler]\nport = 5\n",
            ":1: no setting is called 'scheduler'; '--print-config' shows every setting",
        ),
    ];
    for (text, expected) in cases {
        let (_folder, path) = file(text);
        let message = refused(Sources {
            file: Some(path.clone()),
            ..Sources::default()
        });
        let place = path.display().to_string();
        let rest = message
            .strip_prefix(&place)
            .unwrap_or_else(|| panic!("{message}"));
        assert!(
            rest.starts_with(expected),
            "{rest} should start with {expected}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_one_line() {
    let message = refused(Sources {
        file: Some("/nowhere/pool.toml".into()),
        ..Sources::default()
    });
    assert!(
        message.starts_with("cannot read the configuration /nowhere/pool.toml: "),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn variables_are_checked_like_keys() {
    let with = |name: &str, value: &str| Sources {
        environment: [(name, value)].into_iter().collect(),
        known_elsewhere: &["pool"],
        ..Sources::default()
    };
    assert_eq!(
        refused(with("WHIMBREL_PROT", "5")),
        "environment: WHIMBREL_PROT names no setting; did you mean WHIMBREL_PORT?"
    );
    assert!(refused(with("WHIMBREL_PORT", "x")).starts_with("WHIMBREL_PORT='x': "));
    assert!(load::<Config>(&with("WHIMBREL_POOL", "http://h:1")).is_ok());
    assert!(load::<Config>(&with("OTHER", "1")).is_ok());
}

#[test]
fn a_flag_that_does_not_fit_is_named() {
    let message = refused(Sources {
        flags: flags(&[("port", Value::Integer(-1))]),
        ..Sources::default()
    });
    assert!(message.starts_with("--port: "), "{message}");
}

#[test]
fn secrets_are_not_printed() {
    let config = Config {
        client_token: Some("s3cret".into()),
        ..Config::default()
    };
    let text = print(&config).unwrap();
    assert!(
        !text.contains("s3cret") && text.contains("client_token = \"***\""),
        "{text}"
    );
    assert!(text.contains("port = 50050"), "{text}");
}
