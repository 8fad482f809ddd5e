//! One ring: the total order of one configuration.
//!
//! Members pass a token; who has it numbers new packets and sends them to all. Everyone asks on the
//! token for what it lacks, and says on it, and in its packets, up to where it holds everything. A
//! packet held by all is *stable*. The ring knows nothing of how rings come to be, nor of what the
//! messages in its packets mean.
//!
//! Sources: Totem single ring (Amir et al., TOCS '95), the accelerated ring (CNDS-2014-2 §III); the
//! acknowledgement vector is our own (docs/protocol.md, O3).

mod ack_vector;
mod arrival;
mod asking;
mod flow;
mod immediate_ack;
mod pack;
pub(crate) mod packets;
mod requests;
mod roster;
mod rounds;
mod token;
mod tolerance;
mod withheld;

use antiphon_wire::ids::{DaemonId, ProcessId, RingId, RingTag, Seq};
use antiphon_wire::ring::attempt::Holdings;
use antiphon_wire::ring::packet::Packet;
use antiphon_wire::ring::ranges::SeqRange;
use antiphon_wire::ring::token::Token;

use crate::config::{RingConfig, Windows};
use crate::cx::Cx;
use crate::io::Channel;
use crate::preambles::Said;
use crate::time::Instant;
use ack_vector::AckVector;
use arrival::Arrival;
use asking::Asking;
use packets::PacketStore;
use roster::Roster;
use rounds::Rounds;
use tolerance::Tolerance;
use withheld::Withheld;

pub(crate) use token::Visited;

/// What was put off for less than this part of the shortest round is no reason to send less there.
const LAG_PART: u32 = 8;

/// Where the token is, as far as I know.
#[derive(Debug, Default)]
enum TokenPlace {
    /// With someone else, and nothing of mine depends on it.
    #[default]
    Elsewhere,
    /// I passed it to that member and have no sign yet that it arrived.
    Passed(Token, ProcessId),
    /// It rests here until there is something to send.
    Resting(Token),
}

/// What I added to the counts on the token in my last visit; the next one takes it off again.
#[derive(Clone, Copy, Default, Debug)]
struct OnToken {
    /// Packets that I sent, for the flow control count.
    sent: u32,
    /// Packets that waited here.
    backlog: u32,
}

/// One configuration's total order. Built new for every ring; no field survives its ring.
#[derive(Debug)]
pub(crate) struct Ring {
    id: RingId,
    /// [`RingId::tag`], for every packet that comes.
    tag: RingTag,
    roster: Roster,
    packets: PacketStore,
    acks: AckVector,
    /// Who sent the last packet of those that I know of.
    last_sender: Option<DaemonId>,
    /// The last hop of the token that I saw or made.
    hop: u64,
    token: TokenPlace,
    /// When it should be passed again.
    arrival: Arrival,
    /// The highest number on the token when I last passed it.
    passed_seq: Seq,
    /// Which packets should be here by now.
    tolerance: Tolerance,
    on_token: OnToken,
    /// Visits in a row in which nothing was left to do for anyone.
    quiet_visits: u32,
    rounds: Rounds,
    asking: Asking,
    /// A packet of mine whose receivers acknowledge it without the token, until all have.
    awaited: Option<Seq>,
    /// Preambles that need not be sent again.
    said: Said,
    /// Packets that my last visit numbered, until they are asked for.
    numbered: Option<SeqRange>,
    withheld: Withheld,
    preference: Channel,
    /// New packets that a round may have, as the token said when it was here last; none when the configured windows
    /// have changed since, or it was not here.
    round_packets: Option<u32>,
    /// Whether more waited for the token, when it was here last, than its round carried.
    saturated: bool,
}

impl Ring {
    /// A ring that nothing has been sent in. `members` are ascending and contain `me`.
    /// Its packets and hops are numbered from the one after `before`.
    pub(crate) fn new(id: RingId, members: Vec<ProcessId>, me: ProcessId, before: Seq, now: Instant) -> Self {
        let roster = Roster::new(members, me);
        Self {
            id,
            tag: id.tag(),
            acks: AckVector::new(roster.len(), roster.my_position(), before),
            roster,
            packets: PacketStore::after(before),
            last_sender: None,
            hop: before.0,
            token: TokenPlace::Elsewhere,
            arrival: Arrival::default(),
            passed_seq: before,
            tolerance: Tolerance::default(),
            on_token: OnToken::default(),
            quiet_visits: 0,
            rounds: Rounds::new(now),
            asking: Asking::new(before, now),
            awaited: None,
            said: Said::default(),
            numbered: None,
            withheld: Withheld::default(),
            preference: Channel::Data,
            round_packets: None,
            saturated: false,
        }
    }

    /// Its identity.
    pub(crate) fn id(&self) -> RingId {
        self.id
    }

    /// What its packets carry of it.
    pub(crate) fn tag(&self) -> RingTag {
        self.tag
    }

    /// Its members, ascending.
    pub(crate) fn members(&self) -> &[ProcessId] {
        self.roster.members()
    }

    /// Whether the process is a member.
    pub(crate) fn contains(&self, process: ProcessId) -> bool {
        self.roster.contains(process)
    }

    /// The member of that daemon, in whichever incarnation.
    pub(crate) fn member_of(&self, daemon: DaemonId) -> Option<ProcessId> {
        self.roster.member_of(daemon)
    }

    /// Whether I am the ring's representative, its first member. Who led the attempt may be another one
    /// ([`RingId::leader`]).
    pub(crate) fn i_represent(&self) -> bool {
        self.roster.my_position() == 0
    }

    /// With whom the token rests while there is nothing to do: who sent last is the likeliest to send next. All agree on
    /// it then, as everyone holds the last packet. In a ring in which nobody has sent, the representative.
    pub(crate) fn keeper(&self) -> ProcessId {
        let last = self.last_sender.and_then(|daemon| self.roster.member_of(daemon));
        last.unwrap_or_else(|| self.roster.representative())
    }

    /// Who passes the token to me; myself if I am alone.
    pub(crate) fn predecessor(&self) -> ProcessId {
        self.roster.predecessor()
    }

    /// When the token was here last, or the ring began.
    pub(crate) fn last_visit(&self) -> Instant {
        self.rounds.visited()
    }

    /// Whether I am the only member.
    pub(crate) fn is_alone(&self) -> bool {
        self.roster.len() == 1
    }

    /// The packets.
    pub(crate) fn packets(&self) -> &PacketStore {
        &self.packets
    }

    /// The windows of a round: as the token said last, or as configured before there was one.
    pub(crate) fn windows(&self, config: &RingConfig) -> Windows {
        Windows::of_round(config, self.round_packets.unwrap_or(config.windows.all))
    }

    /// Lets rounds begin with the configured windows, if I lead.
    pub(crate) fn begin_windows_anew(&mut self) {
        self.round_packets = None;
    }

    /// Which socket to read first.
    pub(crate) fn preference(&self) -> Channel {
        self.preference
    }

    /// Whether messages wait for windows: more than the round of the last visit carried.
    pub(crate) fn is_saturated(&self) -> bool {
        self.saturated
    }

    /// A planted fault: preambles that were said in the ring before count as said.
    pub(crate) fn take_as_said(&mut self, other: Self) {
        self.said = other.said;
    }

    /// Notes that the unordered messages of a packet were delivered.
    pub(crate) fn note_delivered_early(&mut self, seq: Seq) {
        self.packets.note_delivered_early(seq);
    }

    /// The packets that the last visit numbered; asked for once.
    pub(crate) fn take_numbered(&mut self) -> impl Iterator<Item = Seq> + use<> {
        self.numbered.take().into_iter().flat_map(SeqRange::iter)
    }

    /// Up to where every member holds everything.
    pub(crate) fn stable(&self) -> Seq {
        self.acks.stable()
    }

    /// Drops what everyone holds and I have delivered.
    pub(crate) fn discard(&mut self, delivered: Seq) {
        self.discard_stable(delivered, self.stable());
    }

    /// The same, where another member knows of more that everyone holds.
    pub(crate) fn discard_stable(&mut self, delivered: Seq, stable: Seq) {
        self.packets.discard(delivered.min(stable));
    }

    /// What I hold, for the report to the next ring's leader.
    pub(crate) fn holdings(&self, obligations: std::collections::BTreeSet<ProcessId>) -> Holdings {
        Holdings {
            old: self.id,
            ack: self.packets.contiguous(),
            beyond: self.packets.beyond(),
            stable: self.stable(),
            obligations,
        }
    }

    /// Takes a packet of this ring while it is operational; false when it is not new.
    pub(crate) fn on_packet(&mut self, packet: Packet, cx: &mut Cx<'_>) -> bool {
        let header = packet.header;
        let Some(sender) = self.roster.position_of(header.sender) else {
            return false;
        };
        // Nothing that comes with a number that cannot be is to be believed.
        if !self.packets.reaches(header.seq) {
            return false;
        }
        if let TokenPlace::Passed(token, _) = &self.token
            && header.seq > token.seq
        {
            self.token = TokenPlace::Elsewhere;
            self.arrival.note_sign(cx.now);
        }
        self.prefer_token_after(header.sender, header.visit, header.after_token);
        self.acks.learn(sender, header.ack);
        let new = self.store(packet);
        if !new {
            self.tolerance.note_duplicate(header.seq, cx.now, cx.config.ring.token_retransmit);
        } else if header.wants_ack {
            self.acknowledge_at_once(header.sender, header.seq, cx);
        }
        new
    }

    /// Stores a packet, whether received, numbered here or recovered, and acknowledges what has no hole before it
    /// any more. False if it is a duplicate, was discarded or lies beyond the window.
    pub(crate) fn store(&mut self, packet: Packet) -> bool {
        let (seq, sender) = (packet.header.seq, packet.header.sender);
        let new = self.packets.insert(packet);
        if new && seq == self.packets.highest() {
            self.last_sender = Some(sender);
        }
        self.acknowledge();
        new
    }

    /// Says that I hold what I hold, as far as I may.
    fn acknowledge(&mut self) {
        if let Some(seq) = self.withheld.limit(self.packets.contiguous()) {
            self.acks.raise_mine(seq);
        }
    }

    /// Says no more than that I hold what was delivered, or lets the acknowledgement go on. Returns whether it did.
    pub(crate) fn limit_ack(&mut self, delivered: Option<Seq>, now: Instant) -> bool {
        let before = self.acks.mine();
        if self.withheld.put_off(delivered, now) {
            self.acknowledge();
        }
        self.acks.mine() > before
    }

    /// Whether deliveries are put off, and where daemons are far apart were for so long since the last visit, that the
    /// others are to send less. What is put off for a moment is delivered there long before more comes.
    fn lags(&mut self, now: Instant) -> bool {
        let lag = self.withheld.lag(self.packets.contiguous(), now);
        lag.is_some_and(|lag| lag >= self.rounds.shortest_if_far() / LAG_PART)
    }

    /// Keeps my acknowledgement where it is, or lets it go on.
    pub(crate) fn set_held_back(&mut self, held_back: bool) {
        if self.withheld.set_held_back(held_back) {
            self.acknowledge();
        }
    }

    /// The token gets priority once my predecessor has sent a packet after the token that comes to
    /// me next (CNDS-2014-2 §III-C, second method).
    fn prefer_token_after(&mut self, sender: DaemonId, visit: u16, after_token: bool) {
        let newer = visit.wrapping_sub(self.hop as u16);
        if sender == self.predecessor().daemon && after_token && newer > 0 && newer < u16::MAX / 2 {
            self.preference = Channel::Control;
        }
    }
}

#[cfg(test)]
mod tests;
