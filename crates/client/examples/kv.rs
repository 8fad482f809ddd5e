//! A table that every program has, and all change alike.
//!
//! ```sh
//! cargo run --package antiphon --example kv -- 4803 alice
//! ```
//!
//! Commands, done one after the other: `set KEY VALUE`, `get KEY`, `dump`. A write is an agreed message to
//! the group, so all replicas apply the same writes in the same order. Each write gets a stamp, one more than
//! the highest in the table.
//!
//! *State transfer.* When a view has members that did not come along with the others, every member says what
//! it has, and writes nothing before all have said so. Of those who came along together, and so have the same
//! table, the first one sends it and the others send none. A table or a write names the view that it was sent
//! in and counts in no other: so what is written in a view comes after its tables, for everyone. Who sees that
//! its write came too late sends it again. When the next view comes before all tables, nobody knows who has
//! got which of them: then all send what they have.
//!
//! *Merge.* While the network is parted, each side goes on writing. Of two values of one key, that with
//! the higher stamp wins; with equal stamps, the greater text. Tables can be merged in any order, and
//! again, with the same result.
//!
//! The table is sent in one message, so it has 140,000 bytes at most; a larger one would go in pieces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use antiphon::{
    Change, Connector, Envelope, Event, GroupId, MemberName, Message, Sender, ServiceLevel, View,
};

const GROUP: &str = "kv";
const WRITE: i16 = 1;
const TABLE: i16 = 2;
/// A line of the input, or its end. Both go through the daemon to their own sender, which so waits for the
/// input and for the group in one place.
const COMMAND: i16 = 3;
const END: i16 = 4;

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
    eprintln!("write set KEY VALUE, get KEY or dump; end with Ctrl-D");
    connection.join(GROUP)?;
    let mut replica = Replica::new(connection.member());
    let (sender, mut receiver) = connection.split();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let commands = Arc::clone(&sender);
    let commanding = thread::spawn(move || {
        let sent = send_commands(&commands, input);
        // Else the other half would listen for ever.
        if sent.is_err() {
            hang_up(&commands)?;
        }
        sent
    });
    loop {
        match receiver.receive() {
            Ok(Event::View(view)) => {
                if let Some(table) = replica.on_view(&view) {
                    send(&sender, GROUP, TABLE, &table)?;
                }
            }
            Ok(Event::Message(message)) => replica.on_message(&message),
            Ok(Event::Transition(_) | Event::SelfLeave(_) | Event::Rejected(_)) => {}
            Err(antiphon::Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
        while let Some(step) = replica.next_step() {
            match step {
                Step::Write(text) => send(&sender, GROUP, WRITE, &text)?,
                Step::Print(text) => writeln!(output, "{text}")?,
                Step::End => hang_up(&sender)?,
            }
        }
    }
    commanding
        .join()
        .map_err(|_| "the thread that reads the commands failed")?
        .map_err(|error| error as Box<dyn Error>)
}

/// `None` once it has hung up.
type SharedSender = Mutex<Option<Sender>>;

fn send(sender: &SharedSender, to: &str, kind: i16, text: &str) -> Result<(), antiphon::Error> {
    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(sender) = sender.as_mut() else { return Ok(()) };
    sender.send(&Envelope::new(ServiceLevel::Agreed).to(to)?.message_type(kind), text)
}

/// Whatever was sent before it is delivered.
fn hang_up(sender: &SharedSender) -> Result<(), antiphon::Error> {
    let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    sender.map_or(Ok(()), Sender::disconnect)
}

fn send_commands(sender: &SharedSender, input: impl BufRead) -> Result<(), Box<dyn Error + Send + Sync>> {
    let member = |sender: &Option<Sender>| sender.as_ref().map(|sender| sender.member().to_string());
    let me = member(&sender.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default();
    for line in input.lines() {
        send(sender, &me, COMMAND, &line?)?;
    }
    Ok(send(sender, &me, END, "")?)
}

/// A value and its stamp. The greater one wins.
type Entry = (u64, String);

/// What a replica has to do.
enum Step {
    Write(String),
    Print(String),
    End,
}

struct Replica {
    me: MemberName,
    table: BTreeMap<String, Entry>,
    view: Option<GroupId>,
    /// Members that have not said yet in this view what they have; until the first view, this one.
    awaited: BTreeSet<MemberName>,
    /// What is still to be done.
    commands: VecDeque<String>,
    /// Whether the first of these is a write that is on its way.
    is_writing: bool,
    has_ended: bool,
}

impl Replica {
    fn new(me: MemberName) -> Self {
        Self {
            me,
            table: BTreeMap::new(),
            view: None,
            awaited: BTreeSet::from([me]),
            commands: VecDeque::new(),
            is_writing: false,
            has_ended: false,
        }
    }

    /// What this replica has to say in a view, if anything.
    fn on_view(&mut self, view: &View) -> Option<String> {
        let was_interrupted = !self.awaited.is_empty();
        let brings_somebody = matches!(view.change, Change::Join(_)) || view.vs_sets.len() > 1;
        self.view = Some(view.id);
        if !was_interrupted && !brings_somebody {
            return None;
        }
        self.awaited = view.members.iter().copied().collect();
        let speaks_for_all = view.came_along().first() == Some(&self.me);
        let table = if was_interrupted || speaks_for_all { self.to_text() } else { String::new() };
        Some(self.in_this_view(&table))
    }

    fn on_message(&mut self, message: &Message) {
        let text = String::from_utf8_lossy(&message.body);
        match message.message_type {
            WRITE => self.on_write(&text, message.sender),
            TABLE => self.on_table(&text, message.sender),
            COMMAND => self.commands.push_back(text.into_owned()),
            END => self.has_ended = true,
            _ => {}
        }
    }

    fn on_write(&mut self, text: &str, sender: MemberName) {
        let write = self.of_this_view(text).and_then(|write| write.split_once(' '));
        if let Some((key, value)) = write {
            let highest = self.table.values().map(|(stamp, _)| *stamp).max().unwrap_or_default();
            self.table.insert(key.to_owned(), (highest + 1, value.to_owned()));
        }
        if sender == self.me {
            self.is_writing = false;
            if write.is_some() {
                self.commands.pop_front();
            }
        }
    }

    fn on_table(&mut self, text: &str, sender: MemberName) {
        let Some(table) = self.of_this_view(text) else { return };
        for line in table.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(key), Some(stamp), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let theirs = (stamp.parse().unwrap_or_default(), value.to_owned());
            let ours = self.table.entry(key.to_owned()).or_default();
            *ours = ours.clone().max(theirs);
        }
        self.awaited.remove(&sender);
    }

    /// Text that counts in this view alone.
    fn in_this_view(&self, text: &str) -> String {
        let view = self.view.as_ref().map(GroupId::to_string).unwrap_or_default();
        format!("{view}\n{text}")
    }

    fn of_this_view<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.strip_prefix(&self.in_this_view(""))
    }

    /// A table as text, a line an entry.
    fn to_text(&self) -> String {
        self.table.iter().map(|(key, (stamp, value))| format!("{key} {stamp} {value}\n")).collect()
    }

    /// The next step, unless there is something to wait for.
    fn next_step(&mut self) -> Option<Step> {
        if !self.awaited.is_empty() || self.is_writing {
            return None;
        }
        let Some(command) = self.commands.front() else {
            return std::mem::take(&mut self.has_ended).then_some(Step::End);
        };
        if let Some(write) = command.strip_prefix("set ").filter(|write| write.contains(' ')) {
            let write = self.in_this_view(write);
            self.is_writing = true;
            return Some(Step::Write(write));
        }
        self.commands.pop_front().map(|command| Step::Print(self.read(&command)))
    }

    fn read(&self, command: &str) -> String {
        match command.split_once(' ') {
            Some(("get", key)) => match self.table.get(key) {
                Some((_, value)) => format!("{key} = {value}"),
                None => format!("{key} is not set"),
            },
            None if command == "dump" => {
                let entries: Vec<String> =
                    self.table.iter().map(|(key, (_, value))| format!("{key}={value}")).collect();
                format!("table: {}", entries.join(" "))
            }
            _ => "set KEY VALUE, get KEY or dump?".to_owned(),
        }
    }
}
