//! How late a packet may be before it counts as lost.
//!
//! The token says which packets there are, and may be faster than they are: by a round with the
//! accelerated ring, and by more where a switch takes its time to copy what goes to all. Asking for
//! what is only late makes others send it again, again and again. So when a packet that I asked for
//! comes twice, I wait longer before I ask; what I waited for in vain, I wait for less after a while
//! (docs/protocol.md, O6).

use std::collections::VecDeque;
use std::time::Duration;

use antiphon_wire::ids::Seq;
use antiphon_wire::ring::ranges::SeqRange;

use crate::time::Instant;

/// The first step up from not waiting at all.
const STEP: Duration = Duration::from_micros(500);
/// After so long without a packet that came twice, half of the time must do.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// How long I remember what I asked for: longer than an answer may take, but where daemons are far apart. There a
/// packet is hardly ever later than the round that it has anyway.
const MEMORY: Duration = Duration::from_millis(100);
/// How many ranges of it; of more I forget the oldest.
const MEMORY_RANGES: usize = 256;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Tolerance {
    /// How late a packet may be.
    allowed: Duration,
    changed: Instant,
    /// Highest numbers that the token had when I passed it, and when: those still to be waited for,
    /// after the last one that is due.
    known: VecDeque<(Instant, Seq)>,
    /// What I asked for lately, and when; at most [`MEMORY_RANGES`].
    asked: VecDeque<(Instant, SeqRange)>,
}

impl Tolerance {
    /// The token is passed, and packets up to `last` exist.
    pub(crate) fn note_passed(&mut self, now: Instant, last: Seq) {
        if self.known.back().is_none_or(|(_, known)| *known < last) {
            self.known.push_back((now, last));
        }
    }

    /// Packets up to this one should be here by now.
    pub(crate) fn due(&mut self, now: Instant) -> Seq {
        if now.since(self.changed) > HALF_LIFE {
            self.allowed = if self.allowed <= STEP { Duration::ZERO } else { self.allowed / 2 };
            self.changed = now;
        }
        while self.known.get(1).is_some_and(|(at, _)| *at + self.allowed <= now) {
            self.known.pop_front();
        }
        let due = self.known.front().filter(|(at, _)| *at + self.allowed <= now);
        due.map(|(_, last)| *last).unwrap_or_default()
    }

    /// Whether I asked for a packet and what I asked for may still come.
    pub(crate) fn awaits(&self, seq: Seq, now: Instant) -> bool {
        let lately = self.asked.iter().rev().take_while(|(at, _)| now < *at + self.allowed);
        lately.map(|(_, range)| range).any(|range| range.contains(seq))
    }

    /// I ask for these.
    pub(crate) fn note_asked(&mut self, now: Instant, ranges: impl Iterator<Item = SeqRange>) {
        while self.asked.front().is_some_and(|(at, _)| *at + MEMORY < now) {
            self.asked.pop_front();
        }
        self.asked.extend(ranges.map(|range| (now, range)));
        self.asked.drain(..self.asked.len().saturating_sub(MEMORY_RANGES));
    }

    /// A packet came that was here already: if I had asked for it, it was only late. I wait for
    /// `longest` at most. One step at a time, since what comes soon after was asked for before.
    pub(crate) fn note_duplicate(&mut self, seq: Seq, now: Instant, longest: Duration) {
        let has_taken_effect = self.allowed.is_zero() || now.since(self.changed) > self.allowed * 2;
        if has_taken_effect && self.asked.iter().any(|(_, range)| range.contains(seq)) {
            self.allowed = (self.allowed * 2).max(STEP).min(longest);
            self.changed = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(8);

    fn at(micros: u64) -> Instant {
        Instant(20_000_000_000 + micros * 1000)
    }

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn at_first_everything_that_the_last_round_had_is_due() {
        let mut tolerance = Tolerance::default();
        assert_eq!(tolerance.due(at(0)), Seq::ZERO);
        tolerance.note_passed(at(0), Seq(5));
        assert_eq!(tolerance.due(at(1)), Seq(5));
        tolerance.note_passed(at(1), Seq(9));
        assert_eq!(tolerance.due(at(2)), Seq(9));
        tolerance.note_asked(at(2), [range(6, 6)].into_iter());
        assert!(!tolerance.awaits(Seq(6), at(2)), "it may be asked for again in the next round");
    }

    #[test]
    fn packets_that_came_twice_are_waited_for() {
        let mut tolerance = Tolerance::default();
        let _ = tolerance.due(at(0));
        tolerance.note_passed(at(0), Seq(5));
        tolerance.note_asked(at(100), [range(4, 5)].into_iter());
        tolerance.note_duplicate(Seq(3), at(200), LONGEST);
        assert_eq!(tolerance.due(at(200)), Seq(5), "nobody asked for the third");
        tolerance.note_duplicate(Seq(4), at(200), LONGEST);
        tolerance.note_passed(at(300), Seq(8));
        assert_eq!(tolerance.due(at(400)), Seq::ZERO);
        assert_eq!(tolerance.due(at(600)), Seq(5));
        assert_eq!(tolerance.due(at(800)), Seq(8));
        tolerance.note_asked(at(800), [range(7, 8)].into_iter());
        assert!(tolerance.awaits(Seq(8), at(1200)) && !tolerance.awaits(Seq(6), at(1200)));
        assert!(!tolerance.awaits(Seq(8), at(1300)));
    }

    #[test]
    fn patience_has_a_limit_and_is_forgotten() {
        let mut tolerance = Tolerance::default();
        tolerance.note_asked(at(0), [range(1, 9)].into_iter());
        for step in 0..20 {
            tolerance.note_duplicate(Seq(1), at(step * 20_000), LONGEST);
        }
        assert_eq!(tolerance.allowed, LONGEST);
        for step in 1..20 {
            let _ = tolerance.due(at(step * 11_000_000));
        }
        assert_eq!(tolerance.allowed, Duration::ZERO);
    }
}
