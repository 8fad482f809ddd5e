//! Messages are what was sent, once, where they were sent.
//!
//! - E8: what is delivered was originated, with the same content, kind, level and sender.
//! - E9: a process delivers a message at most once.
//! - E10: a message is delivered in the regular configuration it was sent in, or in the
//!   transitional one that closes it, and its sender was a member.
//! - E11: messages are sent only in the current regular configuration, and no place of the
//!   order is given out twice.
//! - E22: the sender of what is delivered is a member of the ring, incarnation included.

use antiphon_proto::delivery::Configuration;
use antiphon_wire::ids::{ProcessId, RingId};

use super::history::{Bits, Delivered, History, MessageId, Run, Step};
use super::{Violation, report};

pub(super) fn check(history: &History<'_>, violations: &mut Vec<Violation>) {
    places(history, violations);
    for (at, run) in history.runs.iter().enumerate() {
        walk(history, at, run, violations);
    }
}

fn places(history: &History<'_>, violations: &mut Vec<Violation>) {
    for ring in &history.rings {
        for pair in ring.messages.windows(2) {
            let (one, other) = (&pair[0], &pair[1]);
            let same_packet = one.stamp.seq == other.stamp.seq;
            if one.stamp.place() == other.stamp.place() || (same_packet && one.sender != other.sender) {
                let (place, id) = (one.stamp.seq, ring.id);
                let text = format!("number {place} of ring {id} was given to two messages or senders");
                report(violations, Violation::new("E11", &[one.sender, other.sender], text));
            }
        }
    }
}

/// Where a process is in its own trace.
#[derive(Default)]
struct Place {
    ring: RingId,
    members: Vec<ProcessId>,
    is_regular: bool,
}

fn walk(history: &History<'_>, at: usize, run: &Run<'_>, violations: &mut Vec<Violation>) {
    let mut place = Place::default();
    let mut seen = vec![Bits::default(); history.rings.len()];
    for (time, step) in &run.steps {
        let found = match step {
            Step::Configured(Configuration::Regular { ring, members, .. }) => {
                place = Place { ring: *ring, members: members.clone(), is_regular: true };
                None
            }
            Step::Configured(Configuration::Transitional { .. }) => {
                place.is_regular = false;
                None
            }
            Step::Sent(id) => sent(history, *id, run, &place),
            Step::Delivered(delivered) => received(history, delivered, run, &place, &mut seen),
            Step::Settled(_) | Step::Table(..) | Step::Accepted(_) | Step::Closed(..) => None,
        };
        if let Some((property, text)) = found {
            report(violations, Violation::new(property, &[at], text).at(*time));
        }
    }
}

fn sent(
    history: &History<'_>,
    id: MessageId,
    run: &Run<'_>,
    place: &Place,
) -> Option<(&'static str, String)> {
    let ring = history.rings[id.ring].id;
    let wrong = !place.is_regular || place.ring != ring;
    wrong.then(|| {
        let text = format!("{} sent {} while not in that ring", run.process, history.describe(id));
        ("E11", text)
    })
}

fn received(
    history: &History<'_>,
    delivered: &Delivered<'_>,
    run: &Run<'_>,
    place: &Place,
    seen: &mut [Bits],
) -> Option<(&'static str, String)> {
    let (process, stamp) = (run.process, delivered.stamp);
    if !place.members.contains(&delivered.sender) {
        let text =
            format!("{process} delivered a message of {}, no member of {}", delivered.sender, place.ring);
        return Some(("E22", text));
    }
    let Some(id) = delivered.id else {
        let text = format!(
            "{process} delivered {:?} message {}/{} in ring {}, which nobody sent in that ring",
            stamp.kind, stamp.seq, stamp.index, place.ring
        );
        return Some((if was_sent_elsewhere(history, delivered) { "E10" } else { "E8" }, text));
    };
    let message = history.message(id);
    let sender = history.runs[message.sender].process;
    if message.stamp != *stamp || sender != delivered.sender {
        let text = format!(
            "{process} delivered {} as {:?} from {}, with another sender or content",
            history.describe(id),
            stamp.kind,
            delivered.sender
        );
        return Some(("E8", text));
    }
    let new = seen[id.ring].insert(id.ordinal);
    (!new).then(|| ("E9", format!("{process} delivered {} twice", history.describe(id))))
}

fn was_sent_elsewhere(history: &History<'_>, delivered: &Delivered<'_>) -> bool {
    let is_same = |stamp: &crate::trace::Stamp| {
        stamp.hash == delivered.stamp.hash && stamp.kind == delivered.stamp.kind
    };
    history.rings.iter().flat_map(|ring| &ring.messages).any(|message| is_same(&message.stamp))
}

#[cfg(test)]
mod tests {
    use super::super::story::{AGREED, Story};

    #[test]
    fn a_message_is_delivered_once_as_it_was_sent() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.deliver_all(&[0, 1], 0, 1, AGREED);
        story.accept();
        story.deliver(1, 0, 1, AGREED);
        story.reject("E9");
    }

    #[test]
    fn nothing_is_created() {
        let mut story = Story::ring_of(2);
        story.deliver(1, 0, 1, AGREED);
        story.reject("E8");
    }

    #[test]
    fn content_and_sender_are_those_of_the_sender() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.deliver(1, 1, 1, AGREED);
        story.reject("E8");
    }

    #[test]
    fn a_number_is_given_out_once() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.send(1, 2, AGREED);
        story.accept();
        story.send(1, 1, AGREED);
        story.reject("E11");
    }

    #[test]
    fn nothing_is_sent_in_a_transitional_configuration() {
        let mut story = Story::ring_of(2);
        story.transitional(0, 2, &[0]);
        story.send(0, 1, AGREED);
        story.reject("E11");
    }

    #[test]
    fn a_message_stays_in_its_ring() {
        let mut story = Story::ring_of(2);
        story.send(0, 1, AGREED);
        story.deliver(0, 0, 1, AGREED);
        for process in [0, 1] {
            story.transitional(process, 3, &[0, 1]);
            story.regular(process, 3, &[0, 1]);
        }
        story.deliver(1, 0, 1, AGREED);
        story.reject("E10");
    }

    #[test]
    fn a_sender_outside_the_ring_is_not_heard() {
        let mut story = Story::ring_of(2);
        let stranger = story.boot(0);
        story.deliver(1, stranger, 1, AGREED);
        story.reject("E22");
    }
}
