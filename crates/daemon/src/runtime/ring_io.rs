//! Datagrams from other daemons to the core, and those of monitors to where they wait.

use antiphon_proto::time::Instant;
use antiphon_proto::{Channel, Input, Node, Outputs};
use bytes::Bytes;

use crate::monitor::Monitor;
use crate::transport::Transport;

/// Batches that are received in a turn before clients have theirs.
pub(crate) const TURN_BATCHES: usize = 16;

/// Whether a channel may have something to read.
pub(crate) fn is_ready(transport: &Transport) -> bool {
    transport.is_ready(Channel::Data) || transport.is_ready(Channel::Control)
}

/// Receives one batch, from the channel that the core prefers if it has something, and hands it on.
/// False when both are empty.
pub(crate) fn step(
    transport: &mut Transport,
    node: &mut Node,
    monitor: &mut Monitor,
    now: Instant,
    scratch: &mut Vec<Bytes>,
    out: &mut Outputs,
) -> bool {
    let preferred = node.receive_preference();
    let other = match preferred {
        Channel::Data => Channel::Control,
        Channel::Control => Channel::Data,
    };
    let Some(channel) = [preferred, other].into_iter().find(|channel| transport.is_ready(*channel)) else {
        return false;
    };
    transport.receive(channel, scratch);
    transport.count_received(scratch.len());
    transport.take_requests().for_each(|(source, request)| monitor.take(source, request));
    for datagram in scratch.drain(..) {
        node.handle(now, Input::Datagram(datagram), out);
    }
    true
}
