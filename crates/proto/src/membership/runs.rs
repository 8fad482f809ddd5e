//! Which run of each daemon is alive, by what arrives of it and by its goodbye.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_wire::ids::{DaemonId, ProcessId};

use crate::time::Instant;

/// A process whose greater incarnation was not heard for this long may have been started with a
/// clock that was set back; its lower one is believed then.
pub(super) const FORGET_INCARNATION: Duration = Duration::from_secs(3);

/// How a sender's incarnation relates to what I knew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sighting {
    /// As known.
    Known,
    /// Another run than I knew: that one is dead.
    Newer,
    /// An earlier run, or a process that left: nothing of it counts.
    Dead,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// The run of each daemon that I believe to be its last.
    believed: BTreeMap<DaemonId, Run>,
    /// Processes that said goodbye.
    departed: BTreeSet<ProcessId>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    incarnation: u64,
    /// When something of it arrived last.
    sighted: Instant,
}

impl Runs {
    /// Notes that a datagram of `from` arrived. If `earlier_is_dead`, an earlier run than the one believed cannot
    /// be alive, however long that one has not been heard.
    pub(super) fn sight(&mut self, from: ProcessId, earlier_is_dead: bool, now: Instant) -> Sighting {
        let sighting = self.compare(from, earlier_is_dead, now);
        if sighting != Sighting::Dead {
            self.believed.insert(from.daemon, Run { incarnation: from.incarnation, sighted: now });
        }
        if sighting == Sighting::Newer {
            self.departed.retain(|process| process.daemon != from.daemon || *process == from);
        }
        sighting
    }

    fn compare(&self, from: ProcessId, earlier_is_dead: bool, now: Instant) -> Sighting {
        if self.departed.contains(&from) {
            return Sighting::Dead;
        }
        let Some(Run { incarnation, sighted }) = self.believed.get(&from.daemon).copied() else {
            return Sighting::Known;
        };
        match from.incarnation.cmp(&incarnation) {
            Ordering::Equal => Sighting::Known,
            Ordering::Less if earlier_is_dead || now.since(sighted) < FORGET_INCARNATION => Sighting::Dead,
            Ordering::Less | Ordering::Greater => Sighting::Newer,
        }
    }

    /// A process said goodbye.
    pub(super) fn depart(&mut self, process: ProcessId) {
        self.departed.insert(process);
    }

    /// Whether the process cannot be in a ring any more.
    pub(super) fn is_gone(&self, process: ProcessId) -> bool {
        let believed = self.believed.get(&process.daemon);
        let has_another = believed.is_some_and(|run| run.incarnation != process.incarnation);
        has_another || self.departed.contains(&process)
    }

    /// Whether something of a daemon arrived in the time before `now`.
    pub(super) fn was_sighted(&self, daemon: DaemonId, within: Duration, now: Instant) -> bool {
        self.believed.get(&daemon).is_some_and(|run| now.since(run.sighted) < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(incarnation: u64) -> ProcessId {
        ProcessId { daemon: DaemonId(1), incarnation }
    }

    fn at(ms: u64) -> Instant {
        Instant::default() + Duration::from_millis(ms)
    }

    #[test]
    fn an_earlier_run_is_believed_when_the_later_one_was_not_heard_for_long() {
        let mut runs = Runs::default();
        assert_eq!(runs.sight(run(1), false, at(0)), Sighting::Known);
        assert_eq!(runs.sight(run(2), false, at(0)), Sighting::Newer);
        assert_eq!(runs.sight(run(1), false, at(2900)), Sighting::Dead);
        assert_eq!(runs.sight(run(1), true, at(3100)), Sighting::Dead, "it cannot be alive");
        assert_eq!(runs.sight(run(1), false, at(3100)), Sighting::Newer);
        assert_eq!(runs.sight(run(1), false, at(3200)), Sighting::Known);
    }

    #[test]
    fn a_goodbye_counts_until_a_later_run_of_its_daemon_is_heard() {
        let mut runs = Runs::default();
        let another = ProcessId { daemon: DaemonId(2), incarnation: 1 };
        assert_eq!(runs.sight(run(1), false, at(0)), Sighting::Known);
        [run(1), another].into_iter().for_each(|process| runs.depart(process));
        assert!(runs.is_gone(run(1)));
        assert_eq!(runs.sight(run(1), false, at(9000)), Sighting::Dead);
        assert_eq!(runs.sight(run(2), false, at(9000)), Sighting::Newer);
        assert!(runs.is_gone(run(1)) && !runs.is_gone(run(2)), "another run is here");
        assert_eq!(runs.departed, BTreeSet::from([another]), "no more is kept than one for each daemon");
    }
}
