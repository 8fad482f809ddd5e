//! What the upper half gets next: what an installation or the early lane handed up, then what the ring has in order.

use antiphon_wire::ids::Seq;

use super::{Membership, Operational, State};
use crate::cx::Cx;
use crate::delivery::stream::{self, Complete, Limit};
use crate::delivery::{Configuration, Delivery, KeptDelivery, KeptMessage, Place};
use crate::mutant::Mutant;

impl Membership {
    /// How far the order can be delivered. What had to wait when the ring was left goes on, until it is reported what
    /// may be delivered in its configuration.
    pub(crate) fn limit(&self, cx: &Cx<'_>) -> Limit {
        if self.is_reported() && !cx.config.is_mutant(Mutant::DeliverReported) {
            return Limit { last: Seq::ZERO, safe: Seq::ZERO };
        }
        let last = self.ring.packets().contiguous();
        Limit {
            last,
            safe: if cx.config.is_mutant(Mutant::SafeOnReceipt) { last } else { self.ring.stable() },
        }
    }

    /// Whether what I hold of the ring, and know of what others do, is a matter of an attempt.
    fn is_reported(&self) -> bool {
        !matches!(self.state, State::Operational(_) | State::Gather(_))
    }

    /// What is delivered next: what was handed up, then what is in order up to the limit.
    pub(crate) fn next_delivery(&mut self, limit: Limit) -> Option<Delivery<'_>> {
        if self.delivering.is_some() || !self.deliveries.is_empty() {
            self.delivering = self.deliveries.pop_front();
        }
        if let Some(delivery) = &self.delivering {
            return Some(delivery.lend());
        }
        loop {
            let found = self.stream.find(self.ring.packets(), limit)?;
            if let Some(sender) = self.ring.member_of(found.sender) {
                let place = Place { seq: found.seq, index: found.index, early: false };
                return Some(Delivery::Message(self.stream.lend(found, sender), place));
            }
        }
    }

    /// Whether all was delivered that was handed up: what an installation brings, and what went up before it was its turn.
    /// Until then, the configuration of the installed ring may not have been delivered.
    pub(crate) fn is_delivered(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether packets up to the limit were not read, so that what is in them may have to wait.
    pub(crate) fn has_more(&self, limit: Limit) -> bool {
        self.stream.done() < limit.last
    }

    /// So much was delivered; the rest was put off, if it `has_put_off`. Drops what everyone holds. Returns
    /// whether others hear that I hold more, so that they, or I, may send.
    pub(crate) fn note_delivered(&mut self, has_put_off: bool, cx: &Cx<'_>) -> bool {
        let delivered = self.stream.done();
        let has_acknowledged = self.ring.limit_ack(has_put_off.then_some(delivered), cx.now);
        if self.is_operational() {
            let kept = if cx.config.is_mutant(Mutant::KeepPackets) { 3 } else { 0 };
            self.ring.discard(Seq(delivered.0.saturating_sub(kept)));
        }
        has_acknowledged
    }

    /// Hands up the messages of a packet that need no order.
    pub(super) fn deliver_early(&mut self, seq: Seq, cx: &Cx<'_>) {
        let State::Operational(Operational { early_lane_open: true, .. }) = self.state else { return };
        let stored = self.ring.packets().get(seq).filter(|stored| stored.packet.header.has_unordered);
        let Some(stored) = stored.filter(|_| seq > self.stream.done()) else {
            return;
        };
        for message in stream::unordered(&stored.packet) {
            let place = Place { early: true, ..message.place() };
            self.hand_up(message, place);
        }
        if !cx.config.is_mutant(Mutant::DeliverEarlyTwice) {
            self.ring.note_delivered_early(seq);
        }
    }

    /// Lets a message of a ring member be delivered before anything that is still in the ring.
    pub(super) fn hand_up(&mut self, message: Complete, place: Place) {
        let Complete { sender, kind, service, preamble, bytes, .. } = message;
        if let Some(sender) = self.ring.member_of(sender) {
            let message = KeptMessage { sender, kind, service, preamble, bytes };
            self.deliveries.push_back(KeptDelivery::Message(message, place));
        }
    }

    /// Lets messages without order go up on arrival, or stops that. Those of a ring to come may not before it is
    /// installed.
    pub(crate) fn set_early_lane_open(&mut self, open: bool) {
        if let State::Operational(operational) = &mut self.state {
            operational.early_lane_open = open;
        }
    }

    pub(super) fn configure(&mut self, configuration: Configuration) {
        self.deliveries.push_back(KeptDelivery::Configuration(configuration));
    }
}
