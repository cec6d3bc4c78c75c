//! `whimbrel demo`: names the sample trips, binds the sample model, scores, and shows what it did as commands to repeat.

use std::path::Path;

use whimbrel::Client;
use whimbrel_proto::v1::{AddTableRequest, BindModelRequest};

use crate::cli::args::{DemoArgs, Format};
use crate::cli::console::Console;
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;
use crate::cli::format;
use crate::cli::output::{Place, Target};
use crate::cli::sql::{Run, Summary, execute};
use crate::cli::table::absolute_uri;

const SCORE: &str = "SELECT PREDICT('fare', *) AS predict FROM trips";
const LOOK: &str = "SELECT trip_distance, duration_min, fare_amount, PREDICT('fare', *) AS predict FROM trips LIMIT 10";

/// Runs the command.
pub(crate) async fn run(context: &Context, args: &DemoArgs) -> Result<(), Failure> {
    let formats: Vec<&str> = ["parquet", "csv"]
        .into_iter()
        .filter(|format| args.trips.join(format).is_dir())
        .collect();
    if formats.is_empty() || !args.model.is_file() {
        let missing = if formats.is_empty() {
            &args.trips
        } else {
            &args.model
        };
        let what = format!("the demo's {} is not there", missing.display());
        return Err(Failure::usage(
            what,
            "'make demo' makes the sample trips and the sample model, and runs the demo",
        ));
    }
    let unwritable =
        |error| crate::cli::console::cannot_write(&args.out.display().to_string(), &error);
    std::fs::create_dir_all(&args.out).map_err(unwritable)?;
    context
        .with_pool(End::AnySignal, async |client| {
            Demo {
                console: context.console,
                client,
                args,
            }
            .run(&formats)
            .await
        })
        .await
}

struct Demo<'a> {
    console: Console,
    client: Client,
    args: &'a DemoArgs,
}

impl Demo<'_> {
    async fn run(&self, formats: &[&str]) -> Result<(), Failure> {
        for format in formats {
            let table = if Some(format) == formats.first() {
                "trips".to_owned()
            } else {
                format!("trips_{format}")
            };
            self.add_table(&table, format).await?;
        }
        self.bind_model().await?;
        self.look("A look at ten rows", LOOK).await?;
        let out = self.args.out.join("fares.parquet");
        let summary = self.score(&out).await?;
        self.console.print(&format!("   {summary}"))?;
        self.look("The plan of it", &format!("EXPLAIN {SCORE}"))
            .await?;
        self.console.print(&format!(
            "\n{} trips scored, {} rows/s. Go on with: whimbrel sql",
            format::count(summary.rows),
            format::count(format::rate(summary.rows, summary.took))
        ))
    }

    async fn add_table(&self, name: &str, format: &str) -> Result<(), Failure> {
        let folder = self.args.trips.join(format);
        self.step(&format!(
            "whimbrel table add {name} --uri {}",
            folder.display()
        ))?;
        let request = AddTableRequest {
            name: name.to_owned(),
            uri: folder_uri(&folder)?,
            format: format.to_owned(),
            replace: true,
            ..AddTableRequest::default()
        };
        let table = self.client.add_table(request).await?;
        self.console
            .print(&format!("   {} columns", table.columns.len()))
    }

    async fn bind_model(&self) -> Result<(), Failure> {
        self.step(&format!(
            "whimbrel model bind fare --uri {}",
            self.args.model.display()
        ))?;
        let request = BindModelRequest {
            alias: "fare".to_owned(),
            uri: absolute_uri(&self.args.model.to_string_lossy())?,
            ..BindModelRequest::default()
        };
        let binding = self.client.bind_model(request).await?;
        let size = format::bytes(binding.size_bytes);
        self.console.print(&format!(
            "   {} model of {size}, returns {}",
            binding.runtime, binding.returns
        ))
    }

    async fn look(&self, title: &str, sql: &str) -> Result<(), Failure> {
        self.console.print(&format!("\n{title}"))?;
        self.step(&format!("whimbrel sql \"{sql}\""))?;
        let target = Target {
            format: Format::Table,
            place: Place::Stdout,
        };
        self.execute(sql, &target).await.map(drop)
    }

    async fn score(&self, out: &Path) -> Result<Summary, Failure> {
        self.console.print("\nAll of them, to Parquet")?;
        self.step(&format!("whimbrel sql \"{SCORE}\" -o {}", out.display()))?;
        self.execute(
            SCORE,
            &Target {
                format: Format::Parquet,
                place: Place::File(out.to_owned()),
            },
        )
        .await
    }

    async fn execute(&self, sql: &str, target: &Target) -> Result<Summary, Failure> {
        execute(Run {
            console: self.console,
            client: &self.client,
            sql,
            target,
        })
        .await
    }

    fn step(&self, command: &str) -> Result<(), Failure> {
        self.console.print(&format!("$ {command}"))
    }
}

fn folder_uri(folder: &Path) -> Result<String, Failure> {
    absolute_uri(&format!("{}/", folder.display()))
}
