//! Who and where: daemons, their incarnations, rings, sequence numbers.

use std::fmt;

/// A configured daemon: its position in the configuration file, from 0.
///
/// The position is also the daemon's place in every member list, as existing clients expect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DaemonId(pub u16);

impl DaemonId {
    /// The position as an index into the configured daemons.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for DaemonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

/// What tells datagrams of one cluster from those of another: a hash of the configuration that its daemons agree on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterHash(pub u32);

impl fmt::Display for ClusterHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One run of a daemon. A restart is a new process under the same [`DaemonId`], never the old one
/// resumed (docs/protocol.md, Words).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ProcessId {
    /// The configured daemon.
    pub daemon: DaemonId,
    /// Different in every run of the daemon; a later run has the greater number.
    pub incarnation: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last digits tell two runs apart; the whole number is a start time nobody reads.
        write!(f, "{}.{}", self.daemon, self.incarnation % 100_000)
    }
}

/// Identity of a ring, and so of the regular configuration that it carries.
///
/// Epochs grow along every process' installations, and a leader proposes an epoch once, so no
/// identity is ever used twice (docs/protocol.md, M8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RingId {
    /// Greater than every epoch that any member had accepted before.
    pub epoch: u64,
    /// The process that proposed the ring.
    pub leader: ProcessId,
}

/// A ring's identity as its packets carry it, in 8 bytes in place of 18.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RingTag(pub u64);

impl RingId {
    /// The tag of this ring's packets.
    ///
    /// Rings that differ in one of epoch, daemon and incarnation alone never share it, as every step is a
    /// bijection; any two others do with a chance of 2⁻⁶⁴, and it would matter only while packets of
    /// the one arrive in the other.
    #[must_use]
    pub fn tag(self) -> RingTag {
        let words = [self.epoch, u64::from(self.leader.daemon.0), self.leader.incarnation];
        RingTag(words.into_iter().fold(0, |tag, word| mixed(tag ^ word)))
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
/// 2014).
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.epoch, self.leader)
    }
}

/// Position of a packet in a ring's total order; the first packet has 1, and 0 means "none yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first packet.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; of the first position, [`Seq::ZERO`].
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many positions this is ahead of `other`; 0 when it is not.
    #[must_use]
    pub fn ahead_of(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// The position `count` further on.
    #[must_use]
    pub fn advanced(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One client connection of one daemon process. Numbers are never used again, so what belongs to a
/// closed session cannot reach the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}
