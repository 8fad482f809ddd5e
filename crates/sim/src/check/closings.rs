//! Why a daemon closes a connection.
//!
//! - C2: as that of a slow reader only if the client did not read for a while, has hung up, or has a small
//!   socket and a low limit; on request only after the request; because the daemon stops only if it does.
//! - C4, C6: a name is refused as in use only while another connection has it, and it has it no longer
//!   than until its end is delivered.

use antiphon_proto::CloseReason;
use antiphon_proto::time::Instant;
use antiphon_wire::client::flags::ReplyCode;
use antiphon_wire::names::MemberName;

use super::daemon_order::{Entry, Operations};
use super::history::{Delivered, History, Run, Step};
use super::{Violation, report};
use crate::trace::{SessionEvent, SessionTrace, Trace};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    let trace = history.trace;
    for (process, run) in history.runs.iter().enumerate() {
        let operations = Operations::new(trace, process);
        for (at, (time, step)) in run.steps.iter().enumerate() {
            let Step::Closed(session, reason) = step else { continue };
            let traced = &trace.sessions[*session];
            let found = match reason {
                CloseReason::SlowReader | CloseReason::OutboxesFull if !may_be_slow(traced, *time) => {
                    Some(("C2", "it reads"))
                }
                CloseReason::Shutdown if !run.ended => Some(("C2", "the daemon goes on")),
                CloseReason::Disconnected if !has_asked(traced, *time) => Some(("C2", "it did not ask")),
                CloseReason::Refused(ReplyCode::NotUnique)
                    if !is_in_use(trace, (process, run), &operations, at, *session) =>
                {
                    Some(("C4", "nobody has the name"))
                }
                _ => None,
            };
            if let Some((property, why)) = found {
                let text = format!("{} was closed ({reason:?}), but {why}", traced.name);
                report(violations, Violation::new(property, &[process], text).at(*time));
            }
        }
    }
}

fn did(session: &SessionTrace, before: Instant, what: &SessionEvent) -> bool {
    session.records.iter().any(|(time, event)| *time <= before && event == what)
}

/// Who has hung up reads no more, and its daemon may not have read yet that it did.
fn may_be_slow(session: &SessionTrace, time: Instant) -> bool {
    session.has_little_room || did(session, time, &SessionEvent::Napping) || has_asked(session, time)
}

fn has_asked(session: &SessionTrace, time: Instant) -> bool {
    did(session, time, &SessionEvent::Disconnecting)
}

/// Whether another connection had the name of a session when it was refused, in that step.
fn is_in_use(
    trace: &Trace,
    (process, run): (usize, &Run<'_>),
    operations: &Operations,
    step: usize,
    refused: usize,
) -> bool {
    let name = trace.sessions[refused].name;
    let time = run.steps[step].0;
    // Of what happens in one call, deliveries are recorded before acceptances and refusals.
    let is_bearer = |(at, step): &&(Instant, Step<'_>)| matches!(step, Step::Accepted(session) if *at <= time && trace.sessions[*session].name == name);
    let accepted = run.steps.iter().filter(is_bearer).count();
    accepted > gone(run, operations, name, time)
        || in_handshake(trace, (process, run), step, refused)
        || is_stopping(&run.steps[..step])
}

/// Whether the daemon has closed sessions because it stops. It does not learn any more that their names are free.
fn is_stopping(before: &[(Instant, Step<'_>)]) -> bool {
    before.iter().any(|(_, step)| matches!(step, Step::Closed(_, CloseReason::Shutdown)))
}

/// How many ends of sessions of that name were delivered before that time.
fn gone(run: &Run<'_>, operations: &Operations, name: MemberName, before: Instant) -> usize {
    let is_end = |(time, step): &&(Instant, Step<'_>)| match step {
        Step::Delivered(Delivered { stamp, sender, .. }) => {
            *time < before && *sender == run.process && operations.find(stamp) == Some(Entry::Gone(name))
        }
        _ => false,
    };
    run.steps.iter().filter(is_end).count()
}

/// Whether another connection under the same name was neither accepted nor closed by the daemon so far.
/// When its client gives up, the daemon need not know yet.
fn in_handshake(trace: &Trace, (process, run): (usize, &Run<'_>), step: usize, refused: usize) -> bool {
    let (name, time) = (trace.sessions[refused].name, run.steps[step].0);
    let is_decided = |session: usize| {
        let is_it = |step: &Step<'_>| matches!(step, Step::Accepted(other) | Step::Closed(other, _) if *other == session);
        run.steps[..step].iter().any(|(_, step)| is_it(step))
    };
    let is_rival = |(at, session): &(usize, &SessionTrace)| {
        *at != refused && session.process == process && session.name == name && session.opened <= time
    };
    trace.sessions.iter().enumerate().filter(is_rival).any(|(at, _)| !is_decided(at))
}

#[cfg(test)]
mod tests {
    use antiphon_proto::CloseReason;
    use antiphon_wire::client::flags::ReplyCode;

    use super::super::story::Story;
    use crate::trace::SessionEvent;

    fn story() -> (Story, usize) {
        let mut story = Story::ring_of(1);
        let session = story.client(0, "p");
        (story, session)
    }

    #[test]
    fn who_reads_is_not_slow() {
        let (mut story, session) = story();
        let mut little = story.clone();
        let mut asleep = story.clone();
        story.closes(session, CloseReason::SlowReader);
        story.reject("C2");
        little.trace.sessions[session].has_little_room = true;
        little.closes(session, CloseReason::SlowReader);
        little.accept();
        let mut gone = asleep.clone();
        gone.event(session, SessionEvent::Disconnecting);
        gone.closes(session, CloseReason::SlowReader);
        gone.accept();
        asleep.event(session, SessionEvent::Napping);
        asleep.closes(session, CloseReason::SlowReader);
        asleep.accept();
    }

    #[test]
    fn a_session_ends_on_request_or_with_its_daemon() {
        for (reason, is_asked, is_over) in
            [(CloseReason::Disconnected, true, false), (CloseReason::Shutdown, false, true)]
        {
            let (mut story, session) = story();
            let mut groundless = story.clone();
            groundless.closes(session, reason);
            groundless.reject("C2");
            if is_asked {
                story.event(session, SessionEvent::Disconnecting);
            }
            story.closes(session, reason);
            if is_over {
                story.crash(0);
            }
            story.accept();
        }
    }

    #[test]
    fn a_name_is_refused_while_it_is_in_use() {
        let (mut story, session) = story();
        let refused = story.knocks(0, "p");
        let mut free = story.clone();
        story.closes(refused, CloseReason::Refused(ReplyCode::NotUnique));
        story.accept();
        free.event(session, SessionEvent::Disconnecting);
        free.ends(session);
        free.closes(refused, CloseReason::Refused(ReplyCode::NotUnique));
        free.reject("C4");
    }

    #[test]
    fn a_daemon_that_stops_refuses_any_name() {
        let (mut stopping, session) = story();
        let refused = stopping.knocks(0, "r");
        let mut going_on = stopping.clone();
        going_on.closes(refused, CloseReason::Refused(ReplyCode::NotUnique));
        going_on.reject("C4");
        stopping.closes(session, CloseReason::Shutdown);
        stopping.closes(refused, CloseReason::Refused(ReplyCode::NotUnique));
        stopping.crash(0);
        stopping.accept();
    }
}
