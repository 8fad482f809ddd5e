//! Epochs: numbers of rings that grow along every process, and start from the time of day.
//!
//! Clients see an epoch and the leader's address in the ids of groups, but nothing that tells two runs
//! of the leader apart. While calendars are right nothing is needed: a run starts from an epoch that
//! is greater than all that earlier runs can have had. A process that hears of an epoch that its own
//! calendar has not reached can not know that, and says so in the epochs that it proposes.

use crate::time::Instant;

/// Epochs of configurations are even, and differ by [`DOUBTFUL`] if the leader doubts its calendar. The
/// odd number before one stands for the transitional configurations that lead to it.
const STEP: u64 = 4;
const DOUBTFUL: u64 = 2;
/// Epochs beyond this are refused, so that a faulty peer can not use them up.
const MAX: u64 = 1 << 62;
/// An epoch that is further ahead of mine than this is a fault or a forgery: in milliseconds, what
/// epochs start from, more than five hundred years.
const MAX_LEAP: u64 = 1 << 44;

/// Whether an epoch that a peer named can be true, for one who is at `mine`.
pub(super) fn is_plausible(epoch: u64, mine: u64) -> bool {
    epoch <= MAX && epoch <= mine.saturating_add(MAX_LEAP)
}

/// Whether a configuration can have the epoch.
pub(super) fn is_regular(epoch: u64) -> bool {
    epoch.is_multiple_of(DOUBTFUL)
}

/// Whether an earlier run of the leader may have led another ring of this epoch.
pub(crate) fn is_doubtful(epoch: u64) -> bool {
    epoch % STEP == DOUBTFUL
}

/// The number of the transitional configurations that lead to a ring of this epoch.
pub(crate) fn transitional(epoch: u64) -> u64 {
    epoch.saturating_sub(1)
}

/// The time of day at boot, and how it compares with what others started from.
#[derive(Debug)]
pub(super) struct Calendar {
    /// Milliseconds since 1970.
    at_boot: u64,
    boot: Instant,
    is_doubtful: bool,
}

impl Calendar {
    pub(super) fn new(at_boot: u64, boot: Instant) -> Self {
        Self { at_boot, boot, is_doubtful: false }
    }

    /// The epoch of the ring that a process boots in.
    pub(super) fn first_epoch(&self) -> u64 {
        self.at_boot / STEP * STEP
    }

    /// Takes note of an epoch that another process has reached. One that my calendar has not means that
    /// it was set back, or another's forward: either way I doubt it for good.
    pub(super) fn compare(&mut self, epoch: u64, now: Instant) {
        let uptime = u64::try_from(now.since(self.boot).as_millis()).unwrap_or(u64::MAX);
        self.is_doubtful |= epoch > self.at_boot.saturating_add(uptime);
    }

    /// The epoch of a ring that I propose after that one.
    pub(super) fn next_epoch(&self, highest: u64) -> u64 {
        let next = (highest + STEP) / STEP * STEP;
        if self.is_doubtful { next + DOUBTFUL } else { next }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn epochs_of_a_leader_grow_and_are_plain_while_its_calendar_is_ahead() {
        let boot = Instant::default();
        let mut calendar = Calendar::new(1003, boot);
        assert_eq!(calendar.first_epoch(), 1000);
        calendar.compare(1023, boot + Duration::from_millis(20));
        let plain = calendar.next_epoch(1000);
        assert_eq!(plain, 1004);
        assert!(is_regular(plain) && !is_doubtful(plain));
    }

    #[test]
    fn a_leader_that_hears_of_a_later_time_than_its_own_says_so_for_good() {
        let boot = Instant::default();
        let mut calendar = Calendar::new(1000, boot);
        calendar.compare(1021, boot + Duration::from_millis(20));
        calendar.compare(1021, boot + Duration::from_secs(20));
        let mut highest = 1021;
        for _ in 0..3 {
            let epoch = calendar.next_epoch(highest);
            assert!(epoch > highest && is_regular(epoch) && is_doubtful(epoch), "{epoch}");
            highest = epoch;
        }
        assert!(!is_doubtful(Calendar::new(1000, boot).next_epoch(highest)));
    }

    #[test]
    fn numbers_of_transitional_configurations_are_never_those_of_rings() {
        for epoch in [1004, 1006] {
            assert!(is_regular(epoch) && !is_regular(transitional(epoch)));
        }
    }
}
