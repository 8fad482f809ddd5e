//! The datagrams between daemons.
//!
//! Every datagram starts with the same 10 bytes, all integers little-endian:
//!
//! ```text
//! u8 version · u8 kind · u8 key id (0: not sealed) · u8 flags · u32 cluster hash · u16 sending daemon
//! ```
//!
//! Then follow, in data packets, the fields of [`packet`], and in all others the incarnation of the
//! sender (u64) and the fields of their kind. A control datagram that does not fit one packet is sent
//! as [`Piece`]s. One with the flag [`PADDED`] goes on with bytes that mean nothing.

pub mod attempt;
pub mod chunk;
pub mod codec;
pub mod gossip;
pub mod multicast;
pub mod packet;
pub mod piece;
pub mod ranges;
pub mod token;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::{ClusterHash, DaemonId, ProcessId};
use crate::reader::{DecodeError, Reader};
use attempt::{Accept, Commit, Done, Install, Propose, RecoveryRequest};
use gossip::{Ack, Hello, Join, Leave, MergeRequest, Probe, Wake};
use packet::{Packet, PacketHeader};
use piece::Piece;
use token::Token;

/// Version of the daemon protocol; datagrams with another one are refused.
pub const VERSION: u8 = 8;

/// Bytes that all datagrams have in common.
pub const HEADER_BYTES: usize = 10;

/// The same with the incarnation of the sender, which all but data packets have.
const CONTROL_HEADER_BYTES: usize = HEADER_BYTES + 8;

/// Where among them the id of the key that the rest is sealed with stands; 0 if it is not.
pub const KEY_ID: usize = 2;

/// Where among them the flags stand.
const FLAGS: usize = 3;

/// Where among them the hash of the sender's configuration stands.
pub const CLUSTER_HASH: std::ops::Range<usize> = 4..8;

/// Flag of a control datagram that was made longer to show that datagrams of its length arrive.
pub const PADDED: u8 = 1;

/// A decoded datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Datagram {
    /// Ordered messages.
    Packet(Packet),
    /// The token.
    Token(Token),
    /// Who I hear, said while looking for a ring.
    Join(Join),
    /// Which ring I am in and which outsiders I hear.
    Hello(Hello),
    /// A clean goodbye.
    Leave(Leave),
    /// One ring's representative asks another's to merge.
    MergeRequest(MergeRequest),
    /// A member has messages while the token rests.
    Wake(Wake),
    /// A leader proposes a ring.
    Propose(Propose),
    /// A member accepts and reports what it holds of its old ring.
    Accept(Accept),
    /// All members accepted; here is what each holds.
    Commit(Commit),
    /// A member lacks packets of the old ring.
    RecoveryRequest(RecoveryRequest),
    /// A member holds everything.
    Done(Done),
    /// All members hold everything: install.
    Install(Install),
    /// A piece of a larger datagram.
    Piece(Piece),
    /// Up to where packets are held.
    Ack(Ack),
    /// What is told to one daemon alone arrives.
    Probe(Probe),
}

/// What a datagram is, without its fields: for counters, filters and faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are those of Datagram")]
pub enum DatagramKind {
    Packet = 1,
    Token = 2,
    Join = 3,
    Hello = 4,
    Leave = 5,
    MergeRequest = 6,
    Wake = 7,
    Propose = 8,
    Accept = 9,
    Commit = 10,
    RecoveryRequest = 11,
    Done = 12,
    Install = 13,
    Piece = 14,
    Ack = 15,
    Probe = 16,
}

impl DatagramKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Packet,
        Self::Token,
        Self::Join,
        Self::Hello,
        Self::Leave,
        Self::MergeRequest,
        Self::Wake,
        Self::Propose,
        Self::Accept,
        Self::Commit,
        Self::RecoveryRequest,
        Self::Done,
        Self::Install,
        Self::Piece,
        Self::Ack,
        Self::Probe,
    ];

    /// The kind of an encoded datagram, without decoding the rest.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::from_number(*bytes.get(1)?)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Who sent a datagram, and in which cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Hash of the sender's configuration.
    pub cluster: ClusterHash,
    /// The sending daemon.
    pub daemon: DaemonId,
}

/// The version of a datagram in another format, whose first [`HEADER_BYTES`] mean the same, and the hash of its sender's
/// configuration.
#[must_use]
pub fn other_version(bytes: &[u8]) -> Option<(u8, ClusterHash)> {
    let version = bytes.first().filter(|version| **version != VERSION)?;
    let cluster = bytes.get(CLUSTER_HASH)?.first_chunk()?;
    Some((*version, ClusterHash(u32::from_le_bytes(*cluster))))
}

/// Writes the common header.
pub(crate) fn put_header(kind: DatagramKind, flags: u8, envelope: Envelope, to: &mut impl BufMut) {
    to.put_u8(VERSION);
    to.put_u8(kind as u8);
    to.put_u8(0);
    to.put_u8(flags);
    to.put_u32_le(envelope.cluster.0);
    to.put_u16_le(envelope.daemon.0);
}

/// Reads the common header; returns the kind, the flags and the envelope.
fn header(reader: &mut Reader<'_>) -> Result<(DatagramKind, u8, Envelope), DecodeError> {
    let version = reader.u8()?;
    if version != VERSION {
        return Err(reader.bad_value("protocol version", u64::from(version)));
    }
    let number = reader.u8()?;
    let kind = DatagramKind::from_number(number);
    let kind = kind.ok_or_else(|| reader.bad_value("datagram kind", u64::from(number)))?;
    let key = reader.u8()?;
    if key != 0 {
        return Err(reader.bad_value("key id", u64::from(key)));
    }
    let flags = reader.u8()?;
    let envelope = Envelope { cluster: ClusterHash(reader.u32()?), daemon: DaemonId(reader.u16()?) };
    Ok((kind, flags, envelope))
}

/// Decodes a datagram.
///
/// # Errors
/// When it is not exactly one datagram of this protocol version.
pub fn decode(bytes: Bytes) -> Result<(Envelope, Datagram), DecodeError> {
    let mut reader = Reader::new(&bytes, "datagram");
    let (kind, flags, envelope) = header(&mut reader)?;
    if kind == DatagramKind::Packet {
        let header = PacketHeader::decode(flags, envelope.daemon, &mut reader)?;
        let packet = Packet { header, bytes };
        return Ok((envelope, Datagram::Packet(packet)));
    }
    let from = ProcessId { daemon: envelope.daemon, incarnation: reader.u64()? };
    let r = &mut reader;
    let datagram = match kind {
        DatagramKind::Packet => return Err(reader.bad_value("datagram kind", 0)),
        DatagramKind::Token => Datagram::Token(Token::decode(from, r)?),
        DatagramKind::Join => Datagram::Join(Join::decode(from, r)?),
        DatagramKind::Hello => Datagram::Hello(Hello::decode(from, r)?),
        DatagramKind::Leave => Datagram::Leave(Leave::decode(from, r)?),
        DatagramKind::MergeRequest => Datagram::MergeRequest(MergeRequest::decode(from, r)?),
        DatagramKind::Wake => Datagram::Wake(Wake::decode(from, r)?),
        DatagramKind::Propose => Datagram::Propose(Propose::decode(from, r)?),
        DatagramKind::Accept => Datagram::Accept(Accept::decode(from, r)?),
        DatagramKind::Commit => Datagram::Commit(Commit::decode(from, r)?),
        DatagramKind::RecoveryRequest => Datagram::RecoveryRequest(RecoveryRequest::decode(from, r)?),
        DatagramKind::Done => Datagram::Done(Done::decode(from, r)?),
        DatagramKind::Install => Datagram::Install(Install::decode(from, r)?),
        DatagramKind::Piece => Datagram::Piece(Piece::decode(from, &bytes, r)?),
        DatagramKind::Ack => Datagram::Ack(Ack::decode(from, r)?),
        DatagramKind::Probe => Datagram::Probe(Probe::decode(from, r)?),
    };
    if flags & PADDED == 0 {
        reader.finish()?;
    }
    Ok((envelope, datagram))
}

impl Datagram {
    /// What the datagram is.
    #[must_use]
    pub fn kind(&self) -> DatagramKind {
        match self {
            Self::Packet(_) => DatagramKind::Packet,
            Self::Token(_) => DatagramKind::Token,
            Self::Join(_) => DatagramKind::Join,
            Self::Hello(_) => DatagramKind::Hello,
            Self::Leave(_) => DatagramKind::Leave,
            Self::MergeRequest(_) => DatagramKind::MergeRequest,
            Self::Wake(_) => DatagramKind::Wake,
            Self::Propose(_) => DatagramKind::Propose,
            Self::Accept(_) => DatagramKind::Accept,
            Self::Commit(_) => DatagramKind::Commit,
            Self::RecoveryRequest(_) => DatagramKind::RecoveryRequest,
            Self::Done(_) => DatagramKind::Done,
            Self::Install(_) => DatagramKind::Install,
            Self::Piece(_) => DatagramKind::Piece,
            Self::Ack(_) => DatagramKind::Ack,
            Self::Probe(_) => DatagramKind::Probe,
        }
    }

    /// The process that sent the datagram; `None` for a packet, whose sender is known by its ring.
    #[must_use]
    pub fn from(&self) -> Option<ProcessId> {
        match self {
            Self::Packet(_) => None,
            Self::Token(x) => Some(x.from),
            Self::Join(x) => Some(x.from),
            Self::Hello(x) => Some(x.from),
            Self::Leave(x) => Some(x.from),
            Self::MergeRequest(x) => Some(x.from),
            Self::Wake(x) => Some(x.from),
            Self::Propose(x) => Some(x.from),
            Self::Accept(x) => Some(x.from),
            Self::Commit(x) => Some(x.from),
            Self::RecoveryRequest(x) => Some(x.from),
            Self::Done(x) => Some(x.from),
            Self::Install(x) => Some(x.from),
            Self::Piece(x) => Some(x.from),
            Self::Ack(x) => Some(x.from),
            Self::Probe(x) => Some(x.from),
        }
    }

    /// Encodes a control datagram and makes it `datagram_bytes` long if it is shorter.
    #[must_use]
    pub fn encode_padded(&self, cluster: ClusterHash, datagram_bytes: usize) -> Bytes {
        let bytes = self.encode(cluster);
        if bytes.len() >= datagram_bytes {
            return bytes;
        }
        let mut padded = BytesMut::from(bytes);
        padded.resize(datagram_bytes, 0);
        if let Some(flags) = padded.get_mut(FLAGS) {
            *flags |= PADDED;
        }
        padded.freeze()
    }

    /// Encodes a datagram. A packet is encoded once, when it is made, and this returns those bytes.
    #[must_use]
    pub fn encode(&self, cluster: ClusterHash) -> Bytes {
        if let Self::Packet(packet) = self {
            return packet.bytes.clone();
        }
        let from = self.from().unwrap_or_default();
        let mut to = BytesMut::with_capacity(256);
        put_header(self.kind(), 0, Envelope { cluster, daemon: from.daemon }, &mut to);
        to.put_u64_le(from.incarnation);
        match self {
            Self::Packet(_) => {}
            Self::Token(x) => x.encode(&mut to),
            Self::Join(x) => x.encode(&mut to),
            Self::Hello(x) => x.encode(&mut to),
            Self::Leave(x) => x.encode(&mut to),
            Self::MergeRequest(x) => x.encode(&mut to),
            Self::Wake(x) => x.encode(&mut to),
            Self::Propose(x) => x.encode(&mut to),
            Self::Accept(x) => x.encode(&mut to),
            Self::Commit(x) => x.encode(&mut to),
            Self::RecoveryRequest(x) => x.encode(&mut to),
            Self::Done(x) => x.encode(&mut to),
            Self::Install(x) => x.encode(&mut to),
            Self::Piece(x) => x.encode(&mut to),
            Self::Ack(x) => x.encode(&mut to),
            Self::Probe(x) => x.encode(&mut to),
        }
        to.freeze()
    }
}

#[cfg(test)]
mod tests;
