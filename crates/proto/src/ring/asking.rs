//! Whether what I lack comes once I have asked for it.

use std::time::Duration;

use antiphon_wire::ids::Seq;

use super::requests;
use crate::time::Instant;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Asking {
    /// Up to where I hold everything.
    held: Seq,
    /// When that grew, or when I lacked nothing, for the last time.
    since: Instant,
    /// How often I asked since then, as the age of the next request.
    age: u8,
}

impl Asking {
    pub(super) fn new(held: Seq, now: Instant) -> Self {
        Self { held, since: now, age: 0 }
    }

    pub(super) fn age(&self) -> u8 {
        self.age
    }

    /// I asked once more.
    pub(super) fn note_asked(&mut self) {
        self.age = requests::older(self.age);
    }

    /// For how long I have held no more, although I lack something before `wanted`.
    pub(super) fn in_vain_for(&mut self, held: Seq, wanted: Seq, now: Instant) -> Duration {
        if held >= wanted || held != self.held {
            *self = Self::new(held, now);
        }
        now.since(self.since)
    }
}
