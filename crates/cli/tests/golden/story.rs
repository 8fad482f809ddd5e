//! 90–99: one story of three daemons. What happened between the recorded parts is told here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use antiphon::{GroupId, MemberName};
use antiphon_wire::client::frame::{FrameLimits, FrameReader};
use antiphon_wire::client::membership::{Cause, Membership, View};
use bytes::Bytes;

use super::support::cluster::{Cluster, Layout};
use super::support::golden::{Exchange, Line, Step};
use super::support::raw::{ANSWER_LIMIT, Raw, message};
use super::support::replay::Replay;
use super::{JOIN, Outcome, Verdict};

const ZETA: usize = 0;
const ALPHA: usize = 1;
const MID: usize = 2;
const EVERYWHERE: [usize; 3] = [ZETA, ALPHA, MID];
/// The connections that are members of `grp` in the end.
const CLIENTS: [&str; 6] = ["A", "A2", "Z", "D", "M", "B"];
const REG_MEMB: u32 = 0x1000;

/// A connection and what was read from it.
type Stream = (&'static str, Vec<Vec<u8>>);

/// Tells the story up to the first difference.
pub(crate) fn tell() -> Vec<(String, Outcome)> {
    let hosts = [("zeta", 3), ("alpha", 2), ("mid", 4)];
    let cluster = RefCell::new(Cluster::new(Layout::OwnSegments, &hosts, ""));
    for host in EVERYWHERE {
        cluster.borrow_mut().launch(host);
    }
    cluster.borrow().settle(&EVERYWHERE);
    let open = |connection: &str| {
        cluster.borrow().raw(match connection {
            "A" | "A2" => ALPHA,
            "Z" | "D" => ZETA,
            _ => MID,
        })
    };
    let mut story = Story { replay: Replay::new(open), told: Vec::new() };
    let end = story.tell(&cluster);
    let mut told = story.told;
    told.extend(end.err());
    told
}

/// A replay that goes through several files.
struct Story<'a> {
    replay: Replay<'a>,
    told: Vec<(String, Outcome)>,
}

impl Story<'_> {
    fn tell(&mut self, cluster: &RefCell<Cluster>) -> Result<(), (String, Outcome)> {
        self.part("90")?;
        self.part("91")?;
        self.join("A", "#amy#alpha", "onlyalpha", &["A"]);
        self.join("A", "#amy#alpha", "midalpha", &["A"]);
        self.join("M", "#max#mid", "midalpha", &["A", "M"]);
        cluster.borrow_mut().kill(MID);
        self.part("92")?;
        cluster.borrow_mut().launch(MID);
        self.replay.close("M");
        cluster.borrow().settle(&EVERYWHERE);
        self.part("93")?;
        self.join("M", "#max#mid", "midalpha", &["A", "M"]);
        cluster.borrow().partition(&[&[ZETA, ALPHA], &[MID]]);
        self.part("94")?;
        self.part("95")?;
        cluster.borrow().heal();
        self.part("96")?;
        self.merge_of_three(&cluster.borrow())?;
        // It stays, as it did when the rest was recorded, and reads nothing.
        let _quiet = self.quiet_joins(&cluster.borrow());
        self.part("99")?;
        self.replay.finish().map_err(|difference| ("after 99".to_owned(), Err(difference)))
    }

    fn part(&mut self, prefix: &str) -> Result<(), (String, Outcome)> {
        let exchange = Exchange::named(prefix);
        match self.replay.play(&exchange.lines) {
            Ok(()) => self.told.push((exchange.name, Ok(Verdict::Same))),
            Err(difference) => return Err((exchange.name, Err(difference))),
        }
        Ok(())
    }

    /// A client joins, and the members take notice.
    fn join(&mut self, connection: &str, name: &str, group: &str, members: &[&str]) {
        self.replay.raw(connection).send(&message(JOIN, name, &[group], 0, &[])).expect("written");
        for member in members {
            let view = self.replay.raw(member).message(ANSWER_LIMIT).expect("a view");
            assert!(view[4..].starts_with(group.as_bytes()), "a view of {group}");
        }
    }

    /// 97: splits the daemons into three and heals the network. A merge in one step is compared with
    /// the recorded one; a merge in two is as good, and every step of it is checked.
    fn merge_of_three(&mut self, cluster: &Cluster) -> Result<(), (String, Outcome)> {
        cluster.partition(&[]);
        let split = self.all_see([2; 6], 1);
        cluster.heal();
        let merged = self.all_see([6; 6], 2);
        if merged.iter().all(|(_, messages)| messages.len() <= 2) {
            for (connection, messages) in merged {
                self.replay.raw(connection).put_back(&messages.concat());
            }
            return self.part("97");
        }
        let exchange = Exchange::named("97");
        for group in ["grp", "midalpha"] {
            let last = check_merges(&views(&split, group), &views(&merged, group));
            assert_eq!(last, recorded_members(&exchange.lines, group), "the members of {group}");
        }
        let how = "merged in two steps, each of the recorded form";
        self.told.push((exchange.name, Ok(Verdict::Different(how))));
        Ok(())
    }

    /// `quiet` joins, and a passing partition gives the group a new id.
    fn quiet_joins(&mut self, cluster: &Cluster) -> Raw {
        let mut quiet = cluster.raw(ALPHA);
        quiet.log_in("quiet");
        quiet.send(&message(JOIN, "#quiet#alpha", &["grp"], 0, &[])).expect("written");
        for connection in CLIENTS {
            self.until(connection, &[("grp", 7)]);
        }
        cluster.partition(&[&[ZETA, ALPHA], &[MID]]);
        self.all_see([5, 5, 5, 5, 2, 2], 1);
        cluster.heal();
        self.all_see([7; 6], 2);
        quiet
    }

    /// Reads until the views of `grp` have so many members for each client, and those of `midalpha`
    /// for its two; returns all that was read.
    fn all_see(&mut self, grp: [u32; 6], midalpha: u32) -> Vec<Stream> {
        let read = CLIENTS.into_iter().zip(grp).map(|(connection, members)| {
            let views: &[_] = match connection {
                "A" | "M" => &[("grp", members), ("midalpha", midalpha)],
                _ => &[("grp", members)],
            };
            (connection, self.until(connection, views))
        });
        read.collect()
    }

    /// Reads until the last views of these groups have so many members; returns all that was read.
    fn until(&mut self, connection: &str, wanted: &[(&str, u32)]) -> Vec<Vec<u8>> {
        let mut seen = BTreeMap::new();
        let mut read = Vec::new();
        while wanted.iter().any(|(group, members)| seen.get(*group) != Some(members)) {
            let Some(message) = self.replay.raw(connection).message(ANSWER_LIMIT) else {
                panic!("{connection} waits for {wanted:?} and got {seen:?}");
            };
            let word = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().expect("four bytes"));
            if word(0) & REG_MEMB != 0 {
                let name = message[4..36].split(|byte| *byte == 0).next().unwrap_or_default();
                seen.insert(String::from_utf8_lossy(name).into_owned(), word(36));
            }
            read.push(message);
        }
        read
    }
}

/// The views of a group that each of its clients got.
fn views(streams: &[Stream], group: &str) -> BTreeMap<&'static str, Vec<View>> {
    let of_group = |message: &Vec<u8>| view(message).filter(|view| view.group == group);
    let streams =
        streams.iter().map(|(client, messages)| (*client, messages.iter().filter_map(of_group).collect()));
    streams.filter(|(_, views): &(_, Vec<View>)| !views.is_empty()).collect()
}

fn view(message: &[u8]) -> Option<View> {
    let mut reader = FrameReader::new(FrameLimits::FROM_DAEMON);
    reader.push(Bytes::copy_from_slice(message));
    let frame = reader.next_frame().expect("well-formed").expect("whole");
    if !Membership::is_in(frame.header.flags) {
        return None;
    }
    match Membership::decode(&frame).expect("well-formed") {
        Membership::View(view) => Some(view),
        Membership::Transition { .. } | Membership::SelfLeave { .. } => None,
    }
}

fn recorded_members(lines: &[Line], group: &str) -> Vec<MemberName> {
    let views = lines.iter().filter_map(|line| match &line.step {
        Step::Expect(bytes) => view(bytes),
        _ => None,
    });
    let mut of_group = views.filter(|view| view.group == group);
    of_group.next().expect("a recorded view").members
}

/// Checks the merges that follow a split, one after the other; returns the members in the end.
fn check_merges(
    split: &BTreeMap<&'static str, Vec<View>>,
    merged: &BTreeMap<&'static str, Vec<View>>,
) -> Vec<MemberName> {
    let mut ids = BTreeMap::new();
    for view in split.values().filter_map(|views| views.last()) {
        note(&mut ids, view);
    }
    let mut left: BTreeMap<&str, &[View]> =
        merged.iter().map(|(client, views)| (*client, views.as_slice())).collect();
    let mut last = Vec::new();
    // Who has most views left took part in the next step.
    while let Some(next) =
        left.values().max_by_key(|views| views.len()).and_then(|views| views.first()).cloned()
    {
        for views in left.values_mut() {
            if let Some((view, rest)) = views.split_first().filter(|(view, _)| view.id == next.id) {
                check_merge(view, &next, &ids);
                *views = rest;
            }
        }
        note(&mut ids, &next);
        last.clone_from(&next.members);
    }
    last
}

/// Which view each daemon's members have now: leader, as a signed number, and time.
type Ids = BTreeMap<String, (i32, u32)>;

fn note(ids: &mut Ids, view: &View) {
    for member in &view.members {
        let GroupId { leader, time, .. } = view.id;
        ids.insert(daemon(member), (leader.cast_signed(), time));
    }
}

fn daemon(member: &MemberName) -> String {
    member.to_string().rsplit('#').next().unwrap_or_default().to_owned()
}

/// Former views are sets in the order of their ids.
fn check_merge(view: &View, same: &View, ids: &Ids) {
    assert_eq!((view.cause, view.id.counter), (Cause::Network, 1));
    assert_eq!((&view.members, &view.sets), (&same.members, &same.sets), "all get the same view");
    let mut expected: BTreeMap<(i32, u32), Vec<MemberName>> = BTreeMap::new();
    for member in &view.members {
        expected.entry(ids[&daemon(member)]).or_default().push(*member);
    }
    let sets: Vec<Vec<MemberName>> = view.sets.iter().map(|set| set.members.clone()).collect();
    assert_eq!(sets, expected.into_values().collect::<Vec<_>>(), "one set for each former view");
    assert!(view.own_set < sets.len(), "the own set is one of them");
}
