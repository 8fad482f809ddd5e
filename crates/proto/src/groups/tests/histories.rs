//! Random histories: rings break and merge at any point of the stream, and what the clients read
//! is held against the contract.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_wire::client::membership::{Cause, GroupId, View};
use antiphon_wire::names::MemberName;

use super::world::{Client, Seen, World};
use crate::delivery::KeptMessage;

const HOSTS: usize = 5;
const GROUPS: [&str; 4] = ["a", "b", "c", "d"];
const AGREED: u32 = 0x10;

/// What a member of a group has read of it since, and with, its last view.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Since {
    view: Option<GroupId>,
    members: Vec<MemberName>,
    signalled: bool,
    /// Messages, and `!` where the transition stands among them.
    read: Vec<String>,
}

type ViewKey = (String, GroupId);

#[derive(Default)]
struct Checker {
    state: BTreeMap<(MemberName, String), Since>,
    /// What each receiver had read before a view, and the set that it was told.
    arrivals: BTreeMap<ViewKey, Vec<(MemberName, View, Since)>>,
}

impl Checker {
    fn take(&mut self, client: Client, seen: Vec<Seen>) {
        for item in seen {
            match item {
                Seen::View(view) => self.on_view(client.member, view),
                Seen::Transition(group, id) => {
                    let since = self.state.get_mut(&(client.member, group)).expect("a member");
                    assert_eq!(since.view, Some(id), "the signal names the view that ends");
                    assert!(!since.signalled, "G12: two signals before a view");
                    since.signalled = true;
                    since.read.push("!".to_owned());
                }
                Seen::SelfLeave(group) => {
                    assert!(self.state.remove(&(client.member, group)).is_some(), "left without being in");
                }
                Seen::Data(body) => {
                    let (group, _) = body.split_once(' ').expect("bodies begin with the group");
                    let since = self.state.get_mut(&(client.member, group.to_owned()));
                    since.expect("G9: data outside of the membership").read.push(body);
                }
            }
        }
    }

    fn on_view(&mut self, reader: MemberName, view: View) {
        let group = view.group.to_string();
        assert!(view.members.contains(&reader), "G3");
        let before = self.state.remove(&(reader, group.clone())).unwrap_or_default();
        if let Some(last) = before.view {
            assert!((last.time, last.counter) < (view.id.time, view.id.counter), "G2: {last:?} {view:?}");
        }
        check_cause(&reader, &before, &view);
        let since = Since { view: Some(view.id), members: view.members.clone(), ..Since::default() };
        self.state.insert((reader, group.clone()), since);
        self.arrivals.entry((group, view.id)).or_default().push((reader, view, before));
    }

    /// Views with one identity are one view, and who is in one of its sets has read the same.
    fn compare(&self) {
        for arrivals in self.arrivals.values() {
            for (one, view, before) in arrivals {
                for (other, others_view, others_before) in arrivals {
                    // A group may have lived before in the same ring, with the same identities.
                    if !view.members.contains(other) || !others_view.members.contains(one) {
                        continue;
                    }
                    assert_eq!(view.members, others_view.members, "G1");
                    assert_eq!((view.cause, &view.sets), (others_view.cause, &others_view.sets), "G1");
                    if view.cause != Cause::Network || view.sets[view.own_set].members.contains(other) {
                        let both = before.view.is_some() && others_before.view.is_some();
                        assert!(!both || before == others_before, "G10: {one} {other} {view:?}");
                    }
                }
            }
        }
    }
}

fn check_cause(reader: &MemberName, before: &Since, view: &View) {
    let about = view.sets[0].members[0];
    let old: BTreeSet<_> = before.members.iter().copied().collect();
    let new: BTreeSet<_> = view.members.iter().copied().collect();
    match view.cause {
        Cause::Network => {
            assert!(view.sets[view.own_set].members.contains(reader), "G11: own set");
            let in_sets: Vec<_> = view.sets.iter().flat_map(|set| set.members.iter().copied()).collect();
            assert_eq!(in_sets.len(), new.len(), "G11: sets partition the members");
            assert_eq!(in_sets.into_iter().collect::<BTreeSet<_>>(), new, "G11");
        }
        _ => {
            assert!(!before.signalled, "a signal is resolved by a network view");
            if before.view.is_some() {
                let changed: Vec<_> = old.symmetric_difference(&new).copied().collect();
                assert_eq!(changed, [about], "G5: {view:?}");
            }
        }
    }
}

struct Run {
    world: World,
    random: fastrand::Rng,
    checker: Checker,
    clients: Vec<(Client, BTreeSet<&'static str>)>,
    next_name: usize,
    sent: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            world: World::apart(HOSTS),
            random: fastrand::Rng::with_seed(seed),
            checker: Checker::default(),
            clients: Vec::new(),
            next_name: 0,
            sent: 0,
        }
    }

    fn act(&mut self) {
        if self.clients.len() < 12 {
            let host = self.random.usize(..HOSTS);
            let name = format!("n{}", self.next_name);
            self.next_name += 1;
            self.clients.push((self.world.connect(host, &name), BTreeSet::new()));
        }
        let index = self.random.usize(..self.clients.len());
        let group = GROUPS[self.random.usize(..GROUPS.len())];
        let (client, joined) = &mut self.clients[index];
        match self.random.u8(..20) {
            // A name joins a group once at most, so that each life of a group has other members.
            0..9 if joined.insert(group) => self.world.join(*client, group),
            9..12 => self.world.leave(*client, group),
            12 => {
                let (client, _) = self.clients.swap_remove(index);
                self.world.kill(client);
            }
            _ => {
                self.sent += 1;
                self.world.send(*client, AGREED, &[group], &format!("{group} {}", self.sent));
            }
        }
    }

    fn order_and_deliver(&mut self) {
        for _ in 0..self.random.usize(..12) {
            let host = self.random.usize(..HOSTS);
            if self.random.bool() {
                self.world.originate(host);
            } else {
                self.world.deliver(host);
            }
        }
    }

    /// Daemons of one ring that go on together deliver the same: all that one of them has delivered
    /// and some more in the ring, then the rest of what they know, and behind the first gap what is
    /// their own.
    fn close(&mut self, part: &[usize], new: antiphon_wire::ids::RingId) {
        let ring = self.world.hosts[part[0]].ring;
        let log: Vec<KeptMessage> = self.world.rings[ring].log.clone();
        let delivered = part.iter().map(|host| self.world.hosts[*host].cursor).max().expect("members");
        let known = self.random.usize(delivered..=log.len());
        let known = if self.random.bool() { log.len() } else { known };
        let cut = self.random.usize(delivered..=known);
        for host in part {
            while self.world.hosts[*host].cursor < cut {
                self.world.deliver(*host);
            }
        }
        self.world.close(part, new);
        let own: Vec<_> = part.iter().map(|host| self.world.hosts[*host].me).collect();
        for (at, message) in log.iter().enumerate().skip(cut) {
            if at < known || own.contains(&message.sender) {
                self.world.deliver_late(part, message);
            }
        }
    }

    fn regroup(&mut self, rings: &[Vec<usize>]) {
        for members in rings.iter().filter(|members| !members.is_empty()) {
            let new = self.world.propose(members);
            let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for host in members {
                parts.entry(self.world.hosts[*host].ring).or_default().push(*host);
            }
            for part in parts.values() {
                self.close(part, new);
            }
            self.world.install(members, new);
        }
    }

    fn regroup_at_random(&mut self) {
        let rings = self.random.usize(1..=3);
        let mut members = vec![Vec::new(); rings];
        for host in 0..HOSTS {
            members[self.random.usize(..rings)].push(host);
        }
        self.regroup(&members);
    }

    fn read(&mut self) {
        for (client, _) in &self.clients {
            self.checker.take(*client, self.world.read(*client));
        }
    }

    fn check_tables(&self) {
        for host in 0..HOSTS {
            assert!(self.world.hosts[host].groups.is_settled());
            assert_eq!(self.world.hosts[host].stats.groups_messages_rejected, 0);
            assert_eq!(self.world.table(host), self.world.table(0), "G16");
        }
        for (name, id, marked, members) in self.world.table(0) {
            assert!(!marked, "{name}");
            for member in members {
                let since = self.checker.state.get(&(member, name.to_string()));
                if let Some(since) = since.filter(|_| self.is_open(member)) {
                    assert_eq!(since.view, Some(id), "{member} of {name} saw the last view");
                    assert!(!since.signalled, "{member} of {name} was told how the loss ended");
                }
                assert!(self.is_open(member), "G19: {member} in {name}");
            }
        }
    }

    fn is_open(&self, member: MemberName) -> bool {
        self.clients.iter().any(|(client, _)| client.member == member)
    }
}

fn history(seed: u64) {
    let mut run = Run::new(seed);
    let steps = run.random.usize(20..120);
    for _ in 0..steps {
        run.act();
        run.order_and_deliver();
        if run.random.u8(..10) == 0 {
            run.regroup_at_random();
        }
        if run.random.u8(..4) == 0 {
            run.world.run();
        }
        run.read();
    }
    run.regroup(&[(0..HOSTS).collect()]);
    run.world.run();
    run.read();
    run.check_tables();
    run.checker.compare();
}

#[test]
fn random_histories_keep_the_contract() {
    for seed in 0..1500 {
        let outcome = std::panic::catch_unwind(|| history(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
