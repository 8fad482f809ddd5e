//! Each check finds what it is there for.

use super::*;
use crate::log::Sent;

fn id(number: u32) -> Id {
    Id { client: 7, life: 0, number }
}

fn message(service: ServiceLevel, number: u32) -> Seen {
    Seen::Message { id: id(number), service, group: ALL.to_owned() }
}

fn agreed(number: u32) -> Seen {
    message(ServiceLevel::Agreed, number)
}

fn view_id(counter: u32) -> GroupId {
    GroupId { leader: 1, time: 1, counter }
}

fn view(counter: u32, members: &[&str]) -> Seen {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let (members, company) = (names(members), names(members));
    Seen::View(Seat { group: ALL.to_owned(), id: view_id(counter), members, company })
}

fn transition() -> Seen {
    Seen::Transition(ALL.to_owned())
}

fn log(member: &str, seen: Vec<Seen>) -> Log {
    Log { member: member.to_owned(), seen, ..Log::default() }
}

fn sent(number: u32, view: u32) -> Sent {
    Sent { id: id(number), group: ALL.to_owned(), to_self: true, view: Some(view_id(view)) }
}

fn sending(mut log: Log, number: u32, view: u32) -> Log {
    log.sent.push(sent(number, view));
    log
}

fn broken(log: Log) -> Log {
    Log { broken: true, ..log }
}

#[test]
fn an_inversion_is_found() {
    let a = log("a", vec![agreed(1), agreed(2), agreed(3)]);
    assert!(one_order(&[a.clone(), log("b", vec![agreed(3), agreed(1)])]).is_err());
    assert_eq!(one_order(&[a.clone(), log("b", vec![agreed(1), agreed(3)])]), Ok(2));
    let reliable = |number| message(ServiceLevel::Reliable, number);
    assert_eq!(one_order(&[a, log("b", vec![reliable(3), reliable(1)])]), Ok(0));
}

#[test]
fn a_hole_between_two_views_is_found() {
    let passage = |between: Vec<Seen>| {
        let seen = [vec![view(1, &["a", "b"])], between, vec![view(2, &["a", "b"])]].concat();
        log("a", seen)
    };
    let whole = passage(vec![agreed(1), transition(), agreed(2)]);
    assert_eq!(same_between_views(&[whole.clone(), whole.clone()]), Ok(1));
    for bad in [vec![agreed(1), transition()], vec![transition(), agreed(1), agreed(2)], vec![]] {
        assert!(same_between_views(&[whole.clone(), passage(bad)]).is_err());
    }
    // Who came another way may have other messages.
    let apart = log("c", vec![view(1, &["a", "b"]), view(2, &["c"])]);
    assert_eq!(same_between_views(&[whole, apart]), Ok(0));
}

#[test]
fn a_duplicate_is_found() {
    assert!(nothing_twice(&[log("a", vec![agreed(1), agreed(2), agreed(1)])]).is_err());
    assert_eq!(nothing_twice(&[log("a", vec![agreed(1), agreed(2)])]), Ok(2));
}

#[test]
fn a_sender_out_of_order_is_found() {
    assert!(sender_order(&[log("a", vec![agreed(2), message(ServiceLevel::Fifo, 1)])]).is_err());
    assert_eq!(sender_order(&[log("a", vec![agreed(2), message(ServiceLevel::Reliable, 1)])]), Ok(0));
    assert_eq!(sender_order(&[log("a", vec![agreed(1), agreed(2)])]), Ok(1));
}

#[test]
fn a_lost_own_message_is_found() {
    let lost = sending(log("a", vec![agreed(1)]), 2, 1);
    assert!(own_messages(&[sending(lost.clone(), 1, 1)]).is_err());
    assert_eq!(own_messages(&[broken(lost)]), Ok(0));
    assert_eq!(own_messages(&[sending(log("a", vec![agreed(1)]), 1, 1)]), Ok(1));
}

#[test]
fn a_safe_message_that_one_lacks_is_found() {
    let both = ["a", "b"];
    let has = log("a", vec![view(1, &both), message(ServiceLevel::Safe, 1)]);
    let lacks = log("b", vec![view(1, &both)]);
    assert!(safe(&[has.clone(), lacks.clone()]).is_err());
    assert!(safe(&[has.clone(), log("b", vec![])]).is_err());
    assert_eq!(safe(&[has.clone(), broken(lacks.clone())]), Ok(1));
    let late = log("a", vec![view(1, &both), transition(), message(ServiceLevel::Safe, 1)]);
    assert_eq!(safe(&[late, lacks.clone()]), Ok(0));
    // The second life of a member was not in the view of its first.
    assert_eq!(safe(&[has, broken(lacks), log("b", vec![view(2, &both)])]), Ok(1));
}

#[test]
fn views_that_differ_are_found() {
    let (a, b) = (log("a", vec![view(1, &["a", "b"])]), log("b", vec![view(1, &["b"])]));
    assert!(same_views(&[a.clone(), b]).is_err());
    assert_eq!(same_views(&[a.clone(), a]), Ok(2));
}

#[test]
fn last_views_that_differ_are_found() {
    let last = |member, counter, members: &[&str]| log(member, vec![view(counter, members)]);
    let good = last("a", 1, &["a", "b"]);
    assert_eq!(last_view(&[good.clone(), last("b", 1, &["a", "b"])], 2), Ok(2));
    assert!(last_view(&[good.clone(), last("b", 2, &["a", "b"])], 2).is_err());
    assert!(last_view(&[good.clone(), last("b", 1, &["b"])], 2).is_err());
    assert!(last_view(&[good.clone(), last("b", 1, &["a", "b"])], 3).is_err());
    assert!(last_view(&[good, log("b", vec![])], 2).is_err());
}

#[test]
fn a_message_lost_in_the_last_view_is_found() {
    let all = ["a", "b"];
    let a = sending(log("a", vec![view(1, &all), view(2, &all), agreed(1)]), 1, 2);
    let b = log("b", vec![view(2, &all)]);
    assert!(nothing_lost(&[a.clone(), b.clone()]).is_err());
    assert_eq!(nothing_lost(&[a.clone(), broken(b.clone())]), Ok(1));
    let half = Sent { group: "half".to_owned(), ..sent(9, 2) };
    assert_eq!(nothing_lost(&[Log { sent: vec![half], ..a.clone() }, b.clone()]), Ok(0));
    let earlier = Log { sent: vec![sent(9, 1)], ..a };
    assert_eq!(nothing_lost(&[earlier, b]), Ok(0));
}

#[test]
fn what_was_never_compared_does_not_count_as_held() {
    assert!(judge(&[], 10).iter().all(|(_, outcome)| !matches!(outcome, Ok(1..))));
}
