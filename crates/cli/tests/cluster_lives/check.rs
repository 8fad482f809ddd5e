//! Guarantees as functions of the logs: how often there was something to compare, or what is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use antiphon::{GroupId, ServiceLevel};

use super::client::ALL;
use super::log::{Id, Log, Seat, Seen};

type Outcome = Result<usize, String>;

/// Judges the logs of all connections. What was never compared was not tested.
pub(crate) fn judge(logs: &[Log], clients: usize) -> Vec<(&'static str, Outcome)> {
    vec![
        ("one order", one_order(logs)),
        ("same messages between the same views", same_between_views(logs)),
        ("nothing twice", nothing_twice(logs)),
        ("order of each sender", sender_order(logs)),
        ("own messages", own_messages(logs)),
        ("safe is safe", safe(logs)),
        ("same views", same_views(logs)),
        ("one last view", last_view(logs, clients)),
        ("nothing lost in the last view", nothing_lost(logs)),
    ]
}

fn living(logs: &[Log]) -> impl Iterator<Item = &Log> {
    logs.iter().filter(|log| !log.broken)
}

/// Any two receivers get the ordered messages that both get in the same order.
fn one_order(logs: &[Log]) -> Outcome {
    let mut compared = 0;
    for (at, log) in logs.iter().enumerate() {
        let places: HashMap<Id, usize> = log.ordered().zip(0..).collect();
        for other in &logs[at + 1..] {
            let common: Vec<(usize, Id)> =
                other.ordered().filter_map(|id| Some((*places.get(&id)?, id))).collect();
            if let Some(pair) = common.windows(2).find(|pair| pair[0].0 > pair[1].0) {
                let (first, second) = (pair[0].1, pair[1].1);
                return Err(format!("{}: {second:?}, {first:?}; {}: reversed", log.member, other.member));
            }
            compared += common.len();
        }
    }
    Ok(compared)
}

/// What was received in a view, before and after the transition if there was one.
type Between = Vec<BTreeSet<Id>>;

fn passages(log: &Log) -> Vec<(&Seat, &Seat, Between)> {
    let mut open: BTreeMap<&str, (&Seat, Between)> = BTreeMap::new();
    let mut passages = Vec::new();
    for seen in &log.seen {
        match seen {
            Seen::Message { id, service, group } if service.is_ordered() => {
                if let Some(part) = open.get_mut(group.as_str()).and_then(|(_, parts)| parts.last_mut()) {
                    part.insert(*id);
                }
            }
            Seen::Message { .. } => {}
            Seen::Transition(group) => {
                if let Some((_, parts)) = open.get_mut(group.as_str()) {
                    parts.push(BTreeSet::new());
                }
            }
            Seen::View(next) => {
                let new = (next, vec![BTreeSet::new()]);
                if let Some((view, parts)) = open.insert(&next.group, new) {
                    passages.push((view, next, parts));
                }
            }
        }
    }
    passages
}

/// From which view of a group to which, and in which company.
type Way<'a> = (&'a str, GroupId, GroupId, &'a [String]);

/// Members that go from one view to the next together get the same ordered messages in between.
fn same_between_views(logs: &[Log]) -> Outcome {
    let mut known: HashMap<Way<'_>, (&str, Between)> = HashMap::new();
    let mut compared = 0;
    for log in logs {
        for (view, next, parts) in passages(log) {
            let key = (view.group.as_str(), view.id, next.id, next.company.as_slice());
            match known.get(&key) {
                Some((other, theirs)) if *theirs != parts => {
                    let (mine, theirs) = (flat(&parts), flat(theirs));
                    let only: Vec<_> = mine.iter().filter(|id| !theirs.contains(id)).take(5).collect();
                    let lacks: Vec<_> = theirs.iter().filter(|id| !mine.contains(id)).take(5).collect();
                    return Err(format!(
                        "{key:?}: against {other}, {} has more {only:?} and lacks {lacks:?} (part, message)",
                        log.member
                    ));
                }
                Some(_) => compared += 1,
                None => drop(known.insert(key, (&log.member, parts))),
            }
        }
    }
    Ok(compared)
}

/// The parts of a view in one list, for reports.
fn flat(parts: &Between) -> Vec<(usize, Id)> {
    parts.iter().zip(0..).flat_map(|(part, at)| part.iter().map(move |id| (at, *id))).collect()
}

fn nothing_twice(logs: &[Log]) -> Outcome {
    let mut compared = 0;
    for log in logs {
        let mut seen = HashSet::new();
        if let Some((id, ..)) = log.messages().find(|(id, ..)| !seen.insert(*id)) {
            return Err(format!("{} received {id:?} twice", log.member));
        }
        compared += seen.len();
    }
    Ok(compared)
}

/// Ordered messages come in the order in which their sender sent them.
fn sender_order(logs: &[Log]) -> Outcome {
    let mut compared = 0;
    for log in logs {
        let mut last: HashMap<(u32, u32), u32> = HashMap::new();
        for id in log.ordered() {
            let before = last.insert((id.client, id.life), id.number);
            if before >= Some(id.number) {
                return Err(format!("{} received {id:?} after {before:?}", log.member));
            }
            compared += usize::from(before.is_some());
        }
    }
    Ok(compared)
}

/// Whose connection lives on receives what it sent to its groups.
fn own_messages(logs: &[Log]) -> Outcome {
    let mut compared = 0;
    for log in living(logs) {
        let seen: HashSet<Id> = log.messages().map(|(id, ..)| id).collect();
        for sent in log.sent.iter().filter(|sent| sent.to_self) {
            if !seen.contains(&sent.id) {
                return Err(format!("{} never received its own {sent:?}", log.member));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// A safe message received in a view before its transition reaches all members whose connections live
/// on. Of several lives of a member, it is in the view whichever got it.
fn safe(logs: &[Log]) -> Outcome {
    let lives = |member: &str| logs.iter().filter(|log| log.member == member).count();
    let others: Vec<(&Log, HashSet<Id>, bool)> = living(logs)
        .map(|log| (log, log.messages().map(|(id, ..)| id).collect(), lives(&log.member) == 1))
        .collect();
    let mut compared = 0;
    for log in logs {
        let mut view: BTreeMap<&str, &Seat> = BTreeMap::new();
        for seen in &log.seen {
            match seen {
                Seen::View(next) => drop(view.insert(&next.group, next)),
                Seen::Transition(group) => drop(view.remove(group.as_str())),
                Seen::Message { id, service: ServiceLevel::Safe, group } => {
                    let Some(view) = view.get(group.as_str()) else { continue };
                    for (other, received, only_life) in &others {
                        let in_view = view.members.contains(&other.member)
                            && (*only_life || other.views(group).any(|theirs| theirs.id == view.id));
                        if in_view && !received.contains(id) {
                            let (a, b) = (&log.member, &other.member);
                            return Err(format!("{a} received safe {id:?} in {:?}, {b} never", view.id));
                        }
                        compared += usize::from(in_view);
                    }
                }
                Seen::Message { .. } => {}
            }
        }
    }
    Ok(compared)
}

/// The same view is the same list of members for all.
fn same_views(logs: &[Log]) -> Outcome {
    let mut known: HashMap<(&str, GroupId), (&str, &[String])> = HashMap::new();
    let mut compared = 0;
    for log in logs {
        for seen in &log.seen {
            let Seen::View(view) = seen else { continue };
            let (other, members) =
                known.entry((&view.group, view.id)).or_insert((&log.member, &view.members));
            if *members != view.members {
                return Err(format!("{other} has {members:?}, {} has {view:?}", log.member));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// All connections that live on are in one last view, with all clients.
fn last_view(logs: &[Log], clients: usize) -> Outcome {
    let alive: BTreeSet<&String> = living(logs).map(|log| &log.member).collect();
    let mut first: Option<&Seat> = None;
    for log in living(logs) {
        let last = log.views(ALL).next_back().ok_or_else(|| format!("{} has no view", log.member))?;
        let members: BTreeSet<&String> = last.members.iter().collect();
        if members != alive || members.len() != clients {
            return Err(format!("{}: {last:?}, alive {alive:?}", log.member));
        }
        if first.get_or_insert(last).id != last.id {
            return Err(format!("{}: {last:?}, others {first:?}", log.member));
        }
    }
    Ok(alive.len())
}

/// What is sent to all in the last view is received by all.
fn nothing_lost(logs: &[Log]) -> Outcome {
    let last = living(logs).find_map(|log| log.views(ALL).next_back()).map(|view| view.id);
    let sent: Vec<Id> = living(logs)
        .flat_map(|log| &log.sent)
        .filter(|sent| last.is_some() && sent.group == ALL && sent.view == last)
        .map(|sent| sent.id)
        .collect();
    for log in living(logs) {
        let seen: HashSet<Id> = log.messages().map(|(id, ..)| id).collect();
        if let Some(id) = sent.iter().find(|id| !seen.contains(id)) {
            return Err(format!("{} never received {id:?}, sent in the last view", log.member));
        }
    }
    Ok(sent.len())
}

#[path = "bad_logs.rs"]
mod bad_logs;
