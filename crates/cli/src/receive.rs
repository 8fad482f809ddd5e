//! `antiphon receive`: what is sent to groups, line by line.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon::{Connection, Event, GroupName};

use crate::connect::{ConnectArgs, seconds};
use crate::error::CliError;
use crate::print;

/// Joins groups and prints the body of every message as a line; on a terminal with control characters written out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Group to join; may be given several times. Without any, only messages to this client come.
    #[arg(short, long, value_name = "GROUP")]
    group: Vec<String>,
    /// Print one JSON object per line for every event: message, view, transition, self_leave or rejected.
    #[arg(short, long)]
    json: bool,
    /// Stop after this many messages.
    #[arg(long, value_name = "MESSAGES")]
    count: Option<u64>,
    /// Stop after this many seconds; with --count, fail if the messages have not come by then.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
}

/// How messages are printed.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// Everything, for a program.
    Json,
    /// Bodies, for a person.
    Text,
    /// Bodies as they are.
    Bytes,
}

/// Receives until the daemon closes, or --count or --timeout is reached.
pub(crate) fn run(args: Args) -> Result<ExitCode, CliError> {
    let groups: Vec<GroupName> =
        args.group.iter().map(|name| GroupName::new(name.as_bytes())).collect::<Result<_, _>>()?;
    let mut connection = args.connect.open(args.json)?;
    for group in groups {
        connection.join(group)?;
    }
    let format = match args.json {
        true => Format::Json,
        false if io::stdout().is_terminal() => Format::Text,
        false => Format::Bytes,
    };
    let mut output = BufWriter::new(io::stdout().lock());
    let received = receive(&mut connection, &args, format, &mut output)?;
    if let (Some(expected), Some(timeout)) = (args.count, args.timeout)
        && received < expected
    {
        return Err(CliError::TimedOut { received, expected, timeout });
    }
    connection.disconnect()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints events and returns how many were messages.
fn receive(
    connection: &mut Connection,
    args: &Args,
    format: Format,
    output: &mut impl Write,
) -> Result<u64, CliError> {
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut received = 0;
    while args.count.is_none_or(|count| received < count) {
        let event = match connection.receive_ready()? {
            Some(event) => event,
            None => {
                output.flush().map_err(CliError::Output)?;
                let Some(event) = wait(connection, deadline)? else { break };
                event
            }
        };
        received += u64::from(matches!(event, Event::Message(_)));
        write(&event, format, output).map_err(CliError::Output)?;
        // Where events keep coming, nothing else looks at the time.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
    }
    output.flush().map_err(CliError::Output)?;
    Ok(received)
}

fn wait(connection: &mut Connection, deadline: Option<Instant>) -> Result<Option<Event>, CliError> {
    match deadline {
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            Ok(connection.receive_timeout(left)?)
        }
        None => Ok(Some(connection.receive()?)),
    }
}

fn write(event: &Event, format: Format, output: &mut impl Write) -> io::Result<()> {
    match (format, event) {
        (Format::Json, event) => writeln!(output, "{}", print::json(event)),
        (Format::Text, Event::Message(message)) => writeln!(output, "{}", print::text(&message.body)),
        (Format::Bytes, Event::Message(message)) => {
            output.write_all(&message.body)?;
            output.write_all(b"\n")
        }
        (Format::Text | Format::Bytes, _) => Ok(()),
    }
}
