//! `antiphon send`: lines, a text or a file to groups.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use antiphon::{Connection, Envelope, ServiceLevel};

use crate::connect::ConnectArgs;
use crate::error::CliError;

/// Longest line or file that is read, more than any message may have: the library refuses it in words.
const READ_MAX_BYTES: u64 = 1 << 20;

/// Sends every line of standard input as one message, or one text or file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Group to send to, or a member as #name#daemon; may be given several times.
    #[arg(short, long, value_name = "GROUP", required = true)]
    group: Vec<String>,
    /// unreliable, reliable, fifo, causal, agreed or safe.
    #[arg(short, long, value_name = "LEVEL", default_value = "agreed")]
    service: ServiceLevel,
    /// The application's message type, -32768 to 32767.
    #[arg(short, long = "type", value_name = "NUMBER", default_value = "0", allow_negative_numbers = true)]
    message_type: i16,
    /// Do not deliver to this client itself.
    #[arg(long)]
    self_discard: bool,
    /// How often to send each message.
    #[arg(long, value_name = "TIMES", default_value = "1")]
    count: u64,
    /// Send this text instead of reading lines.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    body: Option<String>,
    /// Send this file as one message instead of reading lines.
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// Sends and disconnects in order, so that everything is delivered.
pub(crate) fn run(args: Args) -> Result<ExitCode, CliError> {
    let envelope = envelope(&args)?;
    let mut connection = args.connect.open(false)?;
    connection.set_buffered(true);
    match (&args.body, &args.file) {
        (Some(text), _) => send(&mut connection, &envelope, text.as_bytes(), args.count)?,
        (None, Some(path)) => send(&mut connection, &envelope, &read(path)?, args.count)?,
        (None, None) => send_lines(&mut connection, &envelope, io::stdin().lock(), args.count)?,
    }
    connection.disconnect()?;
    Ok(ExitCode::SUCCESS)
}

fn envelope(args: &Args) -> Result<Envelope, CliError> {
    let mut envelope = Envelope::new(args.service).message_type(args.message_type);
    for group in &args.group {
        envelope = envelope.to(group)?;
    }
    Ok(envelope.self_discard(args.self_discard))
}

/// Reads no more than shows that the file is too long.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(READ_MAX_BYTES).read_to_end(&mut body))
        .map_err(|source| CliError::File { path: path.to_owned(), source })?;
    Ok(body)
}

fn send(connection: &mut Connection, envelope: &Envelope, body: &[u8], count: u64) -> Result<(), CliError> {
    for _ in 0..count {
        connection.send(envelope, body)?;
    }
    Ok(())
}

fn send_lines(
    connection: &mut Connection,
    envelope: &Envelope,
    input: impl Read,
    count: u64,
) -> Result<(), CliError> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    while next_line(&mut input, &mut line)? {
        send(connection, envelope, &line, count)?;
        // The end of the next line may be long in coming; what was said so far must not wait for it.
        if !input.buffer().contains(&b'\n') {
            connection.flush()?;
        }
    }
    Ok(())
}

/// Reads the next line without its end into `line`; false at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, CliError> {
    line.clear();
    let read = input.take(READ_MAX_BYTES).read_until(b'\n', line).map_err(CliError::Input)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_only() {
        let mut input = b"one\n\ntwo \r\nlast".as_slice();
        let mut lines = Vec::new();
        let mut line = Vec::new();
        while next_line(&mut input, &mut line).expect("readable") {
            lines.push(String::from_utf8(line.clone()).expect("text"));
        }
        assert_eq!(lines, ["one", "", "two \r", "last"]);
    }

    #[test]
    fn an_endless_line_is_not_read_to_its_end() {
        let mut line = Vec::new();
        assert!(next_line(&mut BufReader::new(io::repeat(b'x')), &mut line).expect("readable"));
        assert_eq!(line.len() as u64, READ_MAX_BYTES);
    }
}
