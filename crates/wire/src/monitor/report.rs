//! What a daemon tells a monitor about itself.

use bytes::BufMut;

use super::{Fields, HEADER_BYTES, REPORT, kind};
use crate::client::flags::ENDIAN_MARK;
use crate::reader::{DecodeError, Reader};

/// Numbers of 32 bits, and of 16, behind the header.
const WORDS: usize = 18;
const HALVES: usize = 12;
/// Bytes behind the header.
const BODY_BYTES: usize = 4 * WORDS + 2 * HALVES;
/// Bytes of a report.
pub const REPORT_BYTES: usize = HEADER_BYTES + BODY_BYTES;

/// A report. Fields of monitors have 32 bits and a sign, or 16: counters begin at 0 again after 2^31 − 1, and what is
/// greater than a small field is shown as the most that it can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The daemon, as the monitor names it: an IPv4 address as a number, or a virtual id.
    pub daemon: u32,
    /// The leader of its ring, named likewise.
    pub leader: u32,
    /// Seconds since the daemon was started.
    pub uptime_s: u64,
    /// State of the membership.
    pub ring: RingState,
    /// State of the groups.
    pub groups_state: GroupsState,
    /// Packets sent, without those that were sent again.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets delivered.
    pub packets_delivered: u64,
    /// Packets sent again, each to all members.
    pub packets_retransmitted: u64,
    /// Up to where all members hold every packet.
    pub stable: u64,
    /// Up to where this daemon does.
    pub held: u64,
    /// The highest number of a packet.
    pub highest: u64,
    /// Tokens sent again.
    pub tokens_retransmitted: u64,
    /// Visits of the token.
    pub token_visits: u64,
    /// Messages delivered.
    pub messages_delivered: u64,
    /// Rings installed.
    pub rings_installed: u64,
    /// Members of the ring.
    pub members: usize,
    /// Configured segments.
    pub segments: usize,
    /// New packets of all members in a round.
    pub window: u32,
    /// Of one member in a visit.
    pub personal_window: u32,
    /// How many of these may follow the token.
    pub accelerated_window: u32,
    /// Established sessions.
    pub sessions: usize,
    /// Groups with members anywhere.
    pub groups: usize,
    /// What clients are told too.
    pub version: Version,
}

/// Major, minor and patch.
pub type Version = [u8; 3];

/// The state of the membership, in numbers of monitors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum RingState {
    /// A ring is installed.
    Operational = 1,
    /// Others are looked for.
    Gather = 4,
    /// A ring is agreed on.
    Form = 5,
    /// What is left of the ring before is made good.
    Recovery = 6,
}

/// The state of the groups, in numbers of monitors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum GroupsState {
    /// They are known.
    Operational = 1,
    /// Daemons tell each other of theirs.
    Gather = 3,
}

impl Report {
    /// The datagram, little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(REPORT_BYTES);
        self.put_header(&mut to);
        to.put_i32_le(counter(self.uptime_s));
        to.put_i32_le(self.ring as i32);
        to.put_i32_le(self.groups_state as i32);
        for number in [self.packets_sent, self.packets_received, self.packets_delivered] {
            to.put_i32_le(counter(number));
        }
        // In all; to one daemon, to a segment, to all.
        for number in [self.packets_retransmitted, 0, 0, self.packets_retransmitted] {
            to.put_i32_le(counter(number));
        }
        for number in [self.stable, self.held, self.highest, self.tokens_retransmitted, self.token_visits] {
            to.put_i32_le(counter(number));
        }
        to.put_u32_le(self.daemon);
        to.put_u32_le(self.leader);
        to.put_i32_le(counter(self.messages_delivered));
        to.put_i16_le(small(self.rings_installed));
        to.put_i16_le(small(self.members as u64));
        to.put_i16_le(small(self.segments as u64));
        to.put_i16_le(small(self.window.into()));
        to.put_i16_le(small(self.personal_window.into()));
        to.put_i16_le(i16::from(self.accelerated_window > 0));
        to.put_i16_le(small(self.accelerated_window.into()));
        to.put_i16_le(small(self.sessions as u64));
        to.put_i16_le(small(self.groups as u64));
        self.version.iter().for_each(|number| to.put_i16_le((*number).into()));
        to
    }

    fn put_header(&self, to: &mut Vec<u8>) {
        const MIDDLE_BYTES: usize = 20;
        const END_BYTES: usize = 6;
        to.put_u32_le(REPORT | ENDIAN_MARK);
        to.put_u32_le(0);
        to.put_u32_le(self.daemon);
        to.put_bytes(0, MIDDLE_BYTES);
        to.put_u16_le(BODY_BYTES as u16);
        to.put_bytes(0, END_BYTES);
    }
}

impl Report {
    /// Decodes a report, in either byte order.
    ///
    /// # Errors
    /// When it is none, or has a state that no daemon of ours has.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram, "monitor report");
        let first = reader.array()?;
        let Some((REPORT, little_endian)) = kind(first) else {
            return Err(reader.bad_value("monitor report", u32::from_le_bytes(first).into()));
        };
        reader.take(HEADER_BYTES - first.len())?;
        let mut fields = Fields { reader, little_endian };
        let words = fields.words::<WORDS>()?;
        let halves = fields.halves::<HALVES>()?;
        let [uptime, ring, groups, sent, received, delivered, again, _, _, _, stable, held, highest, ..] =
            words;
        let [.., tokens_again, visits, daemon, leader, messages] = words;
        let [rings, members, segments, window, personal, is_accelerated, after_token, sessions, ..] = halves;
        let [.., groups_count, major, minor, patch] = halves;
        let ring =
            RingState::of(ring).ok_or_else(|| fields.reader.bad_value("state of a ring", ring.into()))?;
        let groups_state = GroupsState::of(groups)
            .ok_or_else(|| fields.reader.bad_value("state of groups", groups.into()))?;
        fields.reader.finish()?;
        let count = |half: i16| usize::from(half.cast_unsigned());
        let packets = |half: i16| u32::from(half.cast_unsigned());
        Ok(Self {
            daemon,
            leader,
            uptime_s: uptime.into(),
            ring,
            groups_state,
            packets_sent: sent.into(),
            packets_received: received.into(),
            packets_delivered: delivered.into(),
            packets_retransmitted: again.into(),
            stable: stable.into(),
            held: held.into(),
            highest: highest.into(),
            tokens_retransmitted: tokens_again.into(),
            token_visits: visits.into(),
            messages_delivered: messages.into(),
            rings_installed: rings.cast_unsigned().into(),
            members: count(members),
            segments: count(segments),
            window: packets(window),
            personal_window: packets(personal),
            accelerated_window: if is_accelerated == 0 { 0 } else { packets(after_token) },
            sessions: count(sessions),
            groups: count(groups_count),
            version: [major, minor, patch].map(|number| number as u8),
        })
    }
}

impl RingState {
    fn of(number: u32) -> Option<Self> {
        [Self::Operational, Self::Gather, Self::Form, Self::Recovery]
            .into_iter()
            .find(|state| *state as u32 == number)
    }
}

impl GroupsState {
    fn of(number: u32) -> Option<Self> {
        [Self::Operational, Self::Gather].into_iter().find(|state| *state as u32 == number)
    }
}

fn counter(number: u64) -> i32 {
    (number & i32::MAX as u64) as i32
}

fn small(number: u64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
