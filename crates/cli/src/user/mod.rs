//! `antiphon user`: talking to groups interactively.

mod command;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use antiphon::{Envelope, Error, Receiver, Sender};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};

use self::command::{Command, Defaults, HELP};
use crate::connect::ConnectArgs;
use crate::error::CliError;
use crate::output::say;
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
    let leaving = Arc::new(AtomicBool::new(false));
    let printing = match editor.create_external_printer() {
        Ok(mut printer) => {
            print_events(receiver, &leaving, move |line| Ok(printer.print(format!("{line}\n"))?))
        }
        // Without a terminal there is no prompt to keep out of the way of.
        Err(_) => print_events(receiver, &leaving, |line| say(&line)),
    };
    converse(&mut editor, &mut sender, &printing)?;
    if printing.is_finished() {
        return Err(reason(printing));
    }
    leaving.store(true, Ordering::Relaxed);
    sender.disconnect()?;
    // The printing thread stops when the daemon has closed, so nothing that came is left unprinted.
    match reason(printing) {
        CliError::Client(Error::Closed) => Ok(ExitCode::SUCCESS),
        error => Err(error),
    }
}

/// Prints events until there are no more. The thread returns why; whoever sits at the prompt is told
/// of it, unless it is what they asked for.
fn print_events(
    mut receiver: Receiver,
    leaving: &Arc<AtomicBool>,
    mut print: impl FnMut(String) -> Result<(), CliError> + Send + 'static,
) -> JoinHandle<CliError> {
    let leaving = Arc::clone(leaving);
    thread::spawn(move || {
        loop {
            let event = match receiver.receive() {
                Ok(event) => event,
                Err(error) => {
                    if !leaving.load(Ordering::Relaxed) {
                        let _ = print("-- the session has ended; press Enter to leave".to_owned());
                    }
                    return error.into();
                }
            };
            if let Err(error) = print(print::line(&event)) {
                return error;
            }
        }
    })
}

fn reason(printing: JoinHandle<CliError>) -> CliError {
    printing.join().unwrap_or(CliError::Client(Error::Closed))
}

/// Obeys commands until there are no more, or nothing is left to command.
fn converse(
    editor: &mut DefaultEditor,
    sender: &mut Sender,
    printing: &JoinHandle<CliError>,
) -> Result<(), CliError> {
    let mut defaults = Defaults::default();
    while !printing.is_finished() {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                say("a line that is no UTF-8 text was passed over")?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let _ = editor.add_history_entry(&line);
        match Command::parse(&line, &defaults) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => obey(command, sender, &mut defaults)?,
            Err(usage) => say(&usage)?,
        }
    }
    Ok(())
}

/// Carries out a command. Mistakes are answered; only the end of the connection ends the program.
fn obey(command: Command, sender: &mut Sender, defaults: &mut Defaults) -> Result<(), CliError> {
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
