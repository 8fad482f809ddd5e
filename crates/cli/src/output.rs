//! What a command leaves: its exit code, and standard output, whose reader may go away at any time.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::error::CliError;

/// Prints a line at once, also when it goes to a pipe.
pub(crate) fn say(line: &str) -> Result<(), CliError> {
    write(&format!("{line}\n"))
}

/// As [`say`], for a command whose exit status tells what came of it: when the reader has gone away, it is
/// still to be found out.
pub(crate) fn show_line(line: &str) -> Result<(), CliError> {
    show(&format!("{line}\n"))
}

/// As [`show_line`], for text that ends its own lines.
pub(crate) fn show(text: &str) -> Result<(), CliError> {
    match write(text) {
        Err(error) if error.is_broken_pipe() => Ok(()),
        written => written,
    }
}

/// As [`show_line`], in JSON.
pub(crate) fn show_json(outcome: &(impl Serialize + ?Sized)) -> Result<(), CliError> {
    show_line(&serde_json::to_string(outcome).map_err(|error| CliError::Output(error.into()))?)
}

/// Prints a line for people on standard error, if anybody still reads it.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The exit code that says whether all is well.
pub(crate) fn code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(CliError::Output)
}
