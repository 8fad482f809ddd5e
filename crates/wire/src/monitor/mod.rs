//! The datagrams of monitor programs: what they ask a daemon for, and the report that it sends back.
//!
//! A request comes to the port for data of other daemons and has a header of 40 bytes:
//!
//! | offset | size | field | a monitor of 4.x | a monitor of 5.x |
//! |---|---|---|---|---|
//! | 0 | 4 | what is asked for, with the endian mark of the client protocol | | |
//! | 4 | 4 | transmitter | 0 | its virtual id |
//! | 8 | 4 | which daemon's place it takes | an IPv4 address | a virtual id |
//! | 12 | 4 | membership | 15,051,963 | 0 |
//! | 16 | 4 | – | 0 | 0 |
//! | 20 | 4 | UDP port for the report | | |
//! | 24 | 4 | – | 0 | 0 |
//! | 28 | 4 | configuration | 1100 | its hash, which is not looked at |
//! | 32 | 2 | bytes of body | | |
//! | 34 | 6 | – | | |
//!
//! The mark gives the byte order of everything. No datagram between daemons begins like one of these, as there the
//! second byte is never 0.

mod report;

use std::net::Ipv4Addr;

use bytes::BufMut;

use crate::client::flags::ENDIAN_MARK;
use crate::reader::{DecodeError, Reader};

pub use report::{GroupsState, REPORT_BYTES, Report, RingState, Version};

/// Bytes of the header of every monitor datagram.
pub const HEADER_BYTES: usize = 40;
/// Daemons that a request has room for.
pub const DAEMONS_MAX: usize = 128;

const REPORT: u32 = 0x0100_0000;
const COMPONENTS: u32 = 0x0200_0000;
const WINDOWS: u32 = 0x0400_0000;
const RELOAD: u32 = 0x0800_0000;

/// What a monitor of 4.x has in place of a membership and of a configuration's hash.
const MEMBERSHIP_OF_4: u32 = 15_051_963;
const CONFIGURATION_OF_4: u32 = 1100;

/// A component that stands for the end of the daemon.
pub const END: i16 = -1;
/// A window that stays as it is. Monitors write 0 where they do not ask for one, too.
const KEEP: i16 = -1;

/// A decoded request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Which daemon's place in the configuration the monitor takes. It reads reports at that daemon's address …
    pub from: Place,
    /// … and this UDP port.
    pub report_port: u16,
    /// What it asks for.
    pub command: Command,
}

/// A daemon of the configuration, as monitors name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// By its address, as those of 4.x do.
    Address(Ipv4Addr),
    /// By its virtual id, as those of 5.x do.
    VirtualId(u32),
}

/// What a monitor asks for. What is said of each daemon stands at its position in the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Where the daemon stands.
    Report,
    /// Which daemons are to hear each other.
    Part(Components),
    /// Other windows.
    SetWindows(WindowChanges),
    /// To read the configuration file again.
    Reload,
}

/// Of each daemon the component that it is to be in. Those of one component hear each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Components(Vec<i16>);

impl Components {
    /// Of the daemons in the order of the configuration; those that are not said are in component 0.
    #[must_use]
    pub fn new(of_each: &[i16]) -> Self {
        let mut components = of_each.to_vec();
        components.resize(DAEMONS_MAX, 0);
        Self(components)
    }

    /// Whether two daemons are to hear each other.
    #[must_use]
    pub fn are_joined(&self, one: usize, other: usize) -> bool {
        self.0.get(one) == self.0.get(other)
    }

    /// Whether a daemon is to end.
    #[must_use]
    pub fn ends(&self, daemon: usize) -> bool {
        self.0.get(daemon) == Some(&END)
    }
}

/// What windows are to be, in packets. The position after the last daemon has that of all daemons together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WindowChanges(Vec<(i16, i16)>);

/// The windows that a request has for one daemon; `None` of those that are to stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WindowChange {
    /// Of all daemons together in a round.
    pub all: Option<u16>,
    /// Of the daemon in a visit.
    pub personal: Option<u16>,
    /// How many of these may follow the token.
    pub after_token: Option<u16>,
}

impl WindowChanges {
    /// Those for one of so many configured daemons.
    #[must_use]
    pub fn of(&self, daemon: usize, daemons: usize) -> WindowChange {
        let changed = |window: i16| u16::try_from(window).ok().filter(|window| *window > 0);
        let (personal, after_token) = self.0.get(daemon).copied().unwrap_or((KEEP, KEEP));
        let (all, _) = self.0.get(daemons).copied().unwrap_or((KEEP, KEEP));
        WindowChange { all: changed(all), personal: changed(personal), after_token: changed(after_token) }
    }
}

impl Request {
    /// The datagram, little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body) = match &self.command {
            Command::Report => (REPORT, Vec::new()),
            Command::Part(Components(components)) => (COMPONENTS, components.clone()),
            Command::SetWindows(WindowChanges(windows)) => {
                (WINDOWS, windows.iter().flat_map(|(first, second)| [*first, *second]).collect())
            }
            Command::Reload => (RELOAD, Vec::new()),
        };
        let (place, membership, configuration) = match self.from {
            Place::Address(address) => (address.to_bits(), MEMBERSHIP_OF_4, CONFIGURATION_OF_4),
            Place::VirtualId(id) => (id, 0, 0),
        };
        let mut to = Vec::with_capacity(HEADER_BYTES + 2 * body.len());
        for word in [kind | ENDIAN_MARK, 0, place, membership, 0, self.report_port.into(), 0, configuration] {
            to.put_u32_le(word);
        }
        // Of these counts and of 128 daemons two numbers each at most.
        to.put_u16_le(2 * body.len() as u16);
        to.put_bytes(0, HEADER_BYTES - to.len());
        body.iter().for_each(|half| to.put_i16_le(*half));
        to
    }
}

/// Whether a datagram is one of a monitor, going by how it begins.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    datagram.first_chunk().is_some_and(|first| kind(*first).is_some())
}

/// What is asked for, and whether the rest is little-endian.
fn kind(first: [u8; 4]) -> Option<(u32, bool)> {
    let (little, big) = (u32::from_le_bytes(first), u32::from_be_bytes(first));
    let (kind, little_endian) =
        if little & ENDIAN_MARK == ENDIAN_MARK { (little & !ENDIAN_MARK, true) } else { (big, false) };
    matches!(kind, REPORT | COMPONENTS | WINDOWS | RELOAD).then_some((kind, little_endian))
}

/// Decodes a request.
///
/// # Errors
/// When it is cut short, has a body of another length than its kind, or is neither of a monitor of 4.x nor of 5.x.
pub fn decode(datagram: &[u8]) -> Result<Request, DecodeError> {
    let mut reader = Reader::new(datagram, "monitor request");
    let first = reader.array()?;
    let (kind, little_endian) =
        kind(first).ok_or_else(|| reader.bad_value("monitor request", u32::from_le_bytes(first).into()))?;
    let mut fields = Fields { reader, little_endian };
    let [_, place, membership, _, report_port, _, configuration] = fields.words()?;
    let [body_bytes, ..] = fields.halves::<4>()?;
    let from = match (membership, configuration) {
        (MEMBERSHIP_OF_4, CONFIGURATION_OF_4) => Place::Address(Ipv4Addr::from_bits(place)),
        (0, _) => Place::VirtualId(place),
        _ => return Err(fields.reader.bad_value("membership of a monitor", membership.into())),
    };
    if usize::from(body_bytes.cast_unsigned()) != fields.reader.remaining() {
        return Err(fields
            .reader
            .bad_value("length of a monitor request", body_bytes.cast_unsigned().into()));
    }
    let report_port = u16::try_from(report_port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| fields.reader.bad_value("port of a monitor", report_port.into()))?;
    let command = match kind {
        COMPONENTS => Command::Part(Components(fields.halves::<DAEMONS_MAX>()?.into())),
        WINDOWS => Command::SetWindows(fields.windows()?),
        RELOAD => Command::Reload,
        _ => Command::Report,
    };
    fields.reader.finish()?;
    Ok(Request { from, report_port, command })
}

/// Numbers in the byte order of a request.
struct Fields<'a> {
    reader: Reader<'a>,
    little_endian: bool,
}

impl Fields<'_> {
    fn words<const COUNT: usize>(&mut self) -> Result<[u32; COUNT], DecodeError> {
        let mut words = [0; COUNT];
        for word in &mut words {
            let bytes = self.reader.array()?;
            *word = if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        }
        Ok(words)
    }

    fn halves<const COUNT: usize>(&mut self) -> Result<[i16; COUNT], DecodeError> {
        let mut halves = [0; COUNT];
        for half in &mut halves {
            let bytes = self.reader.array()?;
            *half = if self.little_endian { i16::from_le_bytes(bytes) } else { i16::from_be_bytes(bytes) };
        }
        Ok(halves)
    }

    fn windows(&mut self) -> Result<WindowChanges, DecodeError> {
        let pairs = (0..DAEMONS_MAX).map(|_| self.halves().map(|[first, second]| (first, second)));
        pairs.collect::<Result<_, _>>().map(WindowChanges)
    }
}

/// The virtual id that 5.x gives to a daemon by its name.
#[must_use]
pub fn virtual_id(name: &[u8]) -> u32 {
    let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    let mixed = name.iter().chain(&[0]).fold(length, |hash, byte| {
        // Bytes are signed numbers there.
        let hash = hash.wrapping_add(i32::from(byte.cast_signed()).cast_unsigned());
        let hash = hash.wrapping_add(hash << 10);
        hash ^ hash >> 6
    });
    let mixed = mixed.wrapping_add(mixed << 3);
    let mixed = mixed ^ mixed >> 11;
    let mixed = mixed.wrapping_add(mixed << 15);
    if mixed == 0 || mixed == u32::MAX { length << 16 } else { mixed }
}

#[cfg(test)]
mod tests;
