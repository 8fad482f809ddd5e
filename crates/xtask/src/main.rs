//! `cargo xtask`: what has to be done with the workspace beyond building it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use antiphon_xtask::{Libraries, Places, XtaskError, install, workspace};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the C library and install it with its headers and the names of libspread.
    Install {
        /// Where include is, or will be.
        #[arg(long, value_name = "DIRECTORY", default_value = "/usr/local")]
        prefix: PathBuf,
        /// Where libraries are, or will be; below the prefix if it is not absolute.
        #[arg(long, value_name = "DIRECTORY", default_value = "lib")]
        libdir: PathBuf,
        /// Put everything below this directory, to make a package of it.
        #[arg(long, value_name = "DIRECTORY")]
        destdir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Task::Install { prefix, libdir, destdir } = Arguments::parse().task;
    // A relative prefix would mean something else to whoever reads the installed files.
    let installed = std::path::absolute(&prefix)
        .map_err(|source| XtaskError::Write { path: prefix, source })
        .and_then(|prefix| install(&build()?, &Places::new(&prefix, &libdir), destdir.as_deref()));
    match installed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds both libraries, optimised across crates, which they can be when nothing else is built of them.
fn build() -> Result<Libraries, XtaskError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = workspace().join("target");
    let status = Command::new(cargo)
        .current_dir(workspace())
        .args(["rustc", "--locked", "--release", "--package", "antiphon-capi"])
        .args(["--crate-type", "cdylib,staticlib"])
        .arg("--target-dir")
        .arg(&target)
        .status();
    let built = status.is_ok_and(|status| status.success());
    if built { Ok(Libraries::in_directory(&target.join("release"))) } else { Err(XtaskError::Build) }
}
