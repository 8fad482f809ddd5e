//! Counters of what happened, and a snapshot of where things stand. Nothing in the protocol reads them.

use std::fmt;

use antiphon_wire::ids::{ClusterHash, ProcessId, RingId, Seq};
use antiphon_wire::names::MemberName;

use crate::config::Windows;

/// Where a daemon stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The state of the membership protocol.
    pub state: StateName,
    /// The installed ring.
    pub ring: RingId,
    /// Its members, in daemon order.
    pub members: Vec<ProcessId>,
    /// Why the ring before was left and each step to this one; if it is being left itself, why.
    pub reasons: Vec<String>,
    /// The list of daemons that [`crate::Input::Reload`] brought, while others are to be given it too.
    pub next_cluster: Option<NextCluster>,
    /// Whether the groups exchange of the ring is complete.
    pub settled: bool,
    /// Up to where all members hold every packet, as far as is known here.
    pub stable: Seq,
    /// Up to where this daemon holds every packet.
    pub held: Seq,
    /// The highest number of a packet here.
    pub highest: Seq,
    /// New packets that a round of the token may have.
    pub windows: Windows,
    /// Packets kept because some member may still need them.
    pub packets_held: usize,
    /// Messages of which the end has not come.
    pub messages_unfinished: usize,
    /// Messages waiting for the token.
    pub messages_waiting: usize,
    /// Bytes in them.
    pub bytes_waiting: usize,
    /// Established sessions.
    pub sessions: usize,
    /// Groups that have members anywhere.
    pub groups: usize,
}

/// A list of daemons that members of the ring do not agree on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextCluster {
    /// Hash of the one that is to take effect here, or that has.
    pub hash: ClusterHash,
    /// Members that have another, or have not said that they have it.
    pub lacking: Vec<ProcessId>,
}

/// How far the sessions of a daemon are behind with reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Readers {
    /// Bytes of all sessions together.
    pub bytes_behind: usize,
    /// Bytes of memory that these take, and requests that are not whole: what several share counts once.
    pub bytes_kept: usize,
    /// The sessions that are furthest behind, the furthest first.
    pub furthest: Vec<Behind>,
}

/// A state of the membership protocol; the head of `crates/proto/src/membership/mod.rs` has the diagram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StateName {
    /// A ring is installed.
    Operational,
    /// Looks for daemons to form a ring with.
    Gather,
    /// Has accepted a ring that was proposed.
    Accepted,
    /// Everyone has; packets of the old ring are made good.
    Recover,
    /// Says goodbye.
    Leaving,
}

impl fmt::Display for StateName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Operational => "operational",
            Self::Gather => "gather",
            Self::Accepted => "accepted",
            Self::Recover => "recover",
            Self::Leaving => "leaving",
        })
    }
}

/// A session that has not read everything that is for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Behind {
    /// Its name.
    pub member: MemberName,
    /// Messages that it has not read whole.
    pub messages: usize,
    /// Bytes in them.
    pub bytes: usize,
}

/// Counters since the daemon started. All of them only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Datagrams that are not ours at all: malformed, of another version or cluster, or such as no daemon makes.
    pub datagrams_rejected: u64,
    /// Datagrams of a ring, an attempt or a process that is not current.
    pub datagrams_stale: u64,
    /// Control datagrams that were not sent, as they need more pieces than a datagram may have.
    pub datagrams_too_long: u64,
    /// Times that gossip did not go to a daemon of which nothing is heard, so that others can be reached.
    pub gossip_withheld: u64,
    /// Control datagrams of which pieces were missing until others took their place.
    pub datagrams_unfinished: u64,
    /// Packets received for the first time.
    pub packets_received: u64,
    /// Packets received again.
    pub packets_duplicate: u64,
    /// New packets sent.
    pub packets_sent: u64,
    /// Packets sent again because someone asked.
    pub packets_retransmitted: u64,
    /// Token visits.
    pub token_visits: u64,
    /// Tokens sent again.
    pub tokens_retransmitted: u64,
    /// Messages put on the ring.
    pub messages_sent: u64,
    /// Messages delivered to the groups layer.
    pub messages_delivered: u64,
    /// How often deliveries began to wait until outboxes were offered to their sockets.
    pub deliveries_put_off: u64,
    /// Messages of clients behind a hole that has swallowed a part of the groups exchange.
    pub messages_unroutable: u64,
    /// Fragments of no use: their message was cut by a configuration change or is over a limit. Also
    /// messages with a preamble that their sender has not said, and packets with a malformed message.
    pub fragments_dropped: u64,
    /// Rings installed.
    pub rings_installed: u64,
    /// Membership attempts that failed.
    pub attempts_failed: u64,
    /// Sessions accepted.
    pub sessions_accepted: u64,
    /// Sessions refused in the handshake.
    pub sessions_refused: u64,
    /// Connections closed because too little was said in time even to be refused.
    pub handshakes_timed_out: u64,
    /// Sessions closed for an error in their requests.
    pub sessions_errored: u64,
    /// Sessions cut off because they read too slowly.
    pub sessions_slow: u64,
    /// Readers that the ring waited for in vain.
    pub readers_given_up: u64,
    /// Joins, leaves and ends of sessions, and what daemons say of their groups and lists, that could not be decoded.
    pub groups_messages_rejected: u64,
}
