//! Faults planted into a good log: the checks must find each of them.

use antiphon::{Cause, GroupId, GroupName, MemberName, ServiceLevel, Transition, View};

use super::check::check;
use super::client::{EVERYBODY, Id, Seen, Sent, Session};

fn member(name: &str) -> MemberName {
    MemberName::parse(name.as_bytes()).expect("legal")
}

fn view(counter: u32, cause: Cause, me: usize) -> Seen {
    let members = vec![member("#a#d1"), member("#b#d2")];
    let vs_sets = if cause == Cause::Network { vec![members.clone()] } else { vec![vec![members[1]]] };
    let id = GroupId { leader: 1, time: counter, counter };
    let group = GroupName::new(EVERYBODY.as_bytes()).expect("legal");
    Seen::View(View { group, id, cause, members, my_index: Some(me), vs_sets, my_vs_set: 0 })
}

fn message(number: u32, service: ServiceLevel) -> Seen {
    let id = Id { sender: member("#a#d1"), number };
    Seen::Message { id, service, groups: vec![EVERYBODY.to_owned()] }
}

fn transition() -> Seen {
    let group = GroupName::new(EVERYBODY.as_bytes()).expect("legal");
    Seen::Transition(Transition { group, id: GroupId { leader: 1, time: 1, counter: 1 } })
}

/// Two members see two views with four messages of the first member in between.
fn good() -> [Session; 2] {
    [0, 1].map(|me| {
        let seen = vec![
            view(1, Cause::Join, me),
            message(0, ServiceLevel::Agreed),
            message(1, ServiceLevel::Safe),
            transition(),
            message(2, ServiceLevel::Fifo),
            message(3, ServiceLevel::Safe),
            view(2, Cause::Network, me),
        ];
        let own = |number| {
            let id = Id { sender: member("#a#d1"), number };
            Sent { id, service: ServiceLevel::Agreed, to_self: true }
        };
        let sent = if me == 0 { (0..4).map(own).collect() } else { Vec::new() };
        Session { member: member(["#a#d1", "#b#d2"][me]), sent, seen, broken: false }
    })
}

fn finds(what: &str, plant: impl FnOnce(&mut [Session; 2])) {
    let mut sessions = good();
    plant(&mut sessions);
    let found = std::panic::catch_unwind(|| check(&sessions)).expect_err("a fault is found");
    let text = found.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains(what), "expected {what:?}, found {text:?}");
}

#[test]
fn a_good_log_passes() {
    check(&good());
}

#[test]
fn planted_faults_are_found() {
    finds("twice", |sessions| sessions[1].seen.insert(2, message(0, ServiceLevel::Agreed)));
    finds("after Some(1)", |sessions| sessions[1].seen.swap(1, 2));
    finds("nobody sent", |sessions| sessions[0].sent.truncate(3));
    finds("did not get its own", |sessions| drop(sessions[0].seen.remove(5)));
    finds("only one of them got", |sessions| drop(sessions[1].seen.remove(4)));
    finds("only one of them got", |sessions| sessions[1].seen.swap(2, 3));
    finds("transition of", |sessions| drop(sessions[1].seen.remove(3)));
    finds("ends no view", |sessions| sessions[1].seen.swap(0, 3));
    finds("the last view", |sessions| {
        if let Some(Seen::View(view)) = sessions[0].seen.last_mut() {
            view.id.time += 1;
            view.members.truncate(1);
            view.vs_sets[0].truncate(1);
        }
    });
}

#[test]
fn a_safe_message_that_is_lost_is_found() {
    finds("never", |sessions| {
        sessions[1].seen.truncate(1);
        sessions[1].seen.push(view(3, Cause::Join, 1));
    });
}

#[test]
fn orders_that_contradict_each_other_are_found() {
    finds("in no common order", |sessions| {
        let other = Id { sender: member("#b#d2"), number: 0 };
        let groups = vec![EVERYBODY.to_owned()];
        sessions[1].sent.push(Sent { id: other, service: ServiceLevel::Agreed, to_self: true });
        let theirs = Seen::Message { id: other, service: ServiceLevel::Agreed, groups };
        sessions[0].seen.insert(1, theirs.clone());
        sessions[1].seen.insert(2, theirs);
    });
}

#[test]
fn views_of_one_id_that_differ_are_found() {
    finds(" has View", |sessions| {
        if let Some(Seen::View(view)) = sessions[1].seen.first_mut() {
            view.members.push(member("#c#d2"));
        }
    });
}
