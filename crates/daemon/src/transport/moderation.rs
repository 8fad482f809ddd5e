//! When to look for packets: at once, or all that came within a millisecond together.
//!
//! On a network that is slower than the processor each packet wakes the daemon, and waking up costs several times
//! what the packet does. While the ring is saturated nobody waits for a packet, but for a place in a window. Then
//! the sockets that packets come by rest: they are looked at by the clock, and whenever something else has woken
//! the daemon, above all the token. Network cards moderate their interrupts in the same way. Packets that the
//! system coalesces cost one waking already.

use std::time::Duration;

use antiphon_proto::time::Instant;

/// Longest time between two looks, which is also the resolution of the poller, and for which packets are counted
/// before they are judged.
const REST: Duration = Duration::from_millis(1);
/// What was counted in more time than this has silence in it, and is no rate.
const SILENCE: Duration = Duration::from_millis(4);
/// Packets that come faster than this keep the daemon awake anyway, and many would come in a rest.
const LEAST_GAP: Duration = Duration::from_micros(20);
/// So many packets in a buffer, on average, cost little waking.
const COALESCED: u32 = 2;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Moderation {
    /// When to look at the latest; none while the poller tells of packets.
    next_look: Option<Instant>,
    /// Since when packets are counted.
    since: Instant,
    arrived: Arrivals,
    /// Whether anything has come since the sockets were emptied last.
    found: bool,
    /// Whether packets came one by one when they were counted last.
    lone: bool,
}

/// What has come by the sockets.
#[derive(Clone, Copy, Default, Debug)]
struct Arrivals {
    buffers: u32,
    packets: u32,
}

impl Moderation {
    /// The poller tells of packets.
    pub(crate) fn new() -> Self {
        Self {
            next_look: None,
            since: Instant::default(),
            arrived: Arrivals::default(),
            found: false,
            lone: false,
        }
    }

    /// Until when the sockets rest, if they do.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.next_look
    }

    /// Lets the sockets rest on, because the poller cannot be asked.
    pub(crate) fn rest_on(&mut self, now: Instant) {
        self.next_look = Some(now + REST);
    }

    /// Notes what was received in one buffer.
    pub(crate) fn note_buffer(&mut self, packets: usize) {
        self.found = true;
        self.arrived.buffers = self.arrived.buffers.saturating_add(1);
        self.arrived.packets =
            self.arrived.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// Decides, when the sockets have been emptied, until when they rest.
    pub(crate) fn decide(&mut self, now: Instant, saturated: bool) {
        self.judge(now);
        let found = std::mem::take(&mut self.found);
        let is_over = self.next_look.is_none_or(|at| now >= at);
        if !saturated || !self.lone || (is_over && !found) {
            self.next_look = None;
        } else if found {
            self.next_look = Some(now + REST);
        }
    }

    /// Says of the packets since the last judgement whether they came one by one, once it is long enough ago.
    fn judge(&mut self, now: Instant) {
        let counted_for = now.since(self.since);
        if counted_for >= REST {
            self.lone = counted_for <= SILENCE && self.arrived.are_lone(counted_for);
            (self.since, self.arrived) = (now, Arrivals::default());
        }
    }
}

impl Arrivals {
    /// Whether each packet would have woken the daemon.
    fn are_lone(self, within: Duration) -> bool {
        self.buffers > 0
            && within >= LEAST_GAP.saturating_mul(self.buffers)
            && self.packets < self.buffers.saturating_mul(COALESCED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::default() + Duration::from_micros(us)
    }

    /// For 3 ms, a look each `gap_us` that finds a buffer with so many packets.
    fn after(packets: usize, gap_us: u64) -> Moderation {
        let mut moderation = Moderation::new();
        for look in 0..=3000 / gap_us {
            moderation.note_buffer(packets);
            moderation.decide(at(10_000 + look * gap_us), true);
        }
        moderation
    }

    #[test]
    fn lone_packets_of_a_saturated_ring_are_awaited_together() {
        assert_eq!(after(1, 100).rests_until(), Some(at(14_000)));
        assert_eq!(after(1, 1000).rests_until(), Some(at(14_000)));
        assert_eq!(after(1, 10).rests_until(), None, "too many would come in a rest");
        assert_eq!(after(20, 500).rests_until(), None, "coalesced");
        assert_eq!(after(3, 500).rests_until(), None, "coalesced, as far as so large ones can be");
    }

    #[test]
    fn what_comes_after_silence_is_counted_first() {
        let mut moderation = Moderation::new();
        for us in [0, 10_000, 10_500] {
            moderation.note_buffer(1);
            moderation.decide(at(us), true);
            assert_eq!(moderation.rests_until(), None);
        }
        moderation.note_buffer(1);
        moderation.decide(at(11_000), true);
        assert_eq!(moderation.rests_until(), Some(at(12_000)));
    }

    #[test]
    fn a_rest_ends_with_saturation() {
        let mut moderation = after(1, 100);
        moderation.decide(at(13_100), false);
        assert_eq!(moderation.rests_until(), None);
    }

    #[test]
    fn a_whole_rest_without_a_packet_is_the_last() {
        let mut moderation = after(1, 100);
        moderation.decide(at(13_300), true);
        assert_eq!(moderation.rests_until(), Some(at(14_000)), "an early look says nothing");
        moderation.decide(at(14_000), true);
        assert_eq!(moderation.rests_until(), None);
        moderation.decide(at(14_100), true);
        assert_eq!(moderation.rests_until(), None, "nothing has come since");
    }
}
