//! Transitional signals.
//!
//! - G12: at most one signal between two views; it names the view that ends; the next view is a
//!   network view; it comes when a member is lost and only then, even if all meet again before they
//!   know the groups; and in the end a view follows.
//! - G13: no network view without a change of the members.

use antiphon_wire::client::membership::Cause;

use super::stays::{Change, Sight, Stay, Stays};
use super::{Violation, report};
use crate::trace::{Ending, SessionEvent, Trace};

pub(super) fn check(trace: &Trace, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    for stay in &stays.stays {
        let session = &trace.sessions[stay.session];
        let mut fail = |property, at, what: String| {
            let text = format!("{}: {what} in {}", session.name, stay.group);
            report(violations, Violation::new(property, &[session.process], text).at(at));
        };
        for change in stay.changes() {
            let parted = stays.exits.parted(session.process, change.before, change.after);
            if let Some((property, what)) = judge(&change, parted) {
                fail(property, change.at, what);
            }
        }
        names_last_view(stay, &mut |at, what| fail("G12", at, what));
        let over = trace.ending == Ending::Cut || stay.ended.is_some() || has_ended(trace, stay.session);
        if let (false, Some((_, at, Sight::Signal(_)))) = (over, last_of_membership(stay)) {
            fail("G12", *at, "a signal was never followed by a view".to_owned());
        }
    }
}

fn has_ended(trace: &Trace, session: usize) -> bool {
    let is_end =
        |event: &SessionEvent| matches!(event, SessionEvent::Disconnecting | SessionEvent::Closed(_));
    trace.sessions[session].records.iter().any(|(_, event)| is_end(event))
}

fn last_of_membership<'s, 'a>(
    stay: &'s Stay<'a>,
) -> Option<&'s (usize, antiphon_proto::time::Instant, Sight<'a>)> {
    stay.sights.iter().rev().find(|(_, _, sight)| !matches!(sight, Sight::Message(_)))
}

/// `parted` says whether the receiver's daemon was ever without one of the members.
fn judge(change: &Change<'_, '_>, parted: bool) -> Option<(&'static str, String)> {
    let (before, after, signals) = (change.before, change.after, change.signals());
    if change.is_closing && signals == 1 && after.cause == Cause::Network {
        // The signal was for members that are gone with the view before.
        return None;
    }
    if signals > 1 {
        return Some(("G12", format!("{signals} signals before {:?}", after.id)));
    }
    let gone: Vec<_> = before.members.iter().filter(|member| !after.members.contains(member)).collect();
    if after.cause != Cause::Network {
        return (signals > 0).then(|| ("G12", format!("a signal before a {:?} view", after.cause)));
    }
    if signals == 0 {
        if !gone.is_empty() {
            return Some(("G12", format!("{gone:?} were lost without a signal before {:?}", after.id)));
        }
        let same = before.members == after.members;
        return same.then(|| ("G13", format!("network view {:?} changes nothing", after.id)));
    }
    let own = after.sets.get(after.own_set);
    let all_came = own.is_some_and(|own| before.members.iter().all(|member| own.members.contains(member)));
    (all_came && !parted)
        .then(|| ("G12", format!("a signal before {:?}, to which all members came along", after.id)))
}

fn names_last_view(stay: &Stay<'_>, fail: &mut impl FnMut(antiphon_proto::time::Instant, String)) {
    let mut last = None;
    for (_, at, sight) in &stay.sights {
        match sight {
            Sight::View(view) => last = Some(view.id),
            Sight::Signal(id) if last != Some(*id) => {
                fail(*at, format!("a signal names {id:?}, the last view was {last:?}"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::Story;

    fn two() -> (Story, usize, usize) {
        let mut story = Story::ring_of(2);
        let (p, q) = (story.client(0, "p"), story.client(1, "q"));
        story.view(p, (1, 1), Cause::Join, &[p]);
        story.view(p, (1, 2), Cause::Join, &[p, q]);
        (story, p, q)
    }

    #[test]
    fn a_loss_is_signalled_once() {
        let (mut story, p, _) = two();
        let mut silent = story.clone();
        silent.view(p, (2, 1), Cause::Network, &[p]);
        silent.reject("G12");
        story.signal(p, (1, 2));
        let mut twice = story.clone();
        story.view(p, (2, 1), Cause::Network, &[p]);
        story.accept();
        twice.signal(p, (1, 2));
        twice.view(p, (2, 1), Cause::Network, &[p]);
        twice.reject("G12");
    }

    #[test]
    fn a_signal_means_a_loss() {
        let (mut story, p, q) = two();
        story.signal(p, (1, 2));
        story.view(p, (2, 1), Cause::Network, &[p, q]);
        story.reject("G12");
    }

    #[test]
    fn those_who_meet_again_were_lost_nevertheless() {
        let (mut story, p, q) = two();
        story.signal(p, (1, 2));
        story.transitional(0, 3, &[0]);
        story.regular_unsettled(0, 3, &[0, 1]);
        story.transitional(0, 4, &[0, 1]);
        story.regular(0, 4, &[0, 1]);
        let mut never_parted = story.clone();
        story.view(p, (4, 1), Cause::Network, &[p, q]);
        story.accept();
        never_parted.view(p, (2, 1), Cause::Network, &[p, q]);
        never_parted.reject("G12");
    }

    #[test]
    fn a_signal_names_the_view_that_ends() {
        let (mut story, p, _) = two();
        story.signal(p, (1, 1));
        story.reject("G12");
    }

    #[test]
    fn nothing_is_said_when_nothing_changed() {
        let (mut story, p, q) = two();
        story.view(p, (2, 1), Cause::Network, &[p, q]);
        story.reject("G13");
    }
}
