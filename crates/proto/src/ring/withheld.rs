//! What I hold and keep to myself, so that the others number no more than my clients can take.

use std::time::Duration;

use antiphon_wire::ids::Seq;

use crate::time::Instant;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    /// Whether I say no more than before, because clients are behind with reading.
    held_back: bool,
    put_off: Option<PutOff>,
    /// For how long deliveries were put off since the last visit, and are not any more.
    was_put_off: Duration,
}

/// Deliveries put off: I say no more than that I hold what is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PutOff {
    /// Up to where I have delivered.
    delivered: Seq,
    /// Since when some were put off, or since the last visit.
    since: Instant,
}

impl Withheld {
    /// How far I may say that I hold what I hold up to `held`. The packet behind the last one that was delivered may
    /// have to be stable before it can be.
    pub(super) fn limit(&self, held: Seq) -> Option<Seq> {
        let limit = self.put_off.map_or(held, |put_off| put_off.delivered.next().min(held));
        Some(limit).filter(|_| !self.held_back)
    }

    /// Holds the ring back, or lets it go on. Returns whether that is new.
    pub(super) fn set_held_back(&mut self, held_back: bool) -> bool {
        std::mem::replace(&mut self.held_back, held_back) != held_back
    }

    /// Deliveries are put off, after so much, or not any more. Returns whether that is new.
    pub(super) fn put_off(&mut self, delivered: Option<Seq>, now: Instant) -> bool {
        let since = self.put_off.map_or(now, |put_off| put_off.since);
        if delivered.is_none() {
            self.was_put_off += now.since(since);
        }
        let put_off = delivered.map(|delivered| PutOff { delivered, since });
        std::mem::replace(&mut self.put_off, put_off) != put_off
    }

    /// For how long deliveries were put off since this was asked last, if some of what I hold up to `held` still are.
    pub(super) fn lag(&mut self, held: Seq, now: Instant) -> Option<Duration> {
        let ended = std::mem::take(&mut self.was_put_off);
        let PutOff { delivered, since } = self.put_off.as_mut()?;
        let lag = ended + now.since(std::mem::replace(since, now));
        (held > *delivered).then_some(lag)
    }
}
