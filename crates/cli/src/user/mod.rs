//! `antiphon user`: talking to groups interactively.

mod command;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use antiphon::{Envelope, Error, Receiver, Sender};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};

use self::command::{Command, HELP};
use crate::connect::ConnectArgs;
use crate::error::CliError;
use crate::print;

const PROMPT: &str = "antiphon> ";

/// Reads commands, prints messages and views as they come. Type help for the commands.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs until quit, the end of the input, or the end of the connection.
pub(crate) fn run(args: Args) -> Result<ExitCode, CliError> {
    let connection = args.connect.open(true)?;
    say(&format!("Connected as {}. Type help for the commands.", connection.member()))?;
    let mut editor = DefaultEditor::new()?;
    let (mut sender, receiver) = connection.split();
    let receiving = match editor.create_external_printer() {
        Ok(mut printer) => print_events(receiver, move |line| printer.print(format!("{line}\n")).is_ok()),
        // Without a terminal there is no prompt to keep out of the way of.
        Err(_) => print_events(receiver, |line| say(&line).is_ok()),
    };
    let ended = converse(&mut editor, &mut sender);
    // The printing thread stops when the daemon has closed, so nothing that came is left unprinted.
    let goodbye = sender.disconnect();
    let _ = receiving.join();
    ended?;
    goodbye?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line at once, also when it goes to a pipe.
fn say(line: &str) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(CliError::Output)
}

fn print_events(
    mut receiver: Receiver,
    mut print: impl FnMut(String) -> bool + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for event in receiver.events() {
            let line = match &event {
                Ok(event) => print::line(event),
                Err(Error::Closed) => "-- the connection is closed".to_owned(),
                Err(error) => format!("-- {error}"),
            };
            if !print(line) {
                return;
            }
        }
    })
}

fn converse(editor: &mut DefaultEditor, sender: &mut Sender) -> Result<(), CliError> {
    let mut envelope = command::Defaults::default();
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let _ = editor.add_history_entry(&line);
        match Command::parse(&line, &envelope) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => obey(command, sender, &mut envelope)?,
            Err(usage) => say(&usage)?,
        }
    }
}

/// Carries out a command. Mistakes are answered; only the end of the connection ends the program.
fn obey(command: Command, sender: &mut Sender, defaults: &mut command::Defaults) -> Result<(), CliError> {
    let done = match command {
        Command::Nothing | Command::Quit => Ok(()),
        Command::Help => return say(HELP),
        Command::WhoAmI => return say(&sender.member().to_string()),
        Command::Defaults(new) => {
            *defaults = new;
            Ok(())
        }
        Command::Join(group) => sender.join(group),
        Command::Leave(group) => sender.leave(group),
        Command::Send { service, message_type, to, text } => {
            let mut envelope = Envelope::new(service).message_type(message_type);
            for destination in to {
                envelope = envelope.to(destination)?;
            }
            sender.send(&envelope, text)
        }
    };
    match done {
        Err(error @ (Error::Closed | Error::Io(_))) => Err(error.into()),
        Err(error) => say(&error.to_string()),
        Ok(()) => Ok(()),
    }
}
