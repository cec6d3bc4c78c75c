//! The command as a shell sees it: what it prints where, and its exit code. Nothing here needs a pool that answers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn whimbrel(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
    command.args(args).stdin(Stdio::null());
    for name in [
        "WHIMBREL_POOL",
        "WHIMBREL_TOKEN",
        "WHIMBREL_STATE",
        "WHIMBREL_PORT",
        "WHIMBREL_LOG",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

/// Exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn failed(args: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = run(&mut whimbrel(args));
    assert_eq!(stdout, "", "{args:?}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    (code, stderr.trim_end().to_owned())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["pol", "status"],
            "error: unrecognized subcommand 'pol'; a similar subcommand exists: 'pool'",
        ),
        (
            &["sql", "SELECT 1", "-o", "rows"],
            "error: -o rows: the ending names no format; end it in .csv, .json, .arrow or .parquet, or say --format",
        ),
        (
            &["sql", " -- nothing"],
            "error: there is no statement to run; give QUERY, or a file of statements with -f",
        ),
        (
            &["sql", "x", "--pool", "host"],
            "error: 'host' names no port; a pool is written http://host:port, or https://host:port where it has TLS, as the scheduler prints its client port",
        ),
        (
            &["executor", "--slots", "x"],
            "error: invalid value 'x' for '--slots <N>': invalid digit found in string; --help shows what there is",
        ),
        (
            &["--json", "sql", "x", "--pool", "host"],
            "{\"error\":{\"code\":\"invalid\",\"message\":\"'host' names no port\",\"hint\":\"a pool is written http://host:port, or https://host:port where it has TLS, as the scheduler prints its client port\"}}",
        ),
    ];
    for (args, expected) in cases {
        assert_eq!(failed(args), (2, (*expected).to_owned()), "{args:?}");
    }
    assert_eq!(run(&mut whimbrel(&[])).0, 2);
}

#[test]
fn a_pool_out_of_reach_is_exit_code_3() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let pool = format!("http://{free}");
    let (code, message) = failed(&["--pool", &pool, "model", "list"]);
    let expected = format!(
        "error: cannot reach the pool at {pool}: Connection refused (os error 111); check the address, and that 'whimbrel scheduler' runs there"
    );
    assert_eq!((code, message), (3, expected));
}

#[test]
fn settings_are_checked_before_anything_starts() {
    let config = file("port = 0\nprot = 5\n");
    let path = name(config.path());
    let expected = format!("error: {path}:2: no setting is called 'prot'; did you mean 'port'?");
    assert_eq!(failed(&["scheduler", "--config", path]), (2, expected));
    let (code, message) = failed(&["executor", "--config", "/nowhere/pool.toml"]);
    assert_eq!(code, 2);
    assert!(
        message
            .starts_with("error: cannot read the configuration /nowhere/pool.toml: No such file"),
        "{message}"
    );
    let (code, _, message) = run(whimbrel(&["scheduler"]).env("WHIMBREL_PROT", "1"));
    assert_eq!(
        (code, message.as_str()),
        (
            2,
            "error: environment: WHIMBREL_PROT names no setting; did you mean WHIMBREL_PORT?\n"
        )
    );
}

#[test]
fn settings_come_from_file_then_variables_then_flags() {
    let config = file("port = 1\ncluster_port = 2\nclient_token = 's3cret'\n");
    let args = [
        "scheduler",
        "--print-config",
        "--config",
        name(config.path()),
        "--cluster-port",
        "4",
    ];
    let (code, stdout, stderr) = run(whimbrel(&args)
        .env("WHIMBREL_PORT", "3")
        .env("WHIMBREL_CLUSTER_PORT", "3"));
    assert_eq!((code, stderr.as_str()), (0, ""));
    for line in ["port = 3", "cluster_port = 4", "client_token = \"***\""] {
        assert!(
            stdout.lines().any(|printed| printed == line),
            "{line} in {stdout}"
        );
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for daemon in ["scheduler", "executor"] {
        let (code, message) = failed(&[daemon, "--port", &port, "--cluster-port", "0"]);
        assert_eq!(code, 1, "{message}");
        assert!(
            message.contains(&port) && message.contains("port"),
            "{message}"
        );
    }
}

#[test]
fn help_and_completions_go_to_standard_output() {
    for args in [
        ["--help"].as_slice(),
        &["sql", "--help"],
        &["completions", "bash"],
        &["--version"],
    ] {
        let (code, stdout, stderr) = run(&mut whimbrel(args));
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
        assert!(stdout.contains("whimbrel"), "{args:?}: {stdout}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = whimbrel(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(
        (status.code(), String::from_utf8(stderr).unwrap().as_str()),
        (Some(0), "")
    );
}
