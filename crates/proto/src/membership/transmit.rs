//! How a process says something to one other, to the members of a list, or to all configured daemons.

use antiphon_wire::ids::{DaemonId, ProcessId};
use antiphon_wire::ring::Datagram;
use bytes::Bytes;

use super::Membership;
use crate::cx::Cx;
use crate::io::{Channel, Target, Transmit};

impl Membership {
    /// Sends to one daemon, in pieces if need be.
    pub(super) fn tell(&mut self, to: DaemonId, datagram: &Datagram, cx: &mut Cx<'_>) {
        self.transmit(Target::One(to), Channel::Control, &datagram.encode(cx.config.cluster), cx);
    }

    /// Sends to every other member of a list.
    pub(super) fn tell_each(&mut self, members: &[ProcessId], datagram: &Datagram, cx: &mut Cx<'_>) {
        let me = self.me;
        for member in members.iter().filter(|member| **member != me) {
            self.tell(member.daemon, datagram, cx);
        }
    }

    /// Sends to all configured daemons the way packets go and as long as they are, so that who hears
    /// it hears packets too (docs/protocol.md, M3).
    pub(super) fn gossip_to_everyone(&mut self, datagram: &Datagram, cx: &mut Cx<'_>) {
        if !self.everyone.is_empty() {
            let whole = datagram.encode_padded(cx.config.cluster, cx.config.ring.datagram_bytes);
            self.transmit(Target::Each(self.everyone.clone()), Channel::Data, &whole, cx);
        }
    }

    fn transmit(&mut self, to: Target, channel: Channel, whole: &Bytes, cx: &mut Cx<'_>) {
        let size = cx.config.ring.datagram_bytes;
        let Some(pieces) = self.splitter.split(whole, size, cx.config.cluster) else {
            self.report_too_long(whole, cx);
            return;
        };
        for burst in pieces {
            let segment_bytes = burst.len();
            cx.out.transmits.push(Transmit { to: to.clone(), channel, burst, segment_bytes });
        }
    }
}
