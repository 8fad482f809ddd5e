//! The windows of a configuration file.
//!
//! | directive | bounds the new packets |
//! |---|---|
//! | Window | of all daemons in one round, at first |
//! | WindowLimit | the same, however far the ring raises the window |
//! | PersonalWindow | of one daemon in one visit |
//! | AcceleratedWindow, AcceleratedRing | of these, how many may follow the token |
//!
//! Each is bounded by the one above it: beyond that, a value of the file is an error, and a default is lowered.

use antiphon_proto::config::{RingConfig, Windows};

use super::diagnostic::Diagnostic;
use super::syntax::Spanned;

/// Largest window in packets; beyond it a round could hold more than any receive buffer.
pub(crate) const MAX: u32 = 65_536;
/// No ring raises a window beyond this by itself: rounds would hold more than receive buffers mostly have.
const GROWN_MAX: u32 = MAX / 4;
/// How far a ring may raise a window by itself, unless `WindowLimit` says otherwise.
const GROWTH: u32 = 8;

/// What a file gave.
#[derive(Default)]
pub(crate) struct GivenWindows {
    pub(crate) all: Option<Spanned<u32>>,
    pub(crate) limit: Option<Spanned<u32>>,
    pub(crate) personal: Option<Spanned<u32>>,
    pub(crate) accelerated: Option<Spanned<u32>>,
    pub(crate) is_accelerated: Option<bool>,
}

impl GivenWindows {
    /// Puts all into effect and says which are too large.
    pub(crate) fn apply(&self, ring: &mut RingConfig) -> Vec<Diagnostic> {
        let remarks = [self.all(ring), self.personal(ring), self.accelerated(ring)];
        remarks.into_iter().flatten().collect()
    }

    fn all(&self, ring: &mut RingConfig) -> Option<Diagnostic> {
        if let Some(window) = &self.all {
            let grown = window.value.saturating_mul(GROWTH).min(GROWN_MAX);
            (ring.windows.all, ring.window_limit_packets) = (window.value, grown.max(window.value));
        }
        let limit = self.limit.as_ref().map_or(ring.window_limit_packets, |limit| limit.value);
        ring.window_limit_packets = limit;
        let most = u64::from(limit.max(ring.windows.all));
        ring.outstanding_packets = ring.outstanding_packets.max(2 * most);
        self.all.as_ref().and_then(|window| over(window, limit, "Window", "WindowLimit"))
    }

    fn personal(&self, ring: &mut RingConfig) -> Option<Diagnostic> {
        let Windows { all: limit, personal, .. } = &mut ring.windows;
        let (limit, given) = (*limit, self.personal.as_ref());
        *personal = given.map_or(*personal, |given| given.value).min(limit);
        given.and_then(|given| over(given, limit, "PersonalWindow", "Window"))
    }

    fn accelerated(&self, ring: &mut RingConfig) -> Option<Diagnostic> {
        let Windows { personal: limit, after_token, .. } = &mut ring.windows;
        if self.is_accelerated == Some(false) {
            *after_token = 0;
            return None;
        }
        let (limit, given) = (*limit, self.accelerated.as_ref());
        *after_token = given.map_or(*after_token, |given| given.value).min(limit);
        given.and_then(|given| over(given, limit, "AcceleratedWindow", "PersonalWindow"))
    }
}

fn over(value: &Spanned<u32>, limit: u32, name: &str, of: &str) -> Option<Diagnostic> {
    (value.value > limit).then(|| {
        let message = format!("{name} is greater than {of}");
        Diagnostic::error(value.span.clone(), message, format!("expected at most {limit}"))
    })
}
