//! The example configurations in `deploy/` are ones that the daemons take.

use anyhow::{Context, Result, ensure};
use whimbrel_tests::checkout::checkout;
use whimbrel_tests::command::run;

#[test]
fn every_example_configuration_is_taken_as_it_is() -> Result<()> {
    let folder = checkout("deploy");
    let mut taken = 0;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let daemon = path
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a name")?;
        let file = path.to_str().context("a path")?;
        let outcome = run(&folder, None, &[daemon, "--config", file, "--print-config"])?;
        ensure!(outcome.code == 0, "{file}: {}", outcome.stderr);
        ensure!(
            outcome.stdout.contains("drain_grace = \"5m\""),
            "{}",
            outcome.stdout
        );
        taken += 1;
    }
    ensure!(taken == 2, "{taken} configurations");
    Ok(())
}
