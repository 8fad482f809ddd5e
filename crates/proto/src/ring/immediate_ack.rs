//! Acknowledgements without the token.
//!
//! A safe message that is sent into a quiet ring would wait for two rounds of the token: one in which
//! everyone says that it holds the message, one in which everyone learns it. Its last packet asks to be
//! acknowledged at once instead: each receiver tells its sender, which tells all when all have. The
//! token goes round as ever, so nothing depends on these datagrams; they bring the same numbers that
//! the token brings, only earlier. In a busy ring the token is soon here and they are not used.

use antiphon_wire::ids::{DaemonId, ProcessId, Seq};
use antiphon_wire::ring::Datagram;
use antiphon_wire::ring::gossip::Ack;

use super::Ring;
use crate::cx::Cx;
use crate::io::{Channel, Target, Transmit};
use crate::mutant::Mutant;

impl Ring {
    /// Tells the sender of a packet that I hold it, if I hold all before it too.
    pub(super) fn acknowledge_at_once(&self, sender: DaemonId, seq: Seq, cx: &mut Cx<'_>) {
        if self.acks.mine() >= seq {
            self.send_ack(Target::One(sender), Channel::Control, cx);
        }
    }

    /// Takes what a member tells. Numbers beyond what I have seen wait for the token: no member can
    /// be believed to hold what may not exist.
    pub(crate) fn on_ack(&mut self, told: &Ack, cx: &mut Cx<'_>) {
        if !self.contains(told.from) {
            cx.stats.datagrams_stale += 1;
            return;
        }
        let known = self.packets.highest();
        let of_each = |member: &ProcessId| if *member == told.from { told.ack } else { told.stable };
        self.acks.learn_all(self.roster.members().iter().map(|member| of_each(member).min(known)));
        let all_hold = |seq: &Seq| self.stable() >= *seq || cx.config.is_mutant(Mutant::AnnounceEarly);
        if let Some(seq) = self.awaited.filter(all_hold) {
            self.awaited = None;
            if cx.config.is_mutant(Mutant::AnnounceEarly) {
                self.acks.learn_all(self.roster.members().iter().map(|_| seq));
            }
            self.send_ack(Target::Each(self.roster.others()), Channel::Data, cx);
        }
    }

    fn send_ack(&self, to: Target, channel: Channel, cx: &mut Cx<'_>) {
        let (ack, stable) = (self.acks.mine(), self.stable());
        let burst = Datagram::Ack(Ack { from: self.roster.me(), ring: self.id, ack, stable })
            .encode(cx.config.cluster.hash);
        cx.out.transmits.push(Transmit::one(to, channel, burst));
    }
}
