//! The `whimbrel` command.

mod cli;

use std::process::ExitCode;

/// Columns come and go by the thousand, on many threads: this takes half the time of the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
