//! The place of transitional signals among the messages.
//!
//! - S6: what is read before the signal has the full guarantee of its level. So nothing that was
//!   delivered among those who stayed together is read before it, if the view lists a member elsewhere.
//! - G20: the signal comes before what is left of the old ring, so nothing that was delivered in
//!   the regular configuration is read after it.

use std::collections::BTreeMap;

use antiphon_wire::client::membership::View;
use antiphon_wire::ids::ProcessId;

use super::daemon_order::Order;
use super::exits::daemon_of;
use super::history::History;
use super::stays::{Sight, Stay, Stays};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, stays: &Stays<'_>, violations: &mut Vec<Violation>) {
    let mut orders: BTreeMap<usize, Order<'_>> = BTreeMap::new();
    for stay in &stays.stays {
        let session = &history.trace.sessions[stay.session];
        let process = session.process;
        let order = orders.entry(process).or_insert_with(|| Order::new(history, process));
        walk(stay, order, |property, at, what| {
            let text = format!("{} read {what} of {}", session.name, stay.group);
            report(violations, Violation::new(property, &[session.process], text).at(stay.sights[at].1));
        });
    }
}

fn walk(stay: &Stay<'_>, order: &Order<'_>, mut fail: impl FnMut(&'static str, usize, String)) {
    let mut view: Option<&View> = None;
    let mut is_signalled = false;
    for (at, (_, _, sight)) in stay.sights.iter().enumerate() {
        let number = match sight {
            Sight::View(next) => {
                (view, is_signalled) = (Some(*next), false);
                continue;
            }
            Sight::Signal(_) => {
                is_signalled = true;
                continue;
            }
            Sight::Message(number) => *number,
        };
        // What its daemon never delivered is the matter of C1.
        if !order.positions.contains_key(&number) {
            continue;
        }
        match (order.closing(number), view) {
            (None, _) if is_signalled => {
                fail("G20", at, format!("message {number} of the regular configuration after the signal"));
            }
            (Some(together), Some(view)) if !is_signalled && loses(view, together) => {
                let what = format!("message {number} before the signal, though only {together:?} share it,");
                fail("S6", at, what);
            }
            _ => {}
        }
    }
}

/// Whether some member of a view is at none of these daemons.
fn loses(view: &View, together: &[ProcessId]) -> bool {
    let stays = |member| together.iter().any(|process| process.daemon == daemon_of(member));
    !view.members.iter().all(stays)
}

#[cfg(test)]
mod tests {
    use antiphon_wire::client::membership::Cause;

    use super::super::story::{AGREED, Story};

    /// Two members; the daemon of one delivers a message and loses the other, who is listed or not.
    fn story(is_closing: bool, is_signalled: bool, lists_lost: bool) -> Story {
        let mut story = Story::ring_of(2);
        let (p, q) = (story.client(0, "p"), story.client(1, "q"));
        let members: &[usize] = if lists_lost { &[p, q] } else { &[p] };
        story.joins(p, "g");
        story.view(p, (1, 1), Cause::Join, &[p]);
        story.view(p, (2, 1), Cause::Network, members);
        let message = story.cast(p, "g", AGREED);
        if is_closing {
            story.transitional(0, 3, &[0]);
        }
        story.carry(message, &[0]);
        if is_signalled {
            story.signal(p, (2, 1));
        }
        story.gets(p, message);
        story
    }

    fn found(story: &Story) -> Vec<&'static str> {
        let found = super::super::all(&story.trace).into_iter().map(|violation| violation.property);
        found.filter(|property| ["S6", "G20"].contains(property)).collect()
    }

    #[test]
    fn a_message_with_less_guarantee_follows_the_signal() {
        assert_eq!(found(&story(true, true, true)), [""; 0]);
        assert_eq!(found(&story(true, false, true)), ["S6"]);
        assert_eq!(found(&story(true, false, false)), [""; 0], "nobody was lost");
    }

    #[test]
    fn a_message_with_full_guarantee_precedes_the_signal() {
        assert_eq!(found(&story(false, false, true)), [""; 0]);
        assert_eq!(found(&story(false, true, true)), ["G20"]);
    }
}
