//! Ten thousand groups with a thousand members each. What is quadratic in either would not end in the
//! time that anyone waits for a test.

use super::super::table::MAX_GROUPS_OF_A_MEMBER;
use super::world::{Seen, World, group};
use antiphon_wire::client::membership::{Cause, GroupId};
use antiphon_wire::names::MemberName;

const GROUPS: usize = 10_000;
const MEMBERS: usize = 1000;

/// Fills the table of a daemon with its own sessions.
fn fill(world: &mut World, host: usize, members: usize) {
    let mut names: Vec<MemberName> =
        (0..members).map(|number| world.connect_with(host, &format!("m{number}"), false).member).collect();
    names.sort();
    let host = &mut world.hosts[host];
    let (table, sessions) = (&mut host.groups.table, &host.sessions);
    let members: Vec<_> =
        names.iter().map(|name| table.member_or_insert(name, host.me, || sessions.receiver(name))).collect();
    for number in 0..GROUPS {
        let id = GroupId { leader: 7, time: 8, counter: number as u32 % 3000 };
        let group = table.group_or_insert(&group(&format!("group-{number:05}")), id);
        members.iter().enumerate().for_each(|(place, member)| table.enter(group, *member, place));
    }
}

#[test]
fn the_exchange_stays_small() {
    let mut world = World::apart(2);
    fill(&mut world, 0, MEMBERS / 2);
    fill(&mut world, 1, MEMBERS / 2);
    world.regroup(&[&[0, 1]]);
    let waiting: usize = (0..2).map(|host| world.hosts[host].queue.bytes()).sum();
    assert!(waiting < 2_000_000, "{waiting} bytes of reports");
    world.run();
    for host in 0..2 {
        let table = &world.hosts[host].groups.table;
        let all = table.groups().map(|group| table.group(group));
        assert_eq!(all.filter(|group| group.members().len() == MEMBERS && !group.marked).count(), GROUPS);
    }
    let watcher = world.connect(1, "watcher");
    world.join(watcher, "group-00007");
    world.run();
    let told = world.read(watcher);
    let [Seen::View(view)] = told.as_slice() else { panic!("one view, not {told:?}") };
    assert_eq!((view.cause, view.members.len(), view.id.counter), (Cause::Join, MEMBERS + 1, 8));
}

#[test]
fn the_end_of_a_session_in_all_groups_touches_each_once() {
    let mut world = World::apart(1);
    fill(&mut world, 0, MEMBERS);
    let client = world.connect_with(0, "zz", false);
    for number in 0..GROUPS {
        world.join(client, &format!("group-{number:05}"));
    }
    world.run();
    assert!(
        !world.hosts[0].sessions.is_budget_half_spent(),
        "the joins are a quarter of what may be handed up at once"
    );
    world.kill(client);
    world.run();
    assert!(
        world.hosts[0].sessions.is_budget_half_spent(),
        "with what ends they are half of it, though nobody is told"
    );
    assert!(world.table(0).iter().all(|(_, _, _, members)| members.len() == MEMBERS));
}

#[test]
fn a_session_in_too_many_groups_is_closed_everywhere_alike() {
    let mut world = World::together(2);
    let greedy = world.connect_with(0, "greedy", false);
    for number in 0..MAX_GROUPS_OF_A_MEMBER {
        world.join(greedy, &format!("group-{number}"));
    }
    world.join(greedy, "group-0");
    world.run();
    assert_eq!(world.table(1).len(), MAX_GROUPS_OF_A_MEMBER, "none too many, and one twice");
    assert_eq!(world.hosts[0].stats.sessions_errored, 0);
    world.join(greedy, "one more");
    world.run();
    assert_eq!(world.hosts[0].stats.sessions_errored, 1);
    assert!((0..2).all(|host| world.table(host).is_empty()), "it has left all of them");
}

#[test]
fn who_joins_when_all_of_its_daemon_are_in_too_many_groups_is_closed() {
    for (max_groups, max_memberships, is_closed) in [(2, 9, true), (3, 9, false), (3, 3, true), (3, 4, false)]
    {
        let mut world = World::together(2);
        let limits = &mut world.hosts[0].config.sessions;
        (limits.max_groups, limits.max_memberships) = (max_groups, max_memberships);
        let (first, second) = (world.connect_with(0, "first", false), world.connect_with(0, "second", false));
        let elsewhere = world.connect_with(1, "elsewhere", false);
        ["a", "b", "c", "d", "e"].iter().for_each(|group| world.join(elsewhere, group));
        // Those that were left count no more.
        world.join(first, "d");
        world.leave(first, "d");
        world.run();
        ["a", "b"].iter().for_each(|group| world.join(first, group));
        ["b", "c"].iter().for_each(|group| world.join(second, group));
        world.run();
        let errored = u64::from(is_closed);
        let case = format!("{max_groups} groups, {max_memberships} memberships");
        assert_eq!(world.hosts[0].stats.sessions_errored, errored, "{case}");
        let members = |group: &str| {
            let table = world.table(1);
            table.into_iter().find(|(name, ..)| *name == group).map(|(.., members)| members.len())
        };
        assert_eq!(members("c"), Some(2 - errored as usize), "{case}");
    }
}
