//! Plays a recorded exchange against a daemon and compares what comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::golden::{Line, Step};
use super::hex;
use super::raw::{ANSWER_LIMIT, Raw};

/// Recorded silences are cut to this; what should not come would come at once.
const SILENCE_LIMIT: Duration = Duration::from_millis(250);
/// How long the end of an exchange is watched for bytes that were not recorded.
const END_SILENCE: Duration = Duration::from_millis(40);
const SERVICE_BITS: u32 = 0x3f;
const MEMBERSHIP_BITS: u32 = 0x3f00;
const GROUP_ID_BYTES: usize = 12;

/// Where and how a daemon's bytes differ from the recorded ones.
#[derive(Debug)]
pub(crate) struct Difference {
    line: usize,
    connection: String,
    expected: String,
    found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let same = self.expected.bytes().zip(self.found.bytes()).take_while(|(a, b)| a == b).count();
        writeln!(
            f,
            "line {}, connection {:?}, first difference at byte {}",
            self.line,
            self.connection,
            same / 2
        )?;
        writeln!(f, "  expected {}", self.expected)?;
        writeln!(f, "  found    {}", self.found)?;
        write!(f, "           {}^", " ".repeat(same))
    }
}

/// The connections of an exchange, which may continue in another file.
pub(crate) struct Replay<'a> {
    connections: BTreeMap<String, Connection>,
    open: Box<dyn Fn(&str) -> Raw + 'a>,
    ids: Renaming,
    /// Units after the handshake are written byte by byte.
    pub(crate) dribble: bool,
    /// The private name is the daemon's invention.
    pub(crate) invented_name: bool,
}

struct Connection {
    raw: Option<Raw>,
    handshake: Handshake,
}

/// What was read of the accept reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    Before,
    Accepted,
    Version,
    NameLength(u8),
    Open,
}

impl<'a> Replay<'a> {
    /// `open` connects, given the name of a connection.
    pub(crate) fn new(open: impl Fn(&str) -> Raw + 'a) -> Self {
        Self {
            connections: BTreeMap::new(),
            open: Box::new(open),
            ids: Renaming::default(),
            dribble: false,
            invented_name: false,
        }
    }

    /// Plays lines up to the first difference.
    pub(crate) fn play(&mut self, lines: &[Line]) -> Result<(), Difference> {
        lines.iter().try_for_each(|line| self.step(line))
    }

    /// Checks that nothing more comes on any connection.
    pub(crate) fn finish(&mut self) -> Result<(), Difference> {
        let names: Vec<String> = self.connections.keys().cloned().collect();
        let last = |connection| Line { number: 0, connection, step: Step::Silent(END_SILENCE) };
        names.into_iter().try_for_each(|name| self.step(&last(name)))
    }

    /// A connection, for what is in no record.
    pub(crate) fn raw(&mut self, connection: &str) -> &mut Raw {
        let raw = self.connections.get_mut(connection).and_then(|connection| connection.raw.as_mut());
        raw.expect("an open connection")
    }

    /// Closes a connection from the client's side; it may be opened anew.
    pub(crate) fn close(&mut self, connection: &str) {
        self.connections.remove(connection);
    }

    fn step(&mut self, line: &Line) -> Result<(), Difference> {
        if !self.connections.contains_key(&line.connection) {
            let fresh = Connection { raw: Some((self.open)(&line.connection)), handshake: Handshake::Before };
            self.connections.insert(line.connection.clone(), fresh);
        }
        let connection = self.connections.get_mut(&line.connection).expect("just inserted");
        let Some(raw) = &mut connection.raw else { return Ok(()) };
        let differs = |expected: String, found: String| {
            Err(Difference { line: line.number, connection: line.connection.clone(), expected, found })
        };
        match &line.step {
            Step::Send(bytes) => {
                let pieces =
                    if self.dribble && connection.handshake == Handshake::Open { 1 } else { bytes.len() };
                if let Some(error) = bytes.chunks(pieces).find_map(|piece| raw.send(piece).err()) {
                    return differs(format!("room for {}", hex(bytes)), error.to_string());
                }
            }
            Step::Expect(bytes) => return self.expect(line, bytes),
            Step::Eof => {
                if !raw.is_closed(ANSWER_LIMIT) {
                    return differs("the end".to_owned(), hex(&raw.read(1024, SILENCE_LIMIT)));
                }
                connection.raw = None;
            }
            Step::Close => connection.raw = None,
            Step::Silent(time) => {
                let found = raw.read(1024, SILENCE_LIMIT.min(*time));
                if !found.is_empty() {
                    return differs("nothing".to_owned(), hex(&found));
                }
            }
        }
        Ok(())
    }

    fn expect(&mut self, line: &Line, expected: &[u8]) -> Result<(), Difference> {
        let connection = self.connections.get_mut(&line.connection).expect("opened by the caller");
        let raw = connection.raw.as_mut().expect("not closed");
        let count = match connection.handshake {
            Handshake::NameLength(length) if self.invented_name => usize::from(length),
            _ => expected.len(),
        };
        let found = raw.read(count, ANSWER_LIMIT);
        let same = match connection.handshake {
            Handshake::Accepted => found.len() == expected.len() && found.iter().all(|byte| *byte < 128),
            Handshake::Version if self.invented_name => found.len() == 1 && found[0] < 32,
            Handshake::NameLength(length) if self.invented_name => {
                found.len() == usize::from(length)
                    && found.starts_with(b"#r")
                    && found.ends_with(b"#localhost")
            }
            Handshake::Open => self.ids.same(expected, &found),
            _ => found == expected,
        };
        if !same {
            return Err(Difference {
                line: line.number,
                connection: line.connection.clone(),
                expected: hex(expected),
                found: hex(&[found, raw.read(2048, END_SILENCE)].concat()),
            });
        }
        connection.handshake = connection.handshake.after(&found);
        Ok(())
    }
}

impl Handshake {
    fn after(self, unit: &[u8]) -> Self {
        match self {
            Self::Before if unit == [1] => Self::Accepted,
            Self::Before => Self::Before,
            Self::Accepted => Self::Version,
            Self::Version => Self::NameLength(unit.first().copied().unwrap_or_default()),
            Self::NameLength(_) | Self::Open => Self::Open,
        }
    }
}

/// Which recorded group ids stand for which of this run: leader and time.
#[derive(Default)]
struct Renaming {
    recorded: BTreeMap<[u8; 8], [u8; 8]>,
}

impl Renaming {
    /// Compares two messages up to renaming.
    fn same(&mut self, recorded: &[u8], here: &[u8]) -> bool {
        let Some(at) = group_id(recorded).filter(|_| recorded.len() == here.len()) else {
            return recorded == here;
        };
        let id = |bytes: &[u8]| -> [u8; 8] { bytes[at..at + 8].try_into().expect("eight bytes") };
        let rest = |bytes: &[u8]| [&bytes[..at], &bytes[at + 8..]].concat();
        rest(recorded) == rest(here) && self.pair(id(recorded), id(here))
    }

    /// One id here never stands for two recorded ones. The other way round it may: after a network
    /// change that left a group alone, the stock daemon keeps the old configuration's id for its next
    /// views, and this one gives them the current configuration's.
    fn pair(&mut self, recorded: [u8; 8], here: [u8; 8]) -> bool {
        *self.recorded.entry(here).or_insert(recorded) == recorded
    }
}

/// Compares a message with a recorded one, whatever the group id.
pub(crate) fn compare(line: &Line, found: &[u8]) -> Result<(), Difference> {
    let Step::Expect(expected) = &line.step else { panic!("line {} expects nothing", line.number) };
    if Renaming::default().same(expected, found) {
        return Ok(());
    }
    let connection = line.connection.clone();
    Err(Difference { line: line.number, connection, expected: hex(expected), found: hex(found) })
}

/// Where the group id of a message lies, if it has one.
fn group_id(message: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u32::from_le_bytes(message.get(at..at + 4)?.try_into().ok()?));
    let (flags, body) = (word(0)?, 48 + 32 * word(36)? as usize);
    let membership = flags & MEMBERSHIP_BITS != 0 && flags & SERVICE_BITS == 0;
    (membership && message.len() >= body + GROUP_ID_BYTES).then_some(body)
}
