//! Readers that fall behind hold the ring back for a moment, so that a fast sender does not outrun
//! a reader that does its best; one that stays behind loses that right, so that it never slows the
//! others for long. Such a reader is cut off at its limit.
//!
//! Many readers may stand still one after the other, as those of a host that is suspended do. Each of them
//! is waited for half as long as the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_wire::ids::SessionId;
use bytes::Buf;

use super::outbox::Outbox;
use crate::config::SessionConfig;
use crate::stats::Stats;
use crate::time::Instant;

/// Patience with readers that stand still is halved so often at most.
const MOST_HALVINGS: u32 = 5;
/// All clients together are owed much when it is this part of what they may be owed.
const MUCH: usize = 4;
/// What each may be behind even then.
const LEAST_SHARE_BYTES: usize = 64 << 10;
/// A halving is undone after so many times the whole patience in which no reader stood still.
const FORGIVEN_AFTER: u32 = 10;

/// Sessions that are behind.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Those that hold the ring back.
    pressing: BTreeMap<SessionId, Pressing>,
    /// Those that did for too long.
    given_up: BTreeSet<SessionId>,
    /// How often patience with those that stand still is halved, and since when.
    halvings: u32,
    halved: Instant,
}

/// A reader that holds the ring back: since when, and what its socket had taken then.
#[derive(Clone, Copy, Debug)]
struct Pressing {
    since: Instant,
    taken: u64,
}

/// How far a reader may be behind before the ring waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    bytes: usize,
    messages: usize,
}

impl Threshold {
    /// While `owed_bytes` to `sessions` sessions together are much, each of them may be behind by its share.
    pub(super) fn new(config: &SessionConfig, owed_bytes: usize, sessions: usize) -> Self {
        let much = config.max_kept_bytes / MUCH;
        let bytes = if owed_bytes > much {
            (much / sessions.max(1))
                .clamp(LEAST_SHARE_BYTES.min(config.pressure_bytes), config.pressure_bytes)
        } else {
            config.pressure_bytes
        };
        Self { bytes, messages: config.pressure_messages() }
    }

    /// Whether a reader may be so far behind that the threshold is to be worked out.
    pub(super) fn may_be_passed(config: &SessionConfig, outbox: &Outbox) -> bool {
        outbox.remaining() > LEAST_SHARE_BYTES.min(config.pressure_bytes)
            || outbox.messages() > config.pressure_messages()
    }

    /// Whether a reader is far enough behind to hold the ring back.
    fn is_passed(&self, outbox: &Outbox) -> bool {
        outbox.remaining() > self.bytes || outbox.messages() > self.messages
    }

    /// Whether one has caught up enough.
    fn is_half_kept(&self, outbox: &Outbox) -> bool {
        outbox.remaining() <= self.bytes / 2 && outbox.messages() <= self.messages / 2
    }
}

/// What becomes of a reader that held the ring back.
enum Verdict {
    HoldsOn,
    CaughtUp,
    /// It held on for too long.
    GivenUp {
        is_still: bool,
    },
    Gone,
}

impl Pressure {
    /// Notes that a session's outbox is about to grow: it may have caught up since it grew last.
    pub(super) fn before_growth(&mut self, id: SessionId, outbox: &Outbox, threshold: Threshold) {
        if threshold.is_half_kept(outbox) {
            self.pressing.remove(&id);
            self.given_up.remove(&id);
        }
    }

    /// Notes a session's outbox after it grew.
    pub(super) fn on_growth(&mut self, id: SessionId, outbox: &Outbox, threshold: Threshold, now: Instant) {
        if threshold.is_passed(outbox) && !self.given_up.contains(&id) {
            self.pressing.entry(id).or_insert(Pressing { since: now, taken: outbox.taken() });
        }
    }

    /// A session is gone. One that still held the ring back is remembered for that.
    pub(super) fn on_departed(&mut self, id: SessionId) {
        self.given_up.remove(&id);
    }

    /// Looks which readers have caught up, and gives up those that took too long. Returns whether some reader still
    /// holds the ring back. `outbox` gives what is owed to a session, or
    /// nothing if there is no such session any more. Looks no further than to the first that does, as
    /// this is asked often and there may be thousands.
    pub(super) fn reconsider<'a>(
        &mut self,
        config: &SessionConfig,
        threshold: Threshold,
        now: Instant,
        stats: &mut Stats,
        outbox: impl Fn(SessionId) -> Option<&'a Outbox>,
    ) -> bool {
        self.forgive(config, now);
        let patience_with_still = config.pressure_patience / (1 << self.halvings);
        let mut stood_still = false;
        while let Some((&id, &pressing)) = self.pressing.first_key_value() {
            let held = now.since(pressing.since);
            match pressing.judge(outbox(id), threshold, held, config.pressure_patience, patience_with_still) {
                Verdict::HoldsOn => break,
                Verdict::CaughtUp => {}
                // Or it could connect anew, again and again, and hold the ring for as long each time.
                Verdict::Gone => stood_still = true,
                Verdict::GivenUp { is_still } => {
                    self.given_up.insert(id);
                    stats.readers_given_up += 1;
                    stood_still |= is_still;
                }
            }
            self.pressing.remove(&id);
        }
        if stood_still {
            self.halvings = (self.halvings + 1).min(MOST_HALVINGS);
            self.halved = now;
        }
        !self.pressing.is_empty()
    }

    /// Undoes halvings, as time goes by.
    fn forgive(&mut self, config: &SessionConfig, now: Instant) {
        let each = config.pressure_patience * FORGIVEN_AFTER;
        while self.halvings > 0 && now.since(self.halved) > each {
            self.halvings -= 1;
            self.halved = self.halved + each;
        }
    }

    /// Whether nobody can hold the ring back before somebody gets more.
    pub(super) fn is_idle(&self) -> bool {
        self.pressing.is_empty()
    }

    /// Whether nobody is behind.
    pub(super) fn is_empty(&self) -> bool {
        self.pressing.is_empty() && self.given_up.is_empty()
    }
}

impl Pressing {
    fn judge(
        &self,
        outbox: Option<&Outbox>,
        threshold: Threshold,
        held: Duration,
        patience: Duration,
        patience_with_still: Duration,
    ) -> Verdict {
        let Some(outbox) = outbox else { return Verdict::Gone };
        if threshold.is_half_kept(outbox) {
            return Verdict::CaughtUp;
        }
        let is_still = outbox.taken() == self.taken;
        if held <= if is_still { patience_with_still } else { patience } {
            Verdict::HoldsOn
        } else {
            Verdict::GivenUp { is_still }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sessions::SharedFrame;

    const MS: Duration = Duration::from_millis(1);

    fn filled(bytes: usize) -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push(&SharedFrame::whole(&Bytes::from(vec![0; bytes])), 0);
        outbox
    }

    /// What is owed to one session at a time, at a time.
    struct Bench {
        config: SessionConfig,
        pressure: Pressure,
        stats: Stats,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let config = SessionConfig { pressure_bytes: 1000, ..SessionConfig::default() };
            Self { config, pressure: Pressure::default(), stats: Stats::default(), now: Instant(0) }
        }

        fn threshold(&self) -> Threshold {
            Threshold::new(&self.config, 0, 1)
        }

        fn grow(&mut self, id: u64, outbox: &Outbox) {
            self.pressure.on_growth(SessionId(id), outbox, self.threshold(), self.now);
        }

        fn is_on(&mut self, outbox: Option<&Outbox>) -> bool {
            let threshold = self.threshold();
            self.pressure.reconsider(&self.config, threshold, self.now, &mut self.stats, |_| outbox)
        }

        /// How long a new reader that takes nothing, if it stays at all, holds the ring back.
        fn hold(&mut self, id: u64, goes_after: Option<Duration>) -> Duration {
            let (full, start) = (filled(1500), self.now);
            self.grow(id, &full);
            while self
                .is_on(Some(&full).filter(|_| goes_after.is_none_or(|after| self.now.since(start) < after)))
            {
                self.now = self.now + MS;
            }
            self.now.since(start)
        }
    }

    #[test]
    fn a_reader_that_catches_up_lets_go_and_one_that_does_not_is_given_up() {
        let mut bench = Bench::new();
        let (full, half) = (filled(1500), filled(500));
        bench.grow(1, &half);
        assert!(!bench.is_on(Some(&half)));
        bench.grow(1, &full);
        assert!(bench.is_on(Some(&full)));
        assert!(!bench.is_on(Some(&half)));
        bench.grow(1, &full);
        bench.now = bench.now + bench.config.pressure_patience + MS;
        assert!(!bench.is_on(Some(&full)), "too long");
        bench.grow(1, &full);
        assert!(!bench.is_on(Some(&full)), "no second chance while behind");
        bench.pressure.before_growth(SessionId(1), &full, bench.threshold());
        assert!(!bench.pressure.is_empty(), "still behind");
        bench.pressure.before_growth(SessionId(1), &half, bench.threshold());
        assert!(bench.pressure.is_empty());
        bench.grow(1, &full);
        assert!(bench.is_on(Some(&full)), "a chance again");
        assert_eq!(bench.stats.readers_given_up, 1);
    }

    #[test]
    fn readers_that_stand_still_one_after_the_other_are_waited_for_less_and_less() {
        let mut bench = Bench::new();
        let held: Vec<u128> = (0..8).map(|id| bench.hold(id, None).as_millis()).collect();
        assert_eq!(held, [501, 251, 126, 63, 32, 16, 16, 16]);
        bench.now = bench.now + bench.config.pressure_patience * FORGIVEN_AFTER + MS;
        assert_eq!(bench.hold(8, None).as_millis(), 32, "some time went by");
        bench.now = bench.now + bench.config.pressure_patience * FORGIVEN_AFTER * 5 + MS;
        assert_eq!(bench.hold(9, None).as_millis(), 501);
    }

    #[test]
    fn each_may_be_behind_by_its_share_when_all_together_are_owed_much() {
        let config = SessionConfig { max_kept_bytes: 8 << 20, ..SessionConfig::default() };
        let threshold = |owed_bytes, sessions| Threshold::new(&config, owed_bytes, sessions).bytes;
        assert_eq!(threshold(2 << 20, 1000), 1 << 20, "not much");
        assert_eq!(
            [1, 2, 8, 1000].map(|sessions| threshold((2 << 20) + 1, sessions) >> 10),
            [1024, 1024, 256, 64]
        );
    }

    #[test]
    fn one_that_caught_up_behind_others_begins_anew() {
        let mut bench = Bench::new();
        let (full, half) = (filled(1500), filled(500));
        bench.grow(1, &full);
        bench.grow(2, &full);
        bench.now = bench.now + bench.config.pressure_patience;
        bench.pressure.before_growth(SessionId(2), &half, bench.threshold());
        bench.grow(2, &full);
        bench.now = bench.now + MS;
        assert!(bench.is_on(Some(&full)), "the second");
        assert_eq!(bench.stats.readers_given_up, 1);
    }

    #[test]
    fn one_that_comes_and_goes_is_waited_for_less_and_less() {
        let mut bench = Bench::new();
        let held: Vec<u128> = (0..5).map(|id| bench.hold(id, Some(MS * 100)).as_millis()).collect();
        assert_eq!(held, [100, 100, 100, 63, 32]);
    }

    #[test]
    fn one_that_reads_keeps_its_patience_beside_those_that_stand_still() {
        let mut bench = Bench::new();
        (0..8).for_each(|id| assert!(bench.hold(id, None) > Duration::ZERO));
        let mut reader = filled(2000);
        bench.grow(100, &reader);
        reader.advance(1);
        bench.now = bench.now + bench.config.pressure_patience;
        assert!(bench.is_on(Some(&reader)));
        bench.now = bench.now + MS;
        assert!(!bench.is_on(Some(&reader)), "not fast enough");
    }
}
