//! Readers that fall behind hold the ring back for a moment, so that a fast sender does not outrun
//! a reader that does its best; one that stays behind loses that right, so that it never slows the
//! others for long. Such a reader is cut off at its limit.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_wire::ids::SessionId;
use bytes::Buf;

use super::outbox::Outbox;
use crate::config::SessionConfig;
use crate::time::Instant;

/// Sessions that are behind.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Those that hold the ring back, and since when.
    pressing: BTreeMap<SessionId, Instant>,
    /// Those that did for too long.
    given_up: BTreeSet<SessionId>,
}

/// Whether a reader is far enough behind to hold the ring back.
fn is_behind(outbox: &Outbox, config: &SessionConfig) -> bool {
    outbox.remaining() > config.pressure_bytes || outbox.messages() > config.max_outbox_messages / 2
}

/// Whether a reader has caught up enough.
fn has_caught_up(outbox: &Outbox, config: &SessionConfig) -> bool {
    outbox.remaining() <= config.pressure_bytes / 2 && outbox.messages() <= config.max_outbox_messages / 4
}

impl Pressure {
    /// Notes a session's outbox after it grew.
    pub(super) fn on_growth(&mut self, id: SessionId, outbox: &Outbox, config: &SessionConfig, now: Instant) {
        if is_behind(outbox, config) && !self.given_up.contains(&id) {
            self.pressing.entry(id).or_insert(now);
        }
    }

    /// Whether some reader still holds the ring back. `outbox` gives what is owed to a session, or
    /// nothing if there is no such session any more.
    pub(super) fn is_on<'a>(
        &mut self,
        config: &SessionConfig,
        now: Instant,
        outbox: impl Fn(SessionId) -> Option<&'a Outbox>,
    ) -> bool {
        let behind = |id: SessionId| outbox(id).is_some_and(|outbox| !has_caught_up(outbox, config));
        self.given_up.retain(|id| behind(*id));
        let given_up = &mut self.given_up;
        self.pressing.retain(|id, since| {
            let patient = now.since(*since) <= config.pressure_patience;
            if behind(*id) && !patient {
                given_up.insert(*id);
            }
            behind(*id) && patient
        });
        !self.pressing.is_empty()
    }

    /// Whether anyone is behind at all.
    pub(super) fn is_empty(&self) -> bool {
        self.pressing.is_empty() && self.given_up.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn filled(bytes: usize) -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push(&[], &Bytes::from(vec![0; bytes]), 0);
        outbox
    }

    #[test]
    fn a_reader_that_catches_up_lets_go_and_one_that_does_not_is_given_up() {
        let config = SessionConfig { pressure_bytes: 1000, ..SessionConfig::default() };
        let (id, start) = (SessionId(1), Instant(0));
        let (full, half) = (filled(1500), filled(500));
        let mut pressure = Pressure::default();
        pressure.on_growth(id, &half, &config, start);
        assert!(!pressure.is_on(&config, start, |_| Some(&half)));
        pressure.on_growth(id, &full, &config, start);
        assert!(pressure.is_on(&config, start, |_| Some(&full)));
        assert!(!pressure.is_on(&config, start, |_| Some(&half)));
        pressure.on_growth(id, &full, &config, start);
        let later = start + config.pressure_patience + Duration::from_millis(1);
        assert!(!pressure.is_on(&config, later, |_| Some(&full)), "too long");
        pressure.on_growth(id, &full, &config, later);
        assert!(!pressure.is_on(&config, later, |_| Some(&full)), "no second chance while behind");
        assert!(!pressure.is_on(&config, later, |_| Some(&half)) && pressure.is_empty());
    }
}
