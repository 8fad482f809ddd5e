//! Groups: who is in them, who is told, and who gets what.
//!
//! Views are computed, never negotiated. Every daemon has the whole table and changes it by what the
//! ordered stream says: joins, leaves and ends of sessions, and configurations. So the tables of
//! daemons with the same history are the same, and nothing is voted on.
//!
//! | state | transitional configuration | ring, all from the last one | ring, others came | all reports are in |
//! |---|---|---|---|---|
//! | settled | settled, closing | | | |
//! | settled, closing | | settled | exchanging | |
//! | exchanging | exchanging, closing | | | settled |
//! | exchanging, closing | | exchanging | exchanging | settled, closing |
//!
//! A network change that takes members away marks their groups and signals a transition; the next
//! view of a marked group says who is left. When histories meet that were apart, every daemon
//! reports the groups of its own sessions, and the new table is what the reports say together. A
//! group that is marked in a report, or reported under two identities, gets a new view; all others
//! stay silent (docs/testing.md, G12 and G13).
//!
//! What a configuration asks of every group is done in turns, while all deliveries wait ([`passes`]).
//!
//! | word | meaning |
//! |---|---|
//! | component | daemons whose tables are the same: which ring settled them, and which one it was closed by |
//! | mark | that a group has lost members and was signalled, but not shown a view without them |
//! | stamp | what the ids of all groups that change in one configuration have in common |
//! | life | of a group, from its first member to its last; each has ids of its own |

mod audience;
mod by_group;
mod changes;
pub(crate) mod codec;
mod exchange;
mod merge;
mod network;
mod passes;
mod report;
mod route;
mod slab;
mod table;
mod views;

use antiphon_wire::client::membership::GroupId;
use antiphon_wire::ids::{ProcessId, RingId, Seq};
use antiphon_wire::ring::multicast::Unpacker;

use crate::NameHash;
use crate::config::Config;
use crate::cx::Cx;
use crate::delivery::{Configuration, Kind, Message};
use crate::io::Trace;
use crate::membership::epoch;
use crate::mutant::Mutant;
use crate::sessions::Sessions;
use exchange::Exchange;
use passes::Passes;
use report::Component;
use route::Known;
use table::Table;

/// What group ids of one configuration have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    leader: u32,
    time: u32,
}

impl Stamp {
    /// For groups that change or begin in that ring.
    fn of_ring(ring: RingId, config: &Config) -> Self {
        let leader = address(ring.leader, config);
        let leader = if epoch::is_doubtful(ring.epoch) { leader ^ mark_of_run(ring.leader) } else { leader };
        Self { leader, time: time(ring.epoch) }
    }

    /// For groups that change in the transitional configuration of these members that leads to `new`.
    /// Its number is no ring's; the lowest member tells the parts of a broken ring apart. That one's run may
    /// not be the first that comes to a ring of this epoch.
    fn of_transitional(new: RingId, lowest: ProcessId, config: &Config) -> Self {
        let leader = address(lowest, config) ^ mark_of_run(lowest);
        Self { leader, time: time(epoch::transitional(new.epoch)) }
    }

    fn first_id(self) -> GroupId {
        GroupId { leader: self.leader, time: self.time, counter: 1 }
    }
}

/// The address of a leader, also of one that was left out of the list since: others may still have it in theirs.
fn address(process: ProcessId, config: &Config) -> u32 {
    config.daemon_of_any_list(process.daemon).map_or(0, |daemon| daemon.address.to_bits())
}

fn time(epoch: u64) -> u32 {
    (epoch & 0x7fff_ffff) as u32
}

/// Tells runs of a daemon apart: incarnations that are close together, too, differ in the upper bits of
/// a product with this factor (Knuth, TAOCP 3, section 6.4).
fn mark_of_run(process: ProcessId) -> u32 {
    (process.incarnation.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// The transitional configuration that closes the current ring.
#[derive(Debug)]
struct Transitional {
    /// For groups that change in it.
    stamp: Stamp,
    new: RingId,
    members: Vec<ProcessId>,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Groups {
    me: ProcessId,
    /// The current ring, also while it is being closed.
    ring: RingId,
    /// The last component that was closed: where the table comes from while the ring is not settled.
    component: Component,
    table: Table,
    /// How many groups have emptied in the current configuration, which tells apart the ids of the
    /// lives that a group may have in it.
    emptied: u32,
    transitional: Option<Transitional>,
    /// What was reported in the current ring, until all of it is there.
    exchange: Option<Exchange>,
    /// What is to be done with every group before anything else is delivered.
    passes: Passes,
    /// Has header and groups of the frame being routed.
    unpacker: Unpacker,
    /// Who here gets messages with the preamble of the last one, which most have that follow. In a great ring that is
    /// nobody on most daemons. Until somebody may have come or gone.
    known: Option<Known>,
}

impl Groups {
    /// A daemon that is alone on its boot ring, without sessions.
    pub(crate) fn new(me: ProcessId, boot_ring: RingId, hash: NameHash) -> Self {
        Self {
            me,
            ring: boot_ring,
            component: Component { settled: boot_ring, closed_by: boot_ring },
            table: Table::new(hash),
            emptied: 0,
            transitional: None,
            exchange: None,
            passes: Passes::default(),
            unpacker: Unpacker::default(),
            known: None,
        }
    }

    /// Whether the groups of the current ring are known, so that messages can be routed.
    pub(crate) fn is_settled(&self) -> bool {
        self.exchange.is_none() && !self.is_busy()
    }

    /// How many groups have members. While tables are put together, those of before that are left count with those that
    /// are complete.
    pub(crate) fn count(&self) -> usize {
        self.table.group_count() + self.passes.merged_groups()
    }

    /// The table as it is after that message or, without one, when the groups are settled.
    pub(crate) fn trace(&self, place: Option<(Seq, u16)>) -> Trace {
        Trace::Table { ring: self.ring, place, hash: self.table.hash() }
    }

    /// Takes a configuration change, in stream order. What it asks of every group is done by [`Groups::go_on`].
    pub(crate) fn on_configuration(&mut self, configuration: &Configuration, config: &Config) {
        self.emptied = 0;
        self.known = None;
        match configuration {
            Configuration::Transitional { new, members, .. } => self.on_transitional(*new, members, config),
            Configuration::Regular { ring, members, all_from_one_ring } => {
                self.on_regular(*ring, members, *all_from_one_ring, config);
            }
        }
    }

    /// Takes a message, in stream order; one without order may come early while the groups are
    /// settled.
    pub(crate) fn on_message(&mut self, message: Message<'_>, sessions: &mut Sessions, cx: &mut Cx<'_>) {
        let sender = message.sender;
        if message.kind != Kind::Client && !cx.config.is_mutant(Mutant::KeepReceivers) {
            self.known = None;
        }
        let taken = match message.kind {
            Kind::Client => self.route(message, sessions, cx),
            Kind::Join => codec::decode_operation(message.bytes.bytes()).map(|(private, group)| {
                self.note_change(sender, &private, sessions, cx.config);
                self.on_join(sender, &private, &group, sessions, cx);
            }),
            Kind::Leave => codec::decode_operation(message.bytes.bytes()).map(|(private, group)| {
                self.note_change(sender, &private, sessions, cx.config);
                self.on_leave(sender, &private, &group, sessions, cx);
            }),
            Kind::Disconnect => codec::decode_disconnect(message.bytes.bytes()).map(|private| {
                self.on_disconnect(sender, &private, sessions, cx);
            }),
            Kind::Daemon => self.on_part(sender, message.bytes, cx),
        };
        if taken.is_err() {
            cx.stats.groups_messages_rejected += 1;
        }
    }

    /// What new group ids of the current configuration have in common.
    fn stamp(&self, config: &Config) -> Stamp {
        let closing = self.transitional.as_ref().map(|transitional| transitional.stamp);
        closing.unwrap_or_else(|| Stamp::of_ring(self.ring, config))
    }

    /// The id of a group that begins. Its counter starts again, so the word of the leader tells the
    /// lives apart: an odd factor gives every life of a configuration its own, and those of other
    /// leaders are far away.
    fn id_of_new_life(&self, config: &Config) -> GroupId {
        let first = self.stamp(config).first_id();
        if config.is_mutant(Mutant::SameLife) {
            return first;
        }
        GroupId { leader: first.leader ^ self.emptied.wrapping_mul(0x9e37_79b1), ..first }
    }

    /// The id after a change of a group: of the current configuration, so that two sides of a
    /// partition never give one id to two views, even if neither knows that the other has members.
    fn id_after(&self, id: GroupId, config: &Config) -> GroupId {
        let stamp = self.stamp(config);
        // Only groups that changed or began in a configuration have its time.
        let leader = if id.time == stamp.time { id.leader } else { stamp.leader };
        GroupId { leader, time: stamp.time, counter: id.counter.saturating_add(1) }
    }

    /// Whether the current configuration is without that process.
    fn is_lost(&self, process: ProcessId) -> bool {
        self.transitional.as_ref().is_some_and(|transitional| !transitional.members.contains(&process))
    }
}

#[cfg(test)]
mod tests;
