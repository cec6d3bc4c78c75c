//! The native kernels beside ONNX Runtime and the libraries that trained the models, model by model, without a pool.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::checkout::checkout;
use whimbrel_tests::{jobs, service, zoo};

/// Example programs lie beside the tests' own.
fn score() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let folder = own.ancestors().nth(2).context("find its folder")?;
    let score = folder.join("examples/score");
    ensure!(
        score.exists(),
        "{} is missing: cargo builds it with all tests",
        score.display()
    );
    Ok(score)
}

#[test]
fn the_kernels_give_what_onnx_runtime_and_the_libraries_give() -> Result<()> {
    let script = checkout("graph/tests/parity.py");
    let mut command = Command::new(service::python()?);
    command.arg(script).arg("--score").arg(score()?);
    command.arg("--zoo").arg(zoo::path("")?);
    match jobs::chaos() {
        true => command.args(["--trained", "--pipelines", "--rows", "100000"]),
        false => command.args(["--rows", "2000"]),
    };
    let output = command.output().context("run the comparison")?;
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    jobs::say(&said);
    ensure!(output.status.success(), "{said}\n{complained}");
    Ok(())
}
