//! The nine membership timeouts of a configuration file and what they mean for a membership protocol
//! that has other steps.
//!
//! | directive | sets |
//! |---|---|
//! | TokenTimeout | `ring.token_loss`; the shorter times of the ring shrink with it where they must |
//! | GatherTimeout | `membership.gather`, if it is shorter than the default |
//! | LookupTimeout | `membership.hello`, if it is shorter than the default |
//! | the other six | nothing: there is no such step |
//!
//! The two bounds only ever shorten: the reference's defaults are seconds because its steps are
//! slower, and taking them over literally would only delay what needs no delay.

use std::time::Duration;

use super::diagnostic::{Diagnostic, Span};
use super::options::Options;

const NAMES: [&str; 9] = [
    "TokenTimeout",
    "HurryTimeout",
    "AliveTimeout",
    "JoinTimeout",
    "RepTimeout",
    "SegTimeout",
    "GatherTimeout",
    "FormTimeout",
    "LookupTimeout",
];

/// What a step of the ring takes at least.
const SHORTEST_STEP: Duration = Duration::from_millis(1);
/// With less, the token cannot be sent again several times before it counts as lost.
const SHORTEST_TOKEN_LOSS: Duration = Duration::from_millis(8);

/// The timeouts that a file gave.
#[derive(Default)]
pub(crate) struct Timeouts {
    given: Vec<Given>,
}

/// One of them.
struct Given {
    name: &'static str,
    /// Where its name stands.
    span: Span,
    value: Duration,
}

impl Timeouts {
    /// Whether a directive is one of the nine.
    pub(crate) fn is_timeout(name: &str) -> bool {
        NAMES.contains(&name)
    }

    /// Whether the file gave none.
    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Notes one; a later value replaces an earlier.
    pub(crate) fn set(&mut self, name: &'static str, span: &Span, value: Duration) {
        self.given.retain(|given| given.name != name);
        self.given.push(Given { name, span: span.clone(), value });
    }

    /// Puts all nine, or none, into effect.
    pub(crate) fn apply(self, options: &mut Options) -> Vec<Diagnostic> {
        let Some(Given { span, .. }) = self.given.first() else { return Vec::new() };
        let missing: Vec<&str> = NAMES.into_iter().filter(|name| !self.has(name)).collect();
        if !missing.is_empty() {
            let label = format!("expected all nine or none; missing: {}", missing.join(", "));
            return vec![Diagnostic::error(span.clone(), "not all membership timeouts are given", label)];
        }
        self.given.into_iter().filter_map(|given| given.apply(options)).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.name == name)
    }
}

impl Given {
    fn apply(self, options: &mut Options) -> Option<Diagnostic> {
        let Self { name, span, value } = self;
        match name {
            "TokenTimeout" => {
                token_loss(value, options);
                return (value < SHORTEST_TOKEN_LOSS).then(|| {
                    let message = "TokenTimeout is so short that rings may break again and again";
                    Diagnostic::warning(span, message, format!("expected {SHORTEST_TOKEN_LOSS:?} at least"))
                });
            }
            "GatherTimeout" => options.membership.gather = options.membership.gather.min(value),
            "LookupTimeout" => options.membership.hello = options.membership.hello.min(value),
            _ => {
                let message = format!("{name} has no effect");
                return Some(Diagnostic::warning(span, message, "the step that it times has no counterpart"));
            }
        }
        None
    }
}

/// The token must be able to rest and to be sent again several times before it counts as lost.
fn token_loss(value: Duration, options: &mut Options) {
    let ring = &mut options.ring;
    ring.token_loss = value;
    ring.token_rest = ring.token_rest.min(value / 4).max(SHORTEST_STEP);
    ring.token_retransmit = ring.token_retransmit.min(value / 8).max(SHORTEST_STEP);
    ring.wake = ring.wake.min(value / 8).max(SHORTEST_STEP);
}

#[cfg(test)]
mod tests {
    use antiphon_proto::config::MembershipConfig;

    use super::*;

    #[test]
    fn all_nine_or_none() {
        let mut timeouts = Timeouts::default();
        timeouts.set("TokenTimeout", &(3..15), Duration::from_millis(100));
        let remarks = timeouts.apply(&mut Options::default());
        assert_eq!(remarks.len(), 1);
        assert!(remarks[0].label.contains("missing: HurryTimeout"), "{}", remarks[0].label);
        assert!(Timeouts::default().apply(&mut Options::default()).is_empty());
    }

    #[test]
    fn counterparts_take_effect_and_the_rest_warns() {
        let mut timeouts = Timeouts::default();
        for name in NAMES {
            timeouts.set(name, &(0..1), Duration::from_millis(40));
        }
        let mut options = Options::default();
        assert_eq!(timeouts.apply(&mut options).len(), 6);
        assert_eq!(options.ring.token_loss, Duration::from_millis(40));
        assert_eq!(options.ring.token_rest, Duration::from_millis(10));
        assert_eq!(options.membership.gather, Duration::from_millis(40));
        assert_eq!(options.membership.hello, Duration::from_millis(40));
    }

    #[test]
    fn a_token_that_can_not_be_sent_again_is_warned_of() {
        let remarks = |token: u64| {
            let mut timeouts = Timeouts::default();
            for name in NAMES {
                timeouts.set(name, &(0..1), Duration::from_millis(token));
            }
            let remarks = timeouts.apply(&mut Options::default());
            remarks.iter().filter(|remark| remark.message.starts_with("TokenTimeout")).count()
        };
        assert_eq!([1, 7, 8, 200].map(remarks), [1, 1, 0, 0]);
    }

    #[test]
    fn long_bounds_leave_the_defaults() {
        let mut timeouts = Timeouts::default();
        for name in NAMES {
            timeouts.set(name, &(0..1), Duration::from_secs(30));
        }
        let mut options = Options::default();
        timeouts.apply(&mut options);
        assert_eq!(options.membership, MembershipConfig::default());
        assert_eq!(options.ring.token_loss, Duration::from_secs(30));
    }
}
