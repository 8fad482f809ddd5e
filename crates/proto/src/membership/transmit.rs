//! How a process says something to one other, to those of a list, or to all configured ones.

use antiphon_wire::ids::{DaemonId, ProcessId};
use antiphon_wire::ring::Datagram;
use bytes::Bytes;

use super::{Membership, State};
use crate::cx::Cx;
use crate::io::{Channel, Target, Transmit};

/// Times the hello interval without a word after which a daemon is silent.
const HELLOS_SILENT: u32 = 4;

impl Membership {
    /// Sends to one daemon, in pieces if need be.
    pub(super) fn tell(&mut self, to: DaemonId, datagram: &Datagram, cx: &mut Cx<'_>) {
        self.transmit(Target::One(to), Channel::Control, &datagram.encode(cx.config.cluster.hash), cx);
    }

    /// Sends to every other member of a list.
    pub(super) fn tell_each(
        &mut self,
        members: impl IntoIterator<Item = ProcessId>,
        datagram: &Datagram,
        cx: &mut Cx<'_>,
    ) {
        let me = self.me;
        for member in members.into_iter().filter(|member| *member != me) {
            self.tell(member.daemon, datagram, cx);
        }
    }

    /// Sends to all other configured daemons the way packets go and as long as they are, so that who hears
    /// it hears packets too (docs/protocol.md, M3). Of those that are silent, some may have to wait for
    /// their turn (M3b); returns which had it.
    pub(super) fn gossip_to_others(&mut self, datagram: &Datagram, cx: &mut Cx<'_>) -> Vec<DaemonId> {
        let size = cx.config.ring.datagram_bytes;
        let whole = datagram.encode_padded(cx.config.cluster.hash, size);
        let datagrams = whole.len().div_ceil(size.max(1)) as u32;
        let (silent, heard) = self.silent_and_heard(cx);
        let admitted = self.silence.admit(&silent, datagrams, cx.config.membership.held_datagrams, cx.now);
        cx.stats.gossip_withheld += (silent.len() - admitted.len()) as u64;
        if !heard.is_empty() || !admitted.is_empty() {
            let to = heard.into_iter().chain(admitted.iter().copied()).collect();
            self.transmit(Target::Each(to), Channel::Data, &whole, cx);
        }
        admitted
    }

    /// All others, parted by whether they are silent.
    pub(super) fn silent_and_heard(&self, cx: &Cx<'_>) -> (Vec<DaemonId>, Vec<DaemonId>) {
        self.others.iter().copied().partition(|daemon| self.is_silent(*daemon, cx))
    }

    /// Whether nothing was heard of a daemon for so long that its host may be down. Of most members of a working
    /// ring little is heard but through the token.
    fn is_silent(&self, daemon: DaemonId, cx: &Cx<'_>) -> bool {
        let counts_as_member = match &self.state {
            State::Gather(gather) => gather.has_begun_just_now(cx),
            _ => true,
        };
        let is_member = counts_as_member && self.ring.member_of(daemon).is_some();
        let within = cx.config.membership.hello * HELLOS_SILENT;
        !is_member && !self.gossip.was_sighted(daemon, within, cx.now)
    }

    fn transmit(&mut self, to: Target, channel: Channel, whole: &Bytes, cx: &mut Cx<'_>) {
        let size = cx.config.ring.datagram_bytes;
        let Some(pieces) = self.splitter.split(whole, size, cx.config.cluster.hash) else {
            self.report_too_long(whole, cx);
            return;
        };
        for piece in pieces {
            cx.out.transmits.push(Transmit::one(to.clone(), channel, piece));
        }
    }
}
