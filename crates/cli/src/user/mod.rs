//! `antiphon user`: talking to groups interactively.

mod command;

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use antiphon::{Envelope, Error, Event, GroupName, MemberName, Receiver, Sender, ServiceLevel};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};

use self::command::{Command, Defaults, HELP};
use crate::connect::ConnectArgs;
use crate::error::CliError;
use crate::output::say;
use crate::print;

const PROMPT: &str = "antiphon> ";
/// What this client sends to itself before it leaves. All that was sent to it or by it before comes before that.
const LAST_WORD: &[u8] = b"antiphon user leaves";
/// How long the last word may take: while there is no ring, it does not come.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(2);
/// How long the daemon may take to close after the goodbye: one that is stopped does not.
const CLOSING_LIMIT: Duration = Duration::from_secs(3);

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
    let (on_last_word, last_word) = mpsc::channel();
    let events = Events { receiver, me: sender.member(), leaving: Arc::clone(&leaving), on_last_word };
    let printing = match editor.create_external_printer() {
        Ok(mut printer) => events.print(move |line| Ok(printer.print(format!("{line}\n"))?)),
        // Without a terminal there is no prompt to keep out of the way of.
        Err(_) => events.print(|line| say(&line)),
    };
    converse(&mut editor, &mut sender, &printing)?;
    if printing.is_finished() {
        return Err(reason(printing));
    }
    leaving.store(true, Ordering::Relaxed);
    sender.multicast(ServiceLevel::Agreed, sender.member(), LAST_WORD)?;
    // Who leaves gets nothing more, not even what it has just sent to its own groups.
    let _ = last_word.recv_timeout(LAST_WORD_LIMIT);
    sender.disconnect()?;
    // The printing thread stops when the daemon has closed, so nothing that came is left unprinted.
    if !ends(&last_word, CLOSING_LIMIT) {
        return Err(Error::Io(io::ErrorKind::TimedOut.into()).into());
    }
    match reason(printing) {
        CliError::Client(Error::Ended) => Ok(ExitCode::SUCCESS),
        error => Err(error),
    }
}

/// What comes to this client.
struct Events {
    receiver: Receiver,
    me: MemberName,
    /// Whether this client is about to leave.
    leaving: Arc<AtomicBool>,
    on_last_word: mpsc::Sender<()>,
}

impl Events {
    /// Prints events until there are no more. The thread returns why; whoever sits at the prompt is told of it,
    /// unless it is what they asked for.
    fn print(
        mut self,
        mut print: impl FnMut(String) -> Result<(), CliError> + Send + 'static,
    ) -> JoinHandle<CliError> {
        thread::spawn(move || {
            loop {
                let event = match self.receiver.receive() {
                    Ok(event) => event,
                    Err(error) => {
                        if !self.leaving.load(Ordering::Relaxed) {
                            let _ = print("-- the session has ended; press Enter to leave".to_owned());
                        }
                        return error.into();
                    }
                };
                if self.is_last_word(&event) {
                    // Nobody waits for it any longer who has waited for long enough.
                    let _ = self.on_last_word.send(());
                } else if let Err(error) = print(print::line(&event)) {
                    return error;
                }
            }
        })
    }

    fn is_last_word(&self, event: &Event) -> bool {
        let Event::Message(message) = event else { return false };
        self.leaving.load(Ordering::Relaxed) && message.sender == self.me && message.body == LAST_WORD
    }
}

/// Whether the printing thread, which holds the other end, stops in time; last words may still come before that.
fn ends(last_word: &mpsc::Receiver<()>, limit: Duration) -> bool {
    loop {
        match last_word.recv_timeout(limit) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
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
    let (mut defaults, mut joined) = (Defaults::default(), BTreeSet::new());
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
            Ok(command) => obey(command, sender, &mut defaults, &mut joined)?,
            Err(usage) => say(&usage)?,
        }
    }
    Ok(())
}

/// Carries out a command. Mistakes are answered; only the end of the connection ends the program.
fn obey(
    command: Command,
    sender: &mut Sender,
    defaults: &mut Defaults,
    joined: &mut BTreeSet<GroupName>,
) -> Result<(), CliError> {
    let done = match command {
        Command::Nothing | Command::Quit => Ok(()),
        Command::Help => return say(HELP),
        Command::WhoAmI => return say(&sender.member().to_string()),
        Command::Defaults(new) => {
            *defaults = new;
            Ok(())
        }
        Command::Join(group) => {
            joined.insert(group);
            sender.join(group)
        }
        Command::Leave(group) if !joined.remove(&group) => return say(&format!("you are not in {group}")),
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
