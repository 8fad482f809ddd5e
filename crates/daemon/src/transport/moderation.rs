//! When to look for packets: at once, or all that came within a millisecond together.
//!
//! On a network that is slower than the processor each packet wakes the daemon, and waking up costs several times
//! what the packet does. While the ring is saturated nobody waits for a packet, but for a place in a window. Then
//! the socket that packets come by is looked at by the clock, and whenever something comes for the control socket,
//! as a network card moderates its interrupts. Where the system coalesces packets, they cost one waking already.

use std::time::Duration;

use antiphon_proto::time::Instant;

/// Time between two looks, which is also the resolution of the poller.
const REST: Duration = Duration::from_millis(1);
/// Packets that come faster than this on average keep the daemon awake anyway, and make many in a rest.
const LEAST_GAP: Duration = Duration::from_micros(20);
/// More packets than this in one coalesced buffer, on average, cost little waking.
const COALESCED: u32 = 4;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Moderation {
    /// When to look next; none while the poller tells of packets.
    next_look: Option<Instant>,
    /// When the last look was that found something.
    since: Instant,
    arrived: Arrivals,
    /// Whether the socket was looked at since the last decision.
    looked: bool,
}

/// What one look found.
#[derive(Clone, Copy, Default, Debug)]
struct Arrivals {
    buffers: u32,
    packets: u32,
}

impl Moderation {
    /// The poller tells of packets.
    pub(crate) fn new() -> Self {
        Self { next_look: None, since: Instant::default(), arrived: Arrivals::default(), looked: false }
    }

    /// Until when the socket rests, if it does: nobody is told of packets.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.next_look
    }

    /// Whether a resting socket is to be looked at now: its time is over, or others have woken the daemon anyway.
    pub(crate) fn is_due(&self, now: Instant, woken: bool) -> bool {
        self.next_look.is_some_and(|at| woken || now >= at)
    }

    /// Notes that the socket is looked at.
    pub(crate) fn note_look(&mut self) {
        self.looked = true;
    }

    /// Notes what was received in one buffer.
    pub(crate) fn note_buffer(&mut self, packets: usize) {
        self.arrived.buffers = self.arrived.buffers.saturating_add(1);
        self.arrived.packets =
            self.arrived.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// Decides, when the socket has been emptied, who says when to look at it next.
    pub(crate) fn decide(&mut self, now: Instant, saturated: bool) {
        let arrived = std::mem::take(&mut self.arrived);
        let looked = std::mem::take(&mut self.looked);
        if arrived.buffers > 0 {
            let rests = saturated && arrived.came_alone(now.since(self.since));
            self.next_look = rests.then(|| now + REST);
            self.since = now;
        } else if looked && self.next_look.is_some_and(|at| now >= at) {
            self.next_look = None;
        }
    }
}

impl Arrivals {
    /// Whether each packet would have woken the daemon.
    fn came_alone(self, within: Duration) -> bool {
        within >= LEAST_GAP.saturating_mul(self.buffers)
            && self.packets <= self.buffers.saturating_mul(COALESCED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::default() + Duration::from_micros(us)
    }

    /// After a look at 10 ms that found so many buffers with so many packets each, at once after one before.
    fn after(buffers: usize, packets: usize, elapsed_us: u64, saturated: bool) -> Moderation {
        let mut moderation = Moderation::new();
        moderation.note_buffer(1);
        moderation.decide(at(10_000 - elapsed_us), false);
        moderation.note_look();
        for _ in 0..buffers {
            moderation.note_buffer(packets);
        }
        moderation.decide(at(10_000), saturated);
        moderation
    }

    #[test]
    fn lone_packets_of_a_saturated_ring_are_awaited_together() {
        let rest = Some(at(11_000));
        assert_eq!(after(1, 1, 120, true).rests_until(), rest);
        assert_eq!(after(8, 1, 1000, true).rests_until(), rest);
        assert_eq!(after(1, 1, 120, false).rests_until(), None, "somebody may wait for it");
        assert_eq!(after(8, 1, 150, true).rests_until(), None, "too many would come in a rest");
        assert_eq!(after(2, 20, 1000, true).rests_until(), None, "coalesced");
    }

    #[test]
    fn a_rest_ends_by_the_clock_or_with_whatever_wakes_the_daemon() {
        let moderation = after(1, 1, 120, true);
        assert!(!moderation.is_due(at(10_500), false));
        assert!(moderation.is_due(at(10_500), true) && moderation.is_due(at(11_000), false));
        assert!(!after(1, 1, 120, false).is_due(at(20_000), true), "does not rest");
    }

    #[test]
    fn a_whole_rest_without_a_packet_is_the_last() {
        let mut moderation = after(1, 1, 120, true);
        moderation.decide(at(10_300), true);
        moderation.note_look();
        moderation.decide(at(10_400), true);
        assert_eq!(moderation.rests_until(), Some(at(11_000)), "a look before the time says nothing");
        moderation.note_look();
        moderation.decide(at(11_000), true);
        assert_eq!(moderation.rests_until(), None);
    }
}
