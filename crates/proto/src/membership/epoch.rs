//! Epochs: numbers of rings that grow along every process, and start from the time of day.
//!
//! Clients see an epoch and the leader's address in the ids of groups, but nothing that tells two runs
//! of the leader apart. While calendars are right nothing is needed: a run starts from an epoch that
//! is greater than all that earlier runs can have had. A process that hears of an epoch that its own
//! calendar has not reached cannot know that, and says so in the epochs that it proposes.

use std::time::Duration;

use crate::time::Instant;

/// Epochs of configurations are even, and differ by [`DOUBTFUL`] if the leader doubts its calendar. The
/// odd number before one stands for the transitional configurations that lead to it.
const STEP: u64 = 4;
const DOUBTFUL: u64 = 2;
/// Epochs beyond this are refused, so that a faulty peer cannot use them up.
const MAX: u64 = 1 << 62;
/// An epoch that is further ahead of mine than this is a fault or a forgery: in milliseconds, what
/// epochs start from, more than five hundred years.
const MAX_LEAP: u64 = 1 << 44;

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

/// Which epoch a process has reached, and whether its calendar is to be trusted.
#[derive(Debug)]
pub(super) struct Epochs {
    /// The greatest that it has proposed or accepted, or booted in.
    reached: u64,
    /// The time of day at boot, in milliseconds since 1970.
    at_boot: u64,
    boot: Instant,
    is_doubtful: bool,
}

impl Epochs {
    pub(super) fn new(at_boot: u64, boot: Instant) -> Self {
        Self { reached: at_boot / STEP * STEP, at_boot, boot, is_doubtful: false }
    }

    /// The greatest so far; of a process that has just booted, that of the ring that it booted in.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// How long ago this process has booted.
    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.since(self.boot)
    }

    /// Whether an epoch that a peer named can be true.
    pub(super) fn is_plausible(&self, epoch: u64) -> bool {
        epoch <= MAX && epoch <= self.reached.saturating_add(MAX_LEAP)
    }

    /// Takes note of an epoch that another process has reached. One that my calendar has not means that
    /// it was set back, or another's forward: either way I doubt it for good.
    pub(super) fn compare(&mut self, epoch: u64, now: Instant) {
        let uptime = u64::try_from(self.uptime(now).as_millis()).unwrap_or(u64::MAX);
        self.is_doubtful |= epoch > self.at_boot.saturating_add(uptime);
    }

    /// Accepts the epoch of another's proposal.
    pub(super) fn accept(&mut self, epoch: u64, now: Instant) {
        self.reached = epoch;
        self.compare(epoch, now);
    }

    /// The epoch of a ring that I propose, where others have reached that one, and I pass over so many who may have
    /// proposed the next.
    pub(super) fn propose(&mut self, heard: u64, passed_over: u64) -> u64 {
        let next = (heard.max(self.reached) + STEP * (1 + passed_over)) / STEP * STEP;
        self.reached = if self.is_doubtful { next + DOUBTFUL } else { next };
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_of_a_leader_grow_and_are_plain_while_its_calendar_is_ahead() {
        let boot = Instant::default();
        let mut epochs = Epochs::new(1003, boot);
        assert_eq!(epochs.reached(), 1000);
        epochs.compare(1023, boot + Duration::from_millis(20));
        for plain in [1004, 1008, 1012] {
            assert_eq!(epochs.propose(1000, 0), plain);
            assert!(is_regular(plain) && !is_doubtful(plain));
        }
        epochs.accept(1020, boot + Duration::from_millis(20));
        assert_eq!(epochs.propose(1012, 0), 1024);
    }

    #[test]
    fn a_leader_that_hears_of_a_later_time_than_its_own_says_so_for_good() {
        let boot = Instant::default();
        let mut epochs = Epochs::new(1000, boot);
        epochs.compare(1021, boot + Duration::from_millis(20));
        epochs.compare(1021, boot + Duration::from_secs(20));
        let mut highest = 1021;
        for _ in 0..3 {
            let epoch = epochs.propose(highest, 0);
            assert!(epoch > highest && is_regular(epoch) && is_doubtful(epoch), "{epoch}");
            highest = epoch;
        }
        assert!(!is_doubtful(Epochs::new(1000, boot).propose(highest, 0)));
    }

    #[test]
    fn numbers_of_transitional_configurations_are_never_those_of_rings() {
        for epoch in [1004, 1006] {
            assert!(is_regular(epoch) && !is_regular(transitional(epoch)));
        }
    }
}
