//! The judge of the demo: guarantees as predicates over what the clients received.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use antiphon::{Change, Event, GroupId};

use super::stage::Log;

/// One guarantee and whether it held.
#[derive(Debug)]
pub(super) struct Finding {
    guarantee: &'static str,
    /// How often there was something to compare, or what contradicts the guarantee.
    outcome: Result<usize, String>,
}

impl Finding {
    /// A guarantee that nothing put to the test counts as violated: then the demo showed nothing.
    pub(super) fn is_violated(&self) -> bool {
        !matches!(self.outcome, Ok(1..))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(0) => write!(f, "[not tested] {}", self.guarantee),
            Ok(times) => write!(f, "[held] {} ({times} comparisons)", self.guarantee),
            Err(why) => write!(f, "[VIOLATED] {}: {why}", self.guarantee),
        }
    }
}

/// Judges the logs of all connections.
pub(super) fn judge(logs: &[Log]) -> Vec<Finding> {
    vec![
        Finding {
            guarantee: "one order: any two clients receive their common messages in the same order",
            outcome: one_order(logs),
        },
        Finding { guarantee: "nothing twice", outcome: nothing_twice(logs) },
        Finding {
            guarantee: "a client that stays connected receives what it sent",
            outcome: self_delivery(logs),
        },
        Finding { guarantee: "the same view is the same list of members for all", outcome: same_views(logs) },
        Finding {
            guarantee: "clients that go from one view to the next together receive the same messages in between",
            outcome: virtual_synchrony(logs),
        },
    ]
}

fn bodies(events: &[Event]) -> Vec<&[u8]> {
    events
        .iter()
        .filter_map(|event| if let Event::Message(message) = event { Some(&*message.body) } else { None })
        .collect()
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    (1..).zip(all).flat_map(|(next, one)| all.iter().skip(next).map(move |other| (one, other)))
}

fn one_order(logs: &[Log]) -> Result<usize, String> {
    let mut compared = 0;
    for (a, b) in pairs(logs) {
        let (mine, theirs) = (bodies(&a.events), bodies(&b.events));
        let common = |these: &[&[u8]], those: &[&[u8]]| -> Vec<Vec<u8>> {
            these.iter().filter(|body| those.contains(body)).map(|body| body.to_vec()).collect()
        };
        let (mine, theirs) = (common(&mine, &theirs), common(&theirs, &mine));
        if let Some((x, y)) = mine.iter().zip(&theirs).find(|(x, y)| x != y) {
            return Err(format!("{} has \"{}\" where {} has \"{}\"", a.member, text(x), b.member, text(y)));
        }
        compared += mine.len();
    }
    Ok(compared)
}

fn nothing_twice(logs: &[Log]) -> Result<usize, String> {
    let mut compared = 0;
    for log in logs {
        let mut seen = BTreeSet::new();
        for body in bodies(&log.events) {
            if !seen.insert(body) {
                return Err(format!("{} received \"{}\" twice", log.member, text(body)));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

fn self_delivery(logs: &[Log]) -> Result<usize, String> {
    let mut compared = 0;
    for log in logs.iter().filter(|log| !log.cut_off) {
        let received = bodies(&log.events);
        for sent in &log.sent {
            if !received.contains(&sent.as_bytes()) {
                return Err(format!("{} never received its own \"{sent}\"", log.member));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

fn same_views(logs: &[Log]) -> Result<usize, String> {
    let mut known: BTreeMap<GroupId, (&Log, Vec<String>)> = BTreeMap::new();
    let mut compared = 0;
    for log in logs {
        for event in &log.events {
            let Event::View(view) = event else { continue };
            let members: Vec<String> = view.members.iter().map(ToString::to_string).collect();
            match known.get(&view.id) {
                Some((other, theirs)) if *theirs != members => {
                    return Err(format!("{} and {} disagree on a view", log.member, other.member));
                }
                Some(_) => compared += 1,
                None => {
                    known.insert(view.id, (log, members));
                }
            }
        }
    }
    Ok(compared)
}

/// What a client received from one view to the next, if it came into the next with others.
struct Passage {
    from: GroupId,
    to: GroupId,
    together: BTreeSet<String>,
    messages: Vec<Vec<u8>>,
}

fn passages(log: &Log) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut from: Option<(GroupId, BTreeSet<String>)> = None;
    let mut messages = Vec::new();
    for event in &log.events {
        match event {
            Event::Message(message) => messages.push(message.body.to_vec()),
            Event::View(view) => {
                let members: BTreeSet<String> = view.members.iter().map(ToString::to_string).collect();
                let came: BTreeSet<String> = match view.change {
                    Change::Network => view.my_set().iter().map(ToString::to_string).collect(),
                    Change::Join(_) | Change::Leave(_) | Change::Disconnect(_) => members.clone(),
                };
                if let Some((before, old_members)) = from.replace((view.id, members)) {
                    let together = came.intersection(&old_members).cloned().collect();
                    let messages = std::mem::take(&mut messages);
                    passages.push(Passage { from: before, to: view.id, together, messages });
                }
                messages.clear();
            }
            Event::Transition(_) | Event::SelfLeave(_) | Event::Rejected(_) => {}
        }
    }
    passages
}

fn virtual_synchrony(logs: &[Log]) -> Result<usize, String> {
    let all: Vec<(&Log, Vec<Passage>)> = logs.iter().map(|log| (log, passages(log))).collect();
    let mut compared = 0;
    for ((one, mine), (other, theirs)) in pairs(&all) {
        for passage in mine.iter().filter(|passage| passage.together.contains(&other.member)) {
            let is_twin = |twin: &&Passage| (twin.from, twin.to) == (passage.from, passage.to);
            let Some(twin) = theirs.iter().find(is_twin) else { continue };
            if passage.messages != twin.messages {
                let (one, other) = (&one.member, &other.member);
                return Err(format!("{one} and {other} received different messages on the way"));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use antiphon::{MemberName, Message, ServiceLevel};

    use super::*;

    fn message(body: &'static str) -> Event {
        Event::Message(Message {
            sender: MemberName::parse(b"#a#x").expect("legal"),
            service: ServiceLevel::Agreed,
            groups: Vec::new(),
            message_type: 0,
            endian_mismatch: false,
            flags: 0,
            body: body.as_bytes().into(),
        })
    }

    fn log(member: &str, received: &[&'static str], sent: &[&str]) -> Log {
        let events = received.iter().map(|body| message(body)).collect();
        let sent = sent.iter().map(ToString::to_string).collect();
        Log { member: member.to_owned(), events, sent, cut_off: false }
    }

    #[test]
    fn an_inversion_is_found() {
        let logs = [log("a", &["1", "2", "3"], &[]), log("b", &["2", "1"], &[])];
        assert!(one_order(&logs).is_err());
        let logs = [log("a", &["1", "2", "3"], &[]), log("b", &["1", "3"], &[])];
        assert_eq!(one_order(&logs), Ok(2));
    }

    #[test]
    fn a_duplicate_and_a_lost_own_message_are_found() {
        assert!(nothing_twice(&[log("a", &["1", "1"], &[])]).is_err());
        assert!(self_delivery(&[log("a", &["1"], &["2"])]).is_err());
        assert_eq!(self_delivery(&[log("a", &["1", "2"], &["2"])]), Ok(1));
    }

    #[test]
    fn a_guarantee_that_was_not_put_to_the_test_does_not_count_as_held() {
        assert!(judge(&[]).iter().all(Finding::is_violated));
    }
}
