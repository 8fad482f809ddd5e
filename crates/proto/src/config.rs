//! Everything that can be tuned, with its default. Read-only after construction, but for the windows that a round
//! begins with ([`crate::Input::SetWindows`]) and the list of daemons ([`crate::Input::Reload`]).

use std::net::Ipv4Addr;
use std::time::Duration;

pub use antiphon_wire::client::handshake::AuthMethod;
use antiphon_wire::ids::{ClusterHash, DaemonId, ProcessId};
use antiphon_wire::monitor::WindowChange;
use antiphon_wire::names::DaemonName;

pub use crate::sessions::access::{AccessRule, Authentication};

/// One configured daemon, as the core sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Daemon {
    /// Its name, which ends the private group names of its clients.
    pub name: DaemonName,
    /// Its address as the number that existing clients see in group ids; no other daemon has the same.
    pub address: Ipv4Addr,
}

/// The daemons of a cluster, which all of them must agree on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// All configured daemons; a [`DaemonId`] is a position in this list.
    pub daemons: Vec<Daemon>,
    /// What tells datagrams of daemons with this list from others.
    pub hash: ClusterHash,
}

impl Cluster {
    /// Whether no place has one daemon in this list and another in the other.
    fn agrees_with(&self, other: &Self) -> bool {
        self.daemons.iter().zip(&other.daemons).all(|(one, other)| one == other)
    }
}

/// In a wide area network everything takes so many times as long …
const WIDE_AREA: u32 = 10;
/// … but what is repeated until it is answered, which takes two ways of 150 ms.
const LONG_WAYS: Duration = Duration::from_millis(350);
/// So many times as long it takes until the ring has become slower for a slow reader.
const WIDE_AREA_OF_READERS: u32 = 4;

/// How one daemon behaves. Daemons of a cluster may differ in everything but `cluster`, and in that as [`crate::Input::Reload`]
/// lets them; safety depends on none of the times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// All configured daemons. Datagrams with another hash are ignored, unless it is one of `other_clusters`.
    pub cluster: Cluster,
    /// Which of them I am.
    pub me: DaemonId,
    /// Lists that this daemon has had or was told to go over to, maybe the present one among them; at most one of each
    /// length, and no two with different daemons at one place. None at first.
    pub other_clusters: Vec<Cluster>,
    /// Limits and times of the ordering protocol.
    pub ring: RingConfig,
    /// Times of the membership protocol.
    pub membership: MembershipConfig,
    /// Limits and rules for clients.
    pub sessions: SessionConfig,
    /// The fault to have, in tests.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

/// What a round of the token may send, in packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// New packets of all members together (`Window`).
    pub all: u32,
    /// Of one member in a visit (`PersonalWindow`).
    pub personal: u32,
    /// How many of these may follow the token instead of preceding it (`AcceleratedWindow`).
    pub after_token: u32,
}

/// Limits and times of the ordering protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RingConfig {
    /// Largest datagram in bytes, UDP payload. 1472 fills an Ethernet frame.
    pub datagram_bytes: usize,
    /// The windows of a ring at first. It changes them by what the network takes.
    pub windows: Windows,
    /// How far the ring may raise the window of all (`WindowLimit`). The smallest limit of a ring's members counts;
    /// a daemon with a small receive buffer has a small one.
    pub window_limit_packets: u32,
    /// Packets that may be on the ring without being held by everyone.
    pub outstanding_packets: u64,
    /// Messages waiting for the token above which clients are not read.
    pub send_queue_messages: usize,
    /// Bytes waiting for the token above which clients are not read.
    pub send_queue_bytes: usize,
    /// Bytes of one session that are sent before the next session's turn.
    pub session_quantum_bytes: usize,
    /// Without a sign that the token arrived, it is sent again after this long at the latest, after an eighth of it at
    /// the earliest. Also how late a packet may be at most before it is asked for.
    pub token_retransmit: Duration,
    /// Without any token for this long at least, the ring is broken (`TokenTimeout`); docs/protocol.md, M16, says
    /// what makes it longer.
    pub token_loss: Duration,
    /// How long the idle token rests.
    pub token_rest: Duration,
    /// How often a daemon with messages asks for the resting token; goodbyes are twice as far apart.
    pub wake: Duration,
    /// A member whose acknowledged prefix stands still for this long while it asks for packets is
    /// deaf to someone, and the ring re-forms.
    pub deaf: Duration,
    /// What is added to the numbers of all packets and hops of a ring: 0, but in simulations of rings that
    /// have worked for ever. The same at all daemons.
    pub numbers_from: u64,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self {
            datagram_bytes: 1472,
            windows: Windows { all: 160, personal: 20, after_token: 15 },
            window_limit_packets: 1280,
            outstanding_packets: 4096,
            send_queue_messages: 8192,
            send_queue_bytes: 1 << 20,
            session_quantum_bytes: 16 << 10,
            token_retransmit: Duration::from_millis(8),
            token_loss: Duration::from_millis(200),
            token_rest: Duration::from_millis(20),
            wake: Duration::from_millis(2),
            deaf: Duration::from_millis(1000),
            numbers_from: 0,
        }
    }
}

impl RingConfig {
    /// Takes other windows. Each is bounded by the one above it when it is used, so that it is what it was when that one
    /// is raised again. In a ring that is not accelerated nothing follows the token.
    pub(crate) fn change_windows(&mut self, change: WindowChange) {
        let wanted = |new: Option<u16>, old: u32| new.map_or(old, |new| u32::from(new).max(1));
        let Windows { all, personal, after_token } = &mut self.windows;
        *all = wanted(change.all, *all).min(self.window_limit_packets.max(1));
        *personal = wanted(change.personal, *personal);
        if *after_token > 0 {
            *after_token = wanted(change.after_token, *after_token);
        }
    }

    /// The same limits, with times for daemons between which a datagram takes up to 150 ms, as on the way to
    /// another continent, and the token about a second for a round.
    #[must_use]
    pub fn in_wide_area(self) -> Self {
        Self {
            token_retransmit: LONG_WAYS,
            token_loss: self.token_loss * WIDE_AREA,
            token_rest: self.token_rest * WIDE_AREA,
            wake: self.wake * WIDE_AREA,
            deaf: self.deaf * WIDE_AREA,
            ..self
        }
    }
}

/// Times of the membership protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipConfig {
    /// How often a daemon that looks for others says whom it hears.
    pub join: Duration,
    /// How long it waits for others at most before it proposes a ring.
    pub gather: Duration,
    /// How long word of a neighbour counts.
    pub fresh: Duration,
    /// How often a step of a membership attempt is repeated.
    pub attempt_retransmit: Duration,
    /// An attempt without progress for this long has failed.
    pub attempt_deadline: Duration,
    /// How often a ring announces itself while configured daemons are missing (`LookupTimeout`).
    pub hello: Duration,
    /// Datagrams to daemons that are silent that a system may hold at one time, as it does for some seconds.
    pub held_datagrams: u32,
    /// How long a daemon that is asked to stop tries to hand over what its clients had sent.
    pub leave: Duration,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self {
            join: Duration::from_millis(20),
            gather: Duration::from_millis(45),
            fresh: Duration::from_millis(100),
            attempt_retransmit: Duration::from_millis(15),
            attempt_deadline: Duration::from_millis(300),
            hello: Duration::from_millis(150),
            held_datagrams: 4096,
            leave: Duration::from_millis(100),
        }
    }
}

impl MembershipConfig {
    /// Times for such daemons as [`RingConfig::in_wide_area`] is for.
    #[must_use]
    pub fn in_wide_area(self) -> Self {
        Self {
            join: self.join * WIDE_AREA,
            gather: self.gather * WIDE_AREA,
            fresh: self.fresh * WIDE_AREA,
            attempt_retransmit: LONG_WAYS,
            attempt_deadline: self.attempt_deadline * WIDE_AREA,
            hello: self.hello * WIDE_AREA,
            held_datagrams: self.held_datagrams,
            leave: self.leave * WIDE_AREA,
        }
    }
}

/// Limits and rules for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionConfig {
    /// Version that is reported to clients: major, minor, patch.
    pub version: [u8; 3],
    /// Connections at one time; one more is refused with `REJECT_QUOTA`.
    pub max_sessions: usize,
    /// Messages that a client's socket may leave before the client is cut off at the next one, at least 1
    /// (`MaxSessionMessages`). The ring waits for a client that is half as many behind.
    pub max_outbox_messages: usize,
    /// Bytes that a client may be behind before it is cut off.
    pub max_outbox_bytes: usize,
    /// Bytes of memory that what all clients have not read, and what they have sent of requests that are not whole,
    /// may take before those are cut off that have the most of it, until seven eighths are left (`OutboxLimit`). A
    /// body that is larger than a packet counts once, as long as one of its receivers has not read it.
    pub max_kept_bytes: usize,
    /// Bytes that a client may be behind before the ring waits for it. While all together take more than a quarter
    /// of `max_kept_bytes`, each may be behind by its share of that quarter, at least 64 KiB.
    pub pressure_bytes: usize,
    /// How long the ring waits for one that does not catch up, to half of either; less for one that takes nothing
    /// after others did so.
    pub pressure_patience: Duration,
    /// Frames that all daemons together put into outboxes before these are offered to their sockets, so that the token
    /// comes round in time; each has its part, and 512 bytes, or the change of a membership, count as another. What else is to be delivered waits,
    /// and makes the ring slower.
    pub frames_at_once: usize,
    /// Groups that all clients of the daemon together may be in: who joins one more is cut off. A daemon reports
    /// them to others when they meet, and more would have no room in a report.
    pub max_groups: usize,
    /// Memberships of all these clients in groups, likewise.
    pub max_memberships: usize,
    /// How long a client may take for its hello.
    pub hello_timeout: Duration,
    /// How long it may take for the rest of the handshake.
    pub authentication_timeout: Duration,
    /// Who may connect.
    pub authentication: Authentication,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            version: [4, 4, 0],
            max_sessions: 20_000,
            max_outbox_messages: 1_000_000,
            max_outbox_bytes: 64 << 20,
            max_kept_bytes: 1 << 30,
            pressure_bytes: 1 << 20,
            pressure_patience: Duration::from_millis(500),
            frames_at_once: 200_000,
            max_groups: 1 << 22,
            max_memberships: 1 << 24,
            hello_timeout: Duration::from_secs(5),
            authentication_timeout: Duration::from_secs(20),
            authentication: Authentication::default(),
        }
    }
}

impl SessionConfig {
    /// The same limits, for daemons such as [`RingConfig::in_wide_area`] is for.
    #[must_use]
    pub fn in_wide_area(self) -> Self {
        Self { pressure_patience: self.pressure_patience * WIDE_AREA_OF_READERS, ..self }
    }

    /// Messages that a client may be behind before the ring waits for it.
    pub(crate) fn pressure_messages(&self) -> usize {
        self.max_outbox_messages / 2
    }
}

impl Config {
    /// A configuration with default limits and times.
    #[must_use]
    pub fn new(cluster: Cluster, me: DaemonId) -> Self {
        Self {
            cluster,
            me,
            other_clusters: Vec::new(),
            ring: RingConfig::default(),
            membership: MembershipConfig::default(),
            sessions: SessionConfig::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// What people call that process: the name of its daemon, or its number if no such daemon is configured.
    #[must_use]
    pub fn name_of(&self, process: ProcessId) -> String {
        self.daemon(process.daemon).map_or_else(|| process.to_string(), |daemon| daemon.name.to_string())
    }

    /// Whether a datagram with that hash is of this cluster.
    pub(crate) fn understands(&self, hash: ClusterHash) -> bool {
        hash == self.cluster.hash || self.other_clusters.iter().any(|other| other.hash == hash)
    }

    /// Whether this daemon can go over to that list: the present one with more at its end, or without some of those
    /// there, and with this daemon.
    pub(crate) fn can_have(&self, cluster: &Cluster) -> bool {
        cluster.agrees_with(&self.cluster) && self.me.index() < cluster.daemons.len()
    }

    /// Takes datagrams of daemons with that list for some of this cluster, and no more those of daemons with a list that
    /// has another daemon at one of its places: that one's word would count as this one's.
    pub(crate) fn understand(&mut self, cluster: Cluster) {
        let is_other = |other: &Cluster| other.daemons.len() != cluster.daemons.len();
        self.other_clusters.retain(|other| is_other(other) && other.agrees_with(&cluster));
        self.other_clusters.push(cluster);
    }

    /// Goes over to another list of daemons, which it [can have](Self::can_have).
    pub(crate) fn change_cluster(&mut self, cluster: Cluster) {
        let before = std::mem::replace(&mut self.cluster, cluster);
        self.understand(before);
    }

    /// This daemon's part of [`SessionConfig::frames_at_once`].
    pub(crate) fn frames_at_once(&self) -> usize {
        (self.sessions.frames_at_once / self.cluster.daemons.len().max(1)).max(1)
    }

    /// The daemon of that number in this list or, if that is shorter, in another that this run remembers. They agree on
    /// all places that they have in common.
    pub(crate) fn daemon_of_any_list(&self, id: DaemonId) -> Option<&Daemon> {
        let others = || self.other_clusters.iter().find_map(|other| other.daemons.get(id.index()));
        self.daemon(id).or_else(others)
    }

    /// The configured daemon of that number.
    #[must_use]
    pub fn daemon(&self, id: DaemonId) -> Option<&Daemon> {
        self.cluster.daemons.get(id.index())
    }
}
