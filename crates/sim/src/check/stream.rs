//! What one session may read at all.
//!
//! - C1: nothing but frames of the protocol, and C6: no refusal of a legal request.
//! - C2: a daemon closes a session only on request, for slowness, or because it stops itself; whether
//!   there is ground for it, `closings.rs` judges.
//! - S1, C5: a message at most once.
//! - S8: a sender that wants no copy gets none.
//! - S9, E8: content, level, groups and sender are those that were sent.
//! - G9: messages, signals and self-leaves of a group only while being its member.

use antiphon_proto::CloseReason;
use antiphon_wire::client::flags::ReplyCode;

use super::stays::Stays;
use super::{Violation, report};
use crate::trace::{SessionEvent, Trace};

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    for (at, session) in trace.sessions.iter().enumerate() {
        let mut seen = std::collections::BTreeSet::new();
        for (time, event) in &session.records {
            let found = judge(trace, at, event, &mut seen);
            if let Some((property, what)) = found {
                let text = format!("{} {what}", session.name);
                report(violations, Violation::new(property, &[session.process], text).at(*time));
            }
        }
    }
    for (session, record, what) in &stays.strays {
        let session = &trace.sessions[*session];
        let text = format!("{} got {what} without being a member", session.name);
        let violation = Violation::new("G9", &[session.process], text).at(session.records[*record].0);
        report(violations, violation);
    }
}

fn judge(
    trace: &Trace,
    at: usize,
    event: &SessionEvent,
    seen: &mut std::collections::BTreeSet<usize>,
) -> Option<(&'static str, String)> {
    match event {
        SessionEvent::Garbage(what) => Some(("C1", format!("read garbage: {what}"))),
        // Another session of that name may not be gone for everyone yet.
        SessionEvent::Refused(ReplyCode::NotUnique) => None,
        SessionEvent::Refused(code) => Some(("C6", format!("was refused: {code}"))),
        SessionEvent::Closed(Some(reason)) => match reason {
            CloseReason::Disconnected
            | CloseReason::SlowReader
            | CloseReason::OutboxesFull
            | CloseReason::Shutdown
            | CloseReason::Refused(ReplyCode::NotUnique) => None,
            CloseReason::Refused(_)
            | CloseReason::HandshakeTimeout
            | CloseReason::ProtocolError(_)
            | CloseReason::HungUp
            | CloseReason::HungUpEarly => Some(("C2", format!("was closed: {reason:?}"))),
        },
        SessionEvent::Message(received) => {
            let number = received.submission;
            let submission = &trace.submissions[number];
            if !received.intact {
                return Some(("S9", format!("got message {number} with another content")));
            }
            if !seen.insert(number) {
                return Some(("S1", format!("got message {number} twice")));
            }
            submission
                .is_discarded_by(at)
                .then(|| ("S8", format!("got back message {number}, which it wanted discarded")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use antiphon_proto::CloseReason;
    use antiphon_wire::client::flags::ReplyCode;
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, Story};
    use crate::trace::{Received, SessionEvent};

    fn member_story() -> (Story, usize, usize) {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        story.view(session, (1, 1), Cause::Join, &[session]);
        let message = story.cast(session, "g", AGREED);
        (story, session, message)
    }

    #[test]
    fn a_message_comes_once_and_intact() {
        let (mut story, session, message) = member_story();
        let mut damaged = story.clone();
        damaged.event(session, SessionEvent::Message(Received { submission: message, intact: false }));
        damaged.reject("S9");
        story.gets(session, message);
        story.accept();
        story.gets(session, message);
        story.reject("S1");
    }

    #[test]
    fn what_is_to_be_discarded_does_not_come_back() {
        let (mut story, session, message) = member_story();
        story.trace.submissions[message].self_discard = true;
        story.accept();
        story.gets(session, message);
        story.reject("S8");
    }

    #[test]
    fn a_session_is_closed_for_a_reason() {
        let (mut story, session, _) = member_story();
        story.event(session, SessionEvent::Closed(Some(CloseReason::SlowReader)));
        story.accept();
        story.event(session, SessionEvent::Closed(Some(CloseReason::ProtocolError("x"))));
        story.reject("C2");
    }

    #[test]
    fn garbage_and_refusals_are_noticed() {
        let (story, session, _) = member_story();
        for (event, property) in
            [(SessionEvent::Garbage("?".to_owned()), "C1"), (SessionEvent::Refused(ReplyCode::Auth), "C6")]
        {
            let mut story = story.clone();
            story.event(session, event);
            story.reject(property);
        }
    }

    #[test]
    fn messages_of_a_group_are_for_its_members() {
        let (mut story, session, message) = member_story();
        story.event(session, SessionEvent::Left(super::super::story::name("g")));
        story.accept();
        story.gets(session, message);
        story.reject("G9");
    }
}
