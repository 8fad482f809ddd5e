//! Logs of real clients, judged by the same checkers as simulated ones.
//!
//! A [`Recorder`] writes down what one client does and reads, one line of JSON for each event, and
//! writes a deed before it is done, so that a log that breaks off with its process lacks nothing that
//! others may have seen. [`read`] makes one trace of the logs of all clients of a cluster. What the
//! daemons did is not in it: [`crate::check::clients`] checks what can be said without.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use antiphon::{Cause, Event, GroupId, GroupName, MemberName, Message, ServiceLevel};
use antiphon_proto::time::Instant;
use antiphon_wire::client::membership::{View, VsSet};
use antiphon_wire::ids::{DaemonId, ProcessId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::trace::{ProcessTrace, Received, SessionEvent, SessionTrace, Submission, Trace};

/// One line of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    /// Nanoseconds since 1970.
    at: u64,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Entry {
    Opened {
        member: String,
    },
    Joining {
        group: String,
    },
    Leaving {
        group: String,
    },
    Sent(Cast),
    Disconnecting,
    Message {
        sender: String,
        #[serde(flatten)]
        cast: Cast,
    },
    View {
        group: String,
        id: [u32; 3],
        cause: String,
        members: Vec<String>,
        sets: Vec<Vec<String>>,
        own_set: usize,
    },
    Signal {
        group: String,
        id: [u32; 3],
    },
    Left {
        group: String,
    },
    Rejected,
    Closed,
}

/// A multicast, as it was sent or as it came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Cast {
    number: u32,
    service: String,
    groups: Vec<String>,
    bytes: usize,
}

/// Writes the log of one client: any number of connections, one after the other, under one name or several
/// that no other client of the cluster ever has.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    out: W,
}

impl<W: Write> Recorder<W> {
    /// A log that begins.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// A connection was opened under this name.
    ///
    /// # Errors
    /// When the log cannot be written; so of all others.
    pub fn opened(&mut self, member: &MemberName) -> io::Result<()> {
        self.write(Entry::Opened { member: member.to_string() })
    }

    /// The client is about to join a group.
    ///
    /// # Errors
    /// As above.
    pub fn joining(&mut self, group: &str) -> io::Result<()> {
        self.write(Entry::Joining { group: group.to_owned() })
    }

    /// The client is about to leave a group.
    ///
    /// # Errors
    /// As above.
    pub fn leaving(&mut self, group: &str) -> io::Result<()> {
        self.write(Entry::Leaving { group: group.to_owned() })
    }

    /// The client is about to send the multicast of that number, different for each under one name;
    /// the body begins with the number in four bytes, little-endian ([`number_of`]).
    ///
    /// # Errors
    /// As above.
    pub fn sent(
        &mut self,
        number: u32,
        service: ServiceLevel,
        groups: &[&str],
        bytes: usize,
    ) -> io::Result<()> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.write(Entry::Sent(Cast { number, service: service.name().to_owned(), groups, bytes }))
    }

    /// The client is about to disconnect.
    ///
    /// # Errors
    /// As above.
    pub fn disconnecting(&mut self) -> io::Result<()> {
        self.write(Entry::Disconnecting)
    }

    /// The connection broke, or was closed by the daemon.
    ///
    /// # Errors
    /// As above.
    pub fn closed(&mut self) -> io::Result<()> {
        self.write(Entry::Closed)
    }

    /// The client read this.
    ///
    /// # Errors
    /// As above.
    pub fn read(&mut self, event: &Event) -> io::Result<()> {
        let names = |members: &[MemberName]| members.iter().map(ToString::to_string).collect::<Vec<_>>();
        let numbers = |id: GroupId| [id.leader, id.time, id.counter];
        self.write(match event {
            Event::Message(message) => {
                let cast = Cast {
                    number: number_of(message).unwrap_or(u32::MAX),
                    service: message.service.name().to_owned(),
                    groups: message.groups.iter().map(ToString::to_string).collect(),
                    bytes: message.body.len(),
                };
                Entry::Message { sender: message.sender.to_string(), cast }
            }
            Event::View(view) => Entry::View {
                group: view.group.to_string(),
                id: numbers(view.id),
                cause: cause_name(view.change.cause()).to_owned(),
                members: names(&view.members),
                sets: match view.change.member() {
                    Some(member) => vec![vec![member.to_string()]],
                    None => view.vs_sets.iter().map(|set| names(set)).collect(),
                },
                own_set: view.my_vs_set,
            },
            Event::Transition(transition) => {
                Entry::Signal { group: transition.group.to_string(), id: numbers(transition.id) }
            }
            Event::SelfLeave(group) => Entry::Left { group: group.to_string() },
            Event::Rejected(_) => Entry::Rejected,
        })
    }

    /// One write for each line, so that a process that dies leaves whole lines.
    fn write(&mut self, entry: Entry) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let mut line = serde_json::to_vec(&Line { at, entry })?;
        line.push(b'\n');
        self.out.write_all(&line)
    }
}

/// The number that the body of a recorded multicast begins with.
#[must_use]
pub fn number_of(message: &Message) -> Option<u32> {
    message.body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Join => "join",
        Cause::Leave => "leave",
        Cause::Disconnect => "disconnect",
        Cause::Network => "network",
    }
}

/// Why logs cannot be judged.
#[derive(Debug, Error)]
pub enum LogError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line is none of a log.
    #[error("{}, line {line}: {problem}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Makes one trace of the logs of all clients. A last line that breaks off is ignored: its process
/// died while it wrote.
///
/// # Errors
/// When a file cannot be read or is no log.
pub fn read(files: &[PathBuf]) -> Result<Trace, LogError> {
    let mut reader = Reader::default();
    let mut logs = Vec::new();
    for file in files {
        logs.push((file, lines(file)?));
    }
    for (log, (file, lines)) in logs.iter().enumerate() {
        reader.note_deeds(log, lines).map_err(|(line, problem)| LogError::Malformed {
            file: (*file).clone(),
            line,
            problem,
        })?;
    }
    for (file, lines) in &logs {
        reader.note_all(lines).map_err(|(line, problem)| LogError::Malformed {
            file: (*file).clone(),
            line,
            problem,
        })?;
    }
    Ok(reader.trace)
}

fn lines(file: &PathBuf) -> Result<Vec<Line>, LogError> {
    let unreadable = |error| LogError::Unreadable { file: file.clone(), error };
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut texts = Vec::new();
    for text in BufReader::new(opened).lines() {
        texts.push(text.map_err(unreadable)?);
    }
    let mut lines = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match serde_json::from_str(text) {
            Ok(line) => lines.push(line),
            Err(_) if at + 1 == texts.len() => {}
            Err(error) => {
                let problem = format!("expected an event of a recorder: {error}");
                return Err(LogError::Malformed { file: file.clone(), line: at + 1, problem });
            }
        }
    }
    Ok(lines)
}

/// A line, from 1, and what is wrong with it.
type Problem = (usize, String);

#[derive(Default)]
struct Reader {
    trace: Trace,
    /// Which of the logs has connections under a name.
    owners: BTreeMap<String, usize>,
    /// How many sessions were begun to be noted in whole.
    begun: usize,
    /// Processes by name of the daemon.
    processes: BTreeMap<Vec<u8>, usize>,
    /// Submissions by sender and number, with what was sent.
    casts: BTreeMap<(String, u32), (usize, Cast)>,
}

impl Reader {
    /// Opens the sessions and numbers what they sent, so that others can refer to it.
    fn note_deeds(&mut self, log: usize, lines: &[Line]) -> Result<(), Problem> {
        let mut current: Option<(usize, &String)> = None;
        for (at, line) in lines.iter().enumerate() {
            match &line.entry {
                Entry::Opened { member } => {
                    let session = self.open(log, member).map_err(|problem| (at + 1, problem))?;
                    current = Some((session, member));
                }
                Entry::Sent(cast) => {
                    let (session, member) = current
                        .ok_or_else(|| (at + 1, "nothing is sent before a connection is open".to_owned()))?;
                    self.submit(session, member, cast).map_err(|problem| (at + 1, problem))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, log: usize, name: &str) -> Result<usize, String> {
        let member = member(name)?;
        if *self.owners.entry(name.to_owned()).or_insert(log) != log {
            return Err(format!("{name} is the name of another client; each needs names of its own"));
        }
        let next = self.processes.len();
        let process = *self.processes.entry(member.daemon().to_vec()).or_insert(next);
        if process == next {
            let daemon = DaemonId(u16::try_from(next).unwrap_or(u16::MAX));
            let process = ProcessId { daemon, incarnation: 0 };
            self.trace.processes.push(ProcessTrace { process, records: Vec::new(), ended: None });
        }
        self.trace.sessions.push(SessionTrace::new(member, process, Instant(0), true));
        Ok(self.trace.sessions.len() - 1)
    }

    fn submit(&mut self, session: usize, sender: &str, cast: &Cast) -> Result<(), String> {
        let level = cast.service.parse::<ServiceLevel>();
        let service = level.map_err(|error| format!("'{}': {error}", cast.service))?;
        let groups = cast.groups.iter().map(|name| group(name)).collect::<Result<_, _>>()?;
        let number = self.trace.submissions.len();
        let earlier = self.casts.insert((sender.to_owned(), cast.number), (number, cast.clone()));
        if earlier.is_some() {
            return Err(format!("{sender} sent number {} twice", cast.number));
        }
        let body_bytes = cast.bytes;
        self.trace.submissions.push(Submission { session, service, groups, self_discard: false, body_bytes });
        Ok(())
    }

    /// Notes everything in the sessions, which were opened in the same order.
    fn note_all(&mut self, lines: &[Line]) -> Result<(), Problem> {
        let mut current: Option<(usize, String)> = None;
        for (at, line) in lines.iter().enumerate() {
            if let Entry::Opened { member } = &line.entry {
                current = Some((self.begun, member.clone()));
                self.begun += 1;
            }
            let Some((session, member)) = &current else {
                return Err((at + 1, "nothing happens before a connection is open".to_owned()));
            };
            let event = self.event(member, &line.entry).map_err(|problem| (at + 1, problem))?;
            self.trace.sessions[*session].records.push((Instant(line.at), event));
        }
        Ok(())
    }

    fn event(&self, me: &str, entry: &Entry) -> Result<SessionEvent, String> {
        Ok(match entry {
            Entry::Opened { .. } => SessionEvent::Accepted,
            Entry::Joining { group: name } => SessionEvent::Joining(group(name)?),
            Entry::Leaving { group: name } => SessionEvent::Leaving(group(name)?),
            Entry::Sent(cast) => match self.casts.get(&(me.to_owned(), cast.number)) {
                Some((submission, _)) => SessionEvent::Sent(*submission),
                None => return Err("what was sent is not known".to_owned()),
            },
            Entry::Disconnecting => SessionEvent::Disconnecting,
            Entry::Message { sender, cast } => match self.casts.get(&(sender.clone(), cast.number)) {
                Some((submission, sent)) => {
                    SessionEvent::Message(Received { submission: *submission, intact: sent == cast })
                }
                None => SessionEvent::Garbage(format!("message {} of {sender}, never sent", cast.number)),
            },
            Entry::View { group: name, id, cause, members: names, sets, own_set } => {
                SessionEvent::View(Box::new(View {
                    group: group(name)?,
                    cause: cause_named(cause)?,
                    id: id_of(*id),
                    members: members(names)?,
                    sets: sets
                        .iter()
                        .map(|set| Ok(VsSet { members: members(set)? }))
                        .collect::<Result<_, String>>()?,
                    own_set: *own_set,
                }))
            }
            Entry::Signal { group: name, id } => SessionEvent::Signal(group(name)?, id_of(*id)),
            Entry::Left { group: name } => SessionEvent::Left(group(name)?),
            Entry::Rejected => SessionEvent::Garbage("a request that came back".to_owned()),
            Entry::Closed => SessionEvent::Closed(None),
        })
    }
}

fn id_of([leader, time, counter]: [u32; 3]) -> GroupId {
    GroupId { leader, time, counter }
}

fn cause_named(name: &str) -> Result<Cause, String> {
    let all = [Cause::Join, Cause::Leave, Cause::Disconnect, Cause::Network];
    all.into_iter()
        .find(|cause| cause_name(*cause) == name)
        .ok_or_else(|| format!("{name} is no cause of a view"))
}

fn group(name: &str) -> Result<GroupName, String> {
    GroupName::new(name.as_bytes()).map_err(|error| format!("{name}: {error}"))
}

fn member(name: &str) -> Result<MemberName, String> {
    MemberName::parse(name.as_bytes()).map_err(|error| format!("{name}: {error}"))
}

fn members(names: &[String]) -> Result<Vec<MemberName>, String> {
    names.iter().map(|name| member(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(member: &str) -> Line {
        Line { at: 1, entry: Entry::Opened { member: member.to_owned() } }
    }

    fn cast(number: u32) -> Cast {
        Cast { number, service: "agreed".to_owned(), groups: vec!["g".to_owned()], bytes: 4 }
    }

    fn sent(number: u32) -> Line {
        Line { at: 2, entry: Entry::Sent(cast(number)) }
    }

    /// The trace of these logs.
    fn trace(logs: &[&[Line]]) -> Result<Trace, Problem> {
        let mut reader = Reader::default();
        for (log, lines) in logs.iter().enumerate() {
            reader.note_deeds(log, lines)?;
        }
        logs.iter().try_for_each(|lines| reader.note_all(lines))?;
        Ok(reader.trace)
    }

    #[test]
    fn a_client_may_come_back_under_its_name() {
        let closed = || Line { at: 3, entry: Entry::Closed };
        let one = [opened("#p#a"), sent(0), closed(), opened("#p#a"), sent(1)];
        let message = Entry::Message { sender: "#p#a".to_owned(), cast: cast(1) };
        let other = [opened("#q#b"), Line { at: 4, entry: message }];
        let trace = trace(&[&one, &other]).expect("logs");
        let records = trace.sessions.iter().map(|session| session.records.len());
        assert_eq!(records.collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(trace.submissions.iter().map(|cast| cast.session).collect::<Vec<_>>(), [0, 1]);
        let got = SessionEvent::Message(Received { submission: 1, intact: true });
        assert_eq!(trace.sessions[2].records[1].1, got);
    }

    #[test]
    fn names_and_numbers_are_of_one_client() {
        let problem = |logs: &[&[Line]]| trace(logs).err().map(|(line, _)| line);
        assert_eq!(problem(&[&[opened("#p#a")], &[opened("#q#a"), opened("#p#a")]]), Some(2));
        assert_eq!(problem(&[&[opened("#p#a"), sent(0), opened("#p#a"), sent(0)]]), Some(4));
        assert_eq!(problem(&[&[sent(0)]]), Some(1));
    }
}
