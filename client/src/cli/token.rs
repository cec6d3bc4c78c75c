//! `whimbrel token`: tokens for the users of a pool. The token goes to standard output, the line for the pool's file to standard
//! error, so that one command fills both places.

use serde_json::json;
use whimbrel::clock::random_bytes;
use whimbrel_access::{Role, new_token};

use crate::cli::args::TokenCommand;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Runs the command.
pub(crate) fn run(context: &Context, command: TokenCommand) -> Result<(), Failure> {
    let TokenCommand::New {
        name,
        role,
        expires,
    } = command;
    let role: Role = role.parse().map_err(Failure::Usage)?;
    let (secret, mut line) = new_token(&name, role, random_bytes()).map_err(Failure::Usage)?;
    if let Some(date) = expires {
        line = format!("{line} expires={date}");
    }
    // What the pool would refuse is refused here.
    whimbrel_access::tokens::check_line(&line).map_err(Failure::Usage)?;
    let console = context.console;
    if console.json {
        return console.print_json(&json!({"token": secret, "line": line}));
    }
    console.print(&secret)?;
    console.note(&line);
    Ok(())
}
