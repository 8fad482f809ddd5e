//! A table that every program has, and all change alike.
//!
//! ```sh
//! cargo run --package antiphon --example kv -- 4803 alice
//! ```
//!
//! Commands: `set KEY VALUE`, `get KEY`, `dump`. A write is an agreed message to the group, so all
//! replicas apply the same writes in the same order. Each write gets a stamp, one more than the highest
//! in the table.
//!
//! *State transfer.* When a view has members that did not come along with the others, one member of each
//! part sends its table. Writes that come before all of these tables are held, and are applied after.
//!
//! *Merge.* While the network is parted, each side goes on writing. Of two values of one key, that with
//! the higher stamp wins; with equal stamps, the greater text. Tables can be merged in any order, and
//! again, with the same result.
//!
//! The table is sent in one message, so it has 140,000 bytes at most; a larger one would go in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use antiphon::{Change, Connector, Envelope, Event, MemberName, Message, Sender, ServiceLevel, View};

const GROUP: &str = "kv";
const WRITE: i16 = 1;
const TABLE: i16 = 2;
/// A command for the replica of its sender, which it reaches through the daemon: so a read comes after
/// all writes that were made before it.
const READ: i16 = 3;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (address, name) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let ended = run(&address, &name, BufReader::new(io::stdin()), &mut io::stdout());
    // Errors of the library name their causes themselves.
    if let Err(error) = &ended {
        eprintln!("kv: {error}");
    }
    ExitCode::from(u8::from(ended.is_err()))
}

pub(crate) fn run(
    address: &str,
    name: &str,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut connection = Connector::new(address).name(name).connect()?;
    connection.join(GROUP)?;
    let mut replica = Replica::new(connection.member());
    let (sender, mut receiver) = connection.split();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let commands = Arc::clone(&sender);
    let commanding = thread::spawn(move || {
        let sent = send_commands(&commands, input);
        // Whatever came of it: without a goodbye the other half would listen for ever.
        let sender = commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        sender.map_or(Ok(()), Sender::disconnect)?;
        sent
    });
    loop {
        match receiver.receive() {
            Ok(Event::View(view)) => {
                if replica.on_view(&view) {
                    send(&sender, GROUP, TABLE, &replica.to_text())?;
                }
            }
            Ok(Event::Message(message)) => replica.on_message(&message, output)?,
            Ok(Event::Transition(_) | Event::SelfLeave(_) | Event::Rejected(_)) => {}
            Err(antiphon::Error::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    commanding
        .join()
        .map_err(|_| "the thread that reads the commands failed")?
        .map_err(|error| error as Box<dyn Error>)
}

/// `None` when the input has ended.
type SharedSender = Mutex<Option<Sender>>;

fn send(sender: &SharedSender, to: &str, kind: i16, text: &str) -> Result<(), antiphon::Error> {
    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(sender) = sender.as_mut() else { return Ok(()) };
    sender.send(&Envelope::new(ServiceLevel::Agreed).to(to)?.message_type(kind), text)
}

fn send_commands(sender: &SharedSender, input: impl BufRead) -> Result<(), Box<dyn Error + Send + Sync>> {
    let member = |sender: &Option<Sender>| sender.as_ref().map(|sender| sender.member().to_string());
    let me = member(&sender.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default();
    for line in input.lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("set", write)) => send(sender, GROUP, WRITE, write)?,
            _ => send(sender, &me, READ, &line)?,
        }
    }
    Ok(())
}

/// A value and its stamp. The greater one wins.
type Entry = (u64, String);

struct Replica {
    me: MemberName,
    table: BTreeMap<String, Entry>,
    /// Members whose tables this view still waits for.
    awaited: BTreeSet<MemberName>,
    /// Writes that come before these tables.
    held: Vec<String>,
}

impl Replica {
    fn new(me: MemberName) -> Self {
        Self { me, table: BTreeMap::new(), awaited: BTreeSet::new(), held: Vec::new() }
    }

    /// Finds out who sends a table; whether this replica does.
    fn on_view(&mut self, view: &View) -> bool {
        let interrupted = !self.awaited.is_empty();
        self.awaited = match view.change {
            // Nobody knows who has got what of the tables that were awaited: everyone sends.
            _ if interrupted => view.members.iter().copied().collect(),
            // All but the new one have the same table.
            Change::Join(new) => {
                let old = view.members.iter().find(|member| **member != new);
                old.copied().into_iter().collect()
            }
            Change::Network if view.vs_sets.len() > 1 => {
                view.vs_sets.iter().filter_map(|part| part.first()).copied().collect()
            }
            Change::Leave(_) | Change::Disconnect(_) | Change::Network => BTreeSet::new(),
        };
        self.apply_held();
        self.awaited.contains(&self.me)
    }

    fn on_message(&mut self, message: &Message, output: &mut impl Write) -> io::Result<()> {
        let text = String::from_utf8_lossy(&message.body);
        match message.message_type {
            WRITE => self.held.push(text.into_owned()),
            TABLE => {
                self.merge(&text);
                self.awaited.remove(&message.sender);
            }
            READ => self.read(&text, output)?,
            _ => {}
        }
        self.apply_held();
        Ok(())
    }

    fn apply_held(&mut self) {
        if !self.awaited.is_empty() {
            return;
        }
        for write in self.held.drain(..) {
            let Some((key, value)) = write.split_once(' ') else { continue };
            let highest = self.table.values().map(|(stamp, _)| *stamp).max().unwrap_or_default();
            self.table.insert(key.to_owned(), (highest + 1, value.to_owned()));
        }
    }

    /// Takes over what wins against the value that is there.
    fn merge(&mut self, text: &str) {
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(key), Some(stamp), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let theirs = (stamp.parse().unwrap_or_default(), value.to_owned());
            let ours = self.table.entry(key.to_owned()).or_default();
            *ours = ours.clone().max(theirs);
        }
    }

    fn to_text(&self) -> String {
        self.table.iter().map(|(key, (stamp, value))| format!("{key} {stamp} {value}\n")).collect()
    }

    fn read(&self, command: &str, output: &mut impl Write) -> io::Result<()> {
        match command.split_once(' ') {
            Some(("get", key)) => match self.table.get(key) {
                Some((_, value)) => writeln!(output, "{key} = {value}"),
                None => writeln!(output, "{key} is not set"),
            },
            None if command == "dump" => {
                let entries: Vec<String> =
                    self.table.iter().map(|(key, (_, value))| format!("{key}={value}")).collect();
                writeln!(output, "table: {}", entries.join(" "))
            }
            _ => writeln!(output, "set KEY VALUE, get KEY or dump?"),
        }
    }
}
