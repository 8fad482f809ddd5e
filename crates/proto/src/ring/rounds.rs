//! What rounds of the token take, as they are seen here.

use std::time::Duration;

use crate::time::Instant;

/// In a ring that no round of the token takes less, daemons are far apart.
const FAR: Duration = Duration::from_millis(20);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Rounds {
    /// When the token was here last, or the ring began.
    visited: Instant,
    /// The same if it went from here to all in turn, and over nobody's head.
    began: Option<Instant>,
    /// What such a round takes when nothing waits on its way.
    unloaded: Option<Duration>,
    /// What the shortest such round took.
    shortest: Option<Duration>,
}

impl Rounds {
    pub(super) fn new(now: Instant) -> Self {
        Self { visited: now, began: None, unloaded: None, shortest: None }
    }

    /// A round ends here. Unloaded it takes what the shortest one took, or the last one in which nobody sent, as
    /// the network may have become slower.
    pub(super) fn note_end(&mut self, was_empty: bool, now: Instant) {
        let Some(round) = self.began.map(|began| now.since(began)) else { return };
        self.shortest = Some(self.shortest.map_or(round, |shortest| shortest.min(round)));
        self.unloaded = self.unloaded.filter(|unloaded| !was_empty && *unloaded < round).or(Some(round));
    }

    /// The token is here, and goes to all in turn, or over somebody's head.
    pub(super) fn note_visit(&mut self, goes_round: bool, now: Instant) {
        self.visited = now;
        self.began = Some(now).filter(|_| goes_round);
    }

    pub(super) fn visited(&self) -> Instant {
        self.visited
    }

    /// What a round takes when nothing waits on its way; zero before that is known.
    pub(super) fn unloaded(&self) -> Duration {
        self.unloaded.unwrap_or_default()
    }

    /// What the shortest round took if daemons are far apart, else zero.
    pub(super) fn shortest_if_far(&self) -> Duration {
        self.shortest.filter(|round| *round >= FAR).unwrap_or_default()
    }
}
