//! What must hold for the logs of all sessions (the rules of extended virtual synchrony, as clients
//! see them). Each check panics with what is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use antiphon::{Cause, GroupId, MemberName, ServiceLevel, View};

use super::client::{EVERYBODY, Id, Seen, Session};

/// A node of the common order: a message, or a view of a group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Node {
    Message(Id),
    View(String, [u32; 3]),
}

/// Checks everything; returns a line of figures.
pub(crate) fn check(sessions: &[Session]) -> String {
    for session in sessions {
        no_duplicates(session);
        fifo(session);
        transitions(session);
        if !session.broken {
            self_delivery(session);
        }
    }
    no_inventions(sessions);
    view_identity(sessions);
    one_order(sessions);
    let together = virtual_synchrony(sessions);
    let safe = safe_delivery(sessions);
    convergence(sessions);
    let delivered: usize = sessions.iter().map(|session| messages(session).count()).sum();
    let sent: usize = sessions.iter().map(|session| session.sent.len()).sum();
    let count = sessions.len();
    format!(
        "{count} sessions, {sent} sent, {delivered} delivered, {together} common intervals, {safe} safe deliveries"
    )
}

fn messages(session: &Session) -> impl Iterator<Item = (Id, ServiceLevel, &[String])> {
    session.seen.iter().filter_map(|seen| match seen {
        Seen::Message { id, service, groups } => Some((*id, *service, groups.as_slice())),
        _ => None,
    })
}

fn key(id: GroupId) -> [u32; 3] {
    [id.leader, id.time, id.counter]
}

fn no_duplicates(session: &Session) {
    let mut seen = HashSet::new();
    for (id, ..) in messages(session) {
        assert!(seen.insert(id), "{} got {id:?} twice", session.member);
    }
}

fn no_inventions(sessions: &[Session]) {
    let sent: HashSet<Id> = sessions.iter().flat_map(|session| &session.sent).map(|sent| sent.id).collect();
    for session in sessions {
        for (id, ..) in messages(session) {
            assert!(sent.contains(&id), "{} got {id:?}, which nobody sent", session.member);
        }
    }
}

/// Ordered messages of one sender come in the order in which it sent them.
fn fifo(session: &Session) {
    let mut last = HashMap::new();
    for (id, service, _) in messages(session).filter(|(_, service, _)| service.is_ordered()) {
        let before = last.insert(id.sender, id.number);
        assert!(before < Some(id.number), "{} got {id:?} ({service:?}) after {before:?}", session.member);
    }
}

/// A transition names the view that it ends, and only the network causes the next one.
fn transitions(session: &Session) {
    let mut views: BTreeMap<String, (GroupId, bool)> = BTreeMap::new();
    for seen in &session.seen {
        match seen {
            Seen::Transition(transition) => {
                let view = views.get_mut(&transition.group.to_string());
                let (id, ended) =
                    view.unwrap_or_else(|| panic!("{}: {transition:?} ends no view", session.member));
                assert_eq!((*id, *ended), (transition.id, false), "{}", session.member);
                *ended = true;
            }
            Seen::View(view) => {
                let before = views.insert(view.group.to_string(), (view.id, false));
                let in_transition = before.is_some_and(|(_, ended)| ended);
                let who = session.member;
                assert!(
                    !in_transition || view.cause == Cause::Network,
                    "{who}: a transition led to {view:?}"
                );
                assert!(view.my_index.is_some(), "{who} is not in its own view {view:?}");
                assert!(
                    view.cause != Cause::Network || view.vs_sets[view.my_vs_set].contains(&who),
                    "{who}: {view:?}"
                );
            }
            Seen::SelfLeave(group) => drop(views.remove(group)),
            Seen::Message { .. } => {}
        }
    }
}

/// Nothing of one's own is lost, but for unreliable messages when the membership changes.
fn self_delivery(session: &Session) {
    let seen: HashSet<Id> = messages(session).map(|(id, ..)| id).collect();
    for sent in session.sent.iter().filter(|sent| sent.to_self && sent.service != ServiceLevel::Unreliable) {
        assert!(
            seen.contains(&sent.id),
            "{} did not get its own {sent:?}; {}",
            session.member,
            around(session, sent.id)
        );
    }
}

/// What a session got around the place where a message of its own should be.
fn around(session: &Session, id: Id) -> String {
    let later = |seen: &Seen| matches!(seen, Seen::Message { id: other, .. } if other.sender == id.sender && other.number > id.number);
    let at = session.seen.iter().position(later).unwrap_or(session.seen.len());
    let near = &session.seen[at.saturating_sub(15)..session.seen.len().min(at + 5)];
    near.iter().map(|seen| format!("\n    {seen:?}")).collect()
}

/// Who installs a view installs the same as all others.
fn view_identity(sessions: &[Session]) {
    let mut known: BTreeMap<(String, [u32; 3]), (&View, MemberName)> = BTreeMap::new();
    for session in sessions {
        for view in session.seen.iter().filter_map(as_view) {
            let (first, who) =
                known.entry((view.group.to_string(), key(view.id))).or_insert((view, session.member));
            let same =
                (first.cause, &first.members, &first.vs_sets) == (view.cause, &view.members, &view.vs_sets);
            assert!(same, "{who} has {first:?} and {} has {view:?}", session.member);
        }
    }
}

fn as_view(seen: &Seen) -> Option<&View> {
    match seen {
        Seen::View(view) => Some(view),
        _ => None,
    }
}

/// All orders of ordered messages and views can be made into one: their union has no circle.
fn one_order(sessions: &[Session]) {
    let mut next: HashMap<Node, HashSet<Node>> = HashMap::new();
    for session in sessions {
        let order: Vec<Node> = session.seen.iter().filter_map(node).collect();
        for pair in order.windows(2) {
            next.entry(pair[0].clone()).or_default().insert(pair[1].clone());
        }
        for node in order {
            next.entry(node).or_default();
        }
    }
    let mut before: HashMap<&Node, usize> = next.keys().map(|node| (node, 0)).collect();
    for node in next.values().flatten() {
        *before.entry(node).or_default() += 1;
    }
    let mut ready: Vec<&Node> =
        before.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut left = before.len();
    while let Some(node) = ready.pop() {
        left -= 1;
        for after in &next[node] {
            let count = before.entry(after).or_default();
            *count -= 1;
            if *count == 0 {
                ready.push(after);
            }
        }
    }
    if left > 0 {
        let circle: BTreeSet<&Node> =
            before.iter().filter(|(_, count)| **count > 0).map(|(node, _)| *node).collect();
        let some: Vec<&&Node> = circle.iter().take(20).collect();
        panic!("{left} messages and views are in no common order, among them {some:?}");
    }
}

fn node(seen: &Seen) -> Option<Node> {
    match seen {
        Seen::Message { id, service, .. } if service.is_ordered() => Some(Node::Message(*id)),
        Seen::View(view) => Some(Node::View(view.group.to_string(), key(view.id))),
        _ => None,
    }
}

/// What a session got in a view of a group.
struct Interval<'a> {
    view: &'a View,
    next: &'a View,
    /// Before the transition.
    regular: BTreeSet<Id>,
    /// After it; none when there was none.
    transitional: Option<BTreeSet<Id>>,
}

/// Members that go together from one view to the next got the same messages in between, on the same
/// side of the transition. Returns how many intervals were compared with another.
fn virtual_synchrony(sessions: &[Session]) -> usize {
    let mut compared = 0;
    let mut first: BTreeMap<_, (MemberName, Interval<'_>)> = BTreeMap::new();
    for session in sessions {
        for interval in intervals(session) {
            let set = interval.next.vs_sets.get(interval.next.my_vs_set).cloned().unwrap_or_default();
            let company = if interval.next.cause == Cause::Network { set } else { Vec::new() };
            let place =
                (interval.view.group.to_string(), key(interval.view.id), key(interval.next.id), company);
            let Some((other, same)) = first.get(&place) else {
                first.insert(place, (session.member, interval));
                continue;
            };
            compared += 1;
            let (group, me) = (&place.0, session.member);
            assert_eq!(
                same.transitional.is_some(),
                interval.transitional.is_some(),
                "{other} and {me}: transition of {place:?}"
            );
            agree(
                &same.regular,
                &interval.regular,
                &format!("{other} and {me} before the end of {group} {:?}", place.1),
            );
            if let (Some(a), Some(b)) = (&same.transitional, &interval.transitional) {
                agree(a, b, &format!("{other} and {me} after the transition of {group} {:?}", place.1));
            }
        }
    }
    compared
}

fn agree(a: &BTreeSet<Id>, b: &BTreeSet<Id>, what: &str) {
    let different: Vec<&Id> = a.symmetric_difference(b).take(5).collect();
    assert!(different.is_empty(), "{what}: only one of them got {different:?}");
}

fn intervals(session: &Session) -> Vec<Interval<'_>> {
    struct Open<'a>(&'a View, BTreeSet<Id>, Option<BTreeSet<Id>>);
    let mut open: BTreeMap<String, Open<'_>> = BTreeMap::new();
    let mut intervals = Vec::new();
    for seen in &session.seen {
        match seen {
            Seen::Message { id, service, groups } if service.is_ordered() => {
                for group in groups {
                    if let Some(Open(_, regular, transitional)) = open.get_mut(group) {
                        transitional.as_mut().unwrap_or(regular).insert(*id);
                    }
                }
            }
            Seen::Message { .. } => {}
            Seen::View(view) => {
                let new = Open(view, BTreeSet::new(), None);
                if let Some(Open(before, regular, transitional)) = open.insert(view.group.to_string(), new) {
                    intervals.push(Interval { view: before, next: view, regular, transitional });
                }
            }
            Seen::Transition(transition) => {
                if let Some(Open(_, _, transitional)) = open.get_mut(&transition.group.to_string()) {
                    *transitional = Some(BTreeSet::new());
                }
            }
            Seen::SelfLeave(group) => drop(open.remove(group)),
        }
    }
    intervals
}

/// A safe message that is delivered in a view, before its transition, reaches all its members but
/// those whose connection broke. Returns how many deliveries were followed up.
fn safe_delivery(sessions: &[Session]) -> usize {
    let got: BTreeMap<MemberName, (bool, HashSet<Id>)> = sessions
        .iter()
        .map(|session| (session.member, (session.broken, messages(session).map(|(id, ..)| id).collect())))
        .collect();
    let mut followed = 0;
    for session in sessions {
        let mut views: BTreeMap<String, &View> = BTreeMap::new();
        for seen in &session.seen {
            match seen {
                Seen::Message { id, service: ServiceLevel::Safe, groups } => {
                    for view in groups.iter().filter_map(|group| views.get(group)) {
                        followed += 1;
                        all_have(*id, view, session.member, &got);
                    }
                }
                Seen::Message { .. } => {}
                Seen::View(view) => drop(views.insert(view.group.to_string(), view)),
                Seen::Transition(transition) => drop(views.remove(&transition.group.to_string())),
                Seen::SelfLeave(group) => drop(views.remove(group)),
            }
        }
    }
    followed
}

fn all_have(id: Id, view: &View, who: MemberName, got: &BTreeMap<MemberName, (bool, HashSet<Id>)>) {
    for member in &view.members {
        let Some((broken, messages)) = got.get(member) else { panic!("{member} in {view:?} is no client") };
        assert!(*broken || messages.contains(&id), "{who} got safe {id:?} in {view:?}, {member} never");
    }
}

/// In the end all living sessions are in one view.
fn convergence(sessions: &[Session]) {
    let living: BTreeSet<MemberName> =
        sessions.iter().filter(|session| !session.broken).map(|session| session.member).collect();
    let mut ids = BTreeSet::new();
    for session in sessions.iter().filter(|session| !session.broken) {
        let mut views = session.seen.iter().filter_map(as_view);
        let last = views.rfind(|view| view.group.to_string() == EVERYBODY).expect("a view");
        let members: BTreeSet<MemberName> = last.members.iter().copied().collect();
        assert_eq!(members, living, "the last view of {}", session.member);
        ids.insert(key(last.id));
    }
    assert_eq!(ids.len(), 1, "all living sessions are in one view");
}
