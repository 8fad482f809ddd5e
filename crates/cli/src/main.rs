//! The antiphon program: a daemon, and clients for people and scripts.

mod bench;
mod connect;
mod demo;
mod error;
mod monitor;
mod output;
mod print;
mod receive;
mod send;
mod status;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Group communication: ordered, reliable multicast to named groups.
///
/// Without a command, runs a daemon: with spread.conf or /etc/spread.conf if there is one, else alone on
/// 127.0.0.1:4803, [::1]:4803 and /tmp/4803.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one daemon of a cluster.
    Daemon(antiphon_daemon::cli::DaemonArgs),
    /// Show a cluster at work: order, failures, a partition, and a check of what was received.
    Demo(demo::Args),
    /// Talk to groups interactively.
    User(user::Args),
    /// Send lines, a text or a file to groups.
    Send(send::Args),
    /// Print what is sent to groups.
    Receive(receive::Args),
    /// Say where a daemon of this host stands, and why its last configurations came about.
    Status(status::Args),
    /// Say where all daemons of a cluster stand, part them or end them.
    Monitor(monitor::Args),
    /// Measure daemons: throughput, latency, groups, membership.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Some(Command::Daemon(args)) => Ok(antiphon_daemon::cli::run(&args)),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::User(args)) => user::run(args),
        Some(Command::Send(args)) => send::run(args),
        Some(Command::Receive(args)) => receive::run(args),
        Some(Command::Status(args)) => status::run(&args),
        Some(Command::Monitor(args)) => monitor::run(&args),
        Some(Command::Bench(args)) => bench::run(args),
        None => Ok(antiphon_daemon::cli::run(&antiphon_daemon::cli::DaemonArgs::default())),
    };
    match ended {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::remark(&format!("antiphon: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn clients_are_told_from_the_daemon() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        assert!(matches!(parse("antiphon"), Ok(None)));
        assert!(matches!(parse("antiphon user --name alice"), Ok(Some(Command::User(_)))));
        assert!(matches!(parse("antiphon send --group a --group b --type -3"), Ok(Some(Command::Send(_)))));
        assert!(matches!(parse("antiphon receive --json --timeout 0.5"), Ok(Some(Command::Receive(_)))));
        assert!(parse("antiphon send --body x --file y --group g").is_err());
        assert!(parse("antiphon send").is_err(), "a message needs a group");
    }
}
