//! What a daemon makes of single datagrams of others, while it looks for a ring.

use std::time::Duration;

use antiphon_wire::ids::ClusterHash;
use antiphon_wire::names::DaemonName;
use antiphon_wire::ring::attempt::{Accept, Commit, Done, Install, Propose, RecoveryRequest};
use antiphon_wire::ring::gossip::{HearsRow, Hello, Probe};
use antiphon_wire::ring::packet::PacketHeader;
use antiphon_wire::ring::ranges::SeqRange;
use bytes::BytesMut;

use super::*;
use crate::NameHash;
use crate::config::{Cluster, Daemon};
use crate::io::{Input, Outputs};
use crate::node::{Boot, Node};

const CLUSTER: ClusterHash = ClusterHash(7);
/// Incarnation and epoch that everyone starts from.
const BOOT: u64 = 1000;

/// The first of some daemons, alone.
struct Bench {
    node: Node,
    now: Instant,
    out: Outputs,
}

impl Bench {
    fn new(daemons: u16, datagram_bytes: usize) -> Self {
        let daemon = |at: u16| Daemon {
            name: DaemonName::new(format!("d{at}").as_bytes()).expect("legal"),
            address: std::net::Ipv4Addr::new(10, 0, 0, at.to_le_bytes()[0]),
        };
        let mut config =
            Config::new(Cluster { daemons: (0..daemons).map(daemon).collect(), hash: CLUSTER }, DaemonId(0));
        config.ring.datagram_bytes = datagram_bytes;
        let (now, mut out) = (Instant::default(), Outputs::default());
        let boot = Boot { incarnation: BOOT, epoch: BOOT, seed: 1, name_hash: NameHash::fixed() };
        let node = Node::new(config, boot, now, &mut out);
        out.transmits.clear();
        Self { node, now, out }
    }

    /// Takes a datagram; returns what was sent.
    fn hear(&mut self, datagram: &Datagram) -> Vec<Bytes> {
        self.hear_bytes(datagram.encode(CLUSTER))
    }

    fn hear_bytes(&mut self, bytes: Bytes) -> Vec<Bytes> {
        self.node.handle(self.now, Input::Datagram(bytes), &mut self.out);
        self.out.transmits.drain(..).map(|transmit| transmit.burst).collect()
    }

    /// Lets the next deadline come.
    fn wait(&mut self) {
        let (due, _) = self.node.next_timeout().expect("a deadline");
        self.now = self.now.max(due);
        self.node.handle(self.now, Input::Timeout, &mut self.out);
    }

    fn state(&self) -> StateName {
        self.node.status().state
    }

    fn stale(&self) -> u64 {
        self.node.stats().datagrams_stale
    }

    /// Proposes a ring of the first daemons, as these are heard and others are not.
    fn lead(&mut self, members: u16) -> RingId {
        let hears: BTreeSet<ProcessId> = (0..members).map(process).collect();
        for from in (1..members).map(process) {
            self.hear(&Datagram::Probe(Probe { from }));
            self.hear(&join(from, BOOT, vec![HearsRow { of: from, version: 1, hears: hears.clone() }]));
        }
        while self.state() == StateName::Gather {
            self.wait();
        }
        let sent = self.out.transmits.drain(..).filter_map(|transmit| ring::decode(transmit.burst).ok());
        let proposed = sent.filter_map(|(_, datagram)| match datagram {
            Datagram::Propose(propose) => Some(propose.ring),
            _ => None,
        });
        proposed.last().expect("a proposal")
    }

    /// Accepts a ring that the second daemon proposes to the two, and hears that it comes from `old` and holds the
    /// first packets of that, so many. Returns what was sent then.
    fn follow(&mut self, ring: RingId, old: RingId, packets: u64) -> Vec<Bytes> {
        let (from, members) = (process(1), vec![process(0), process(1)]);
        let sent = self.hear(&Datagram::Propose(Propose { from, ring, members: members.clone() }));
        let Ok((_, Datagram::Accept(accept))) = ring::decode(sent[0].clone()) else { panic!("no report") };
        let theirs = Holdings { old, ack: Seq(packets), ..accept.holdings.clone() };
        let reports = [(members[0], accept.holdings), (members[1], theirs)].into();
        self.hear(&Datagram::Commit(Commit { from, ring, reports }))
    }
}

fn process(daemon: u16) -> ProcessId {
    ProcessId { daemon: DaemonId(daemon), incarnation: BOOT }
}

fn join(from: ProcessId, epoch: u64, rows: Vec<HearsRow>) -> Datagram {
    Datagram::Join(Join { from, epoch, version: 1, wanted: Vec::new(), cause: String::new(), rows })
}

/// The report of a daemon that comes from a ring of its own.
fn accept(from: ProcessId, ring: RingId) -> Datagram {
    let (old, beyond) = (RingId { epoch: BOOT, leader: from }, Vec::new());
    let obligations = BTreeSet::from([from]);
    let holdings = Holdings { old, ack: Seq::ZERO, beyond, stable: Seq::ZERO, obligations };
    Datagram::Accept(Accept { from, ring, holdings })
}

/// An empty packet of the second daemon.
fn packet(ring: RingId, seq: u64) -> Bytes {
    let (ring, sender, seq, ack) = (ring.tag(), DaemonId(1), Seq(seq), Seq::ZERO);
    let (visit, after_token, has_unordered, wants_ack) = (0, false, false, false);
    let mut bytes = BytesMut::new();
    PacketHeader { ring, sender, seq, visit, after_token, has_unordered, wants_ack, ack }
        .encode(CLUSTER, &mut bytes);
    bytes.freeze()
}

#[test]
fn an_answer_in_pieces_is_repeated_under_the_same_number() {
    let mut bench = Bench::new(2, 60);
    let (from, members) = (process(1), vec![process(0), process(1)]);
    let ring = RingId { epoch: 2 * BOOT, leader: from };
    let propose = Datagram::Propose(Propose { from, ring, members });
    let accept = bench.hear(&propose);
    assert!(accept.len() > 1, "one piece");
    assert_eq!(bench.hear(&propose), accept, "pieces of one repetition are of no use to those of another");
}

#[test]
fn what_is_too_long_to_be_sent_is_counted_and_reported_once() {
    let mut bench = Bench::new(30, 27);
    let hears: BTreeSet<ProcessId> = (0..30).map(process).collect();
    let rows = (1..30).map(|of| HearsRow { of: process(of), version: 1, hears: hears.clone() }).collect();
    bench.hear(&join(process(1), BOOT, rows));
    (0..4).for_each(|_| bench.wait());
    let too_long =
        |event: &&Event| matches!(event, Event::DatagramTooLong { kind: ring::DatagramKind::Join, .. });
    assert_eq!(bench.out.events.iter().filter(too_long).count(), 1);
    assert!(bench.node.stats().datagrams_too_long > 1);
}

#[test]
fn what_pieces_make_must_be_from_their_sender() {
    let mut bench = Bench::new(3, 1472);
    let hello = |from: ProcessId| {
        let ring = RingId { epoch: BOOT, leader: from };
        Datagram::Hello(Hello { from, ring, members: vec![from], hears: BTreeSet::new() })
    };
    let in_one_piece = |bytes, number| {
        Datagram::Piece(Piece { from: process(1), number, index: 0, count: 1, bytes }).encode(CLUSTER)
    };
    let stranger = ProcessId { daemon: DaemonId(65_000), incarnation: 1 };
    let other_run = ProcessId { incarnation: BOOT + 1, ..process(1) };
    let forged = [stranger, process(2), other_run].map(|from| hello(from).encode(CLUSTER));
    let of_another_cluster = hello(process(1)).encode(ClusterHash(8));
    for (bytes, number) in forged.into_iter().chain([of_another_cluster]).zip(0..) {
        bench.hear_bytes(in_one_piece(bytes, number));
        assert_eq!(bench.node.stats().datagrams_rejected, u64::from(number) + 1);
    }
    let knows_hello = |bench: &Bench| format!("{:?}", bench.node).contains("SeenHello");
    assert!(!knows_hello(&bench));
    bench.hear_bytes(in_one_piece(hello(process(1)).encode(CLUSTER), 9));
    assert!(knows_hello(&bench));
    assert_eq!(bench.node.stats().datagrams_rejected, 4);
}

#[test]
fn a_hello_that_names_more_processes_than_there_are_daemons_is_refused() {
    let mut bench = Bench::new(3, 1472);
    let from = process(1);
    let ring = RingId { epoch: BOOT, leader: from };
    for (named, rejected) in [(3, 0), (4, 1)] {
        let members: Vec<ProcessId> = (0..named).map(process).collect();
        bench.hear(&Datagram::Hello(Hello { from, ring, members, hears: BTreeSet::new() }));
        let hears = (0..named).map(process).collect();
        bench.hear(&Datagram::Hello(Hello { from, ring, members: vec![from], hears }));
        assert_eq!(bench.node.stats().datagrams_rejected, 2 * rejected);
    }
}

#[test]
fn who_is_heard_and_tells_me_nothing_is_reported() {
    let mut bench = Bench::new(2, 1472);
    (0..20).for_each(|_| bench.wait());
    let (from, me) = (process(1), process(0));
    let ring = RingId { epoch: BOOT, leader: from };
    let hello = |hears: &[ProcessId]| {
        Datagram::Hello(Hello { from, ring, members: vec![from], hears: hears.iter().copied().collect() })
    };
    let reports = |bench: &Bench| {
        let is_report = |event: &&Event| matches!(event, Event::OnlyHeard(process) if *process == from);
        bench.out.events.iter().filter(is_report).count()
    };
    (0..9).for_each(|_| drop(bench.hear(&hello(&[me]))));
    bench.hear(&Datagram::Probe(Probe { from }));
    (0..50).for_each(|_| drop(bench.hear(&hello(&[me]))));
    assert_eq!(reports(&bench), 0, "it told me something");
    bench.now = bench.now + Duration::from_secs(2);
    (0..50).for_each(|_| drop(bench.hear(&hello(&[]))));
    assert_eq!(reports(&bench), 0, "after a standstill, seconds of gossip come at once, before the probes");
    for _ in 0..50 {
        bench.now = bench.now + Duration::from_millis(150);
        bench.hear(&hello(&[]));
    }
    assert_eq!(reports(&bench), 1, "if all ports are closed, it cannot say that it hears me");
}

/// An earlier run of mine, of a time before the calendar was set back, is refused by others for three seconds.
#[test]
fn who_may_take_me_for_an_earlier_run_is_not_reported_until_it_has_forgotten_the_later_one() {
    let mut bench = Bench::new(2, 1472);
    while bench.state() != StateName::Operational {
        bench.wait();
    }
    let from = process(1);
    let ring = RingId { epoch: BOOT, leader: from };
    let hello = Datagram::Hello(Hello { from, ring, members: vec![from], hears: BTreeSet::new() });
    let mut reported_after = None;
    while reported_after.is_none() && bench.now.since(Instant::default()) < Duration::from_secs(9) {
        bench.now = bench.now + Duration::from_millis(150);
        bench.hear(&hello);
        let is_reported = bench.out.events.iter().any(|event| matches!(event, Event::OnlyHeard(_)));
        reported_after = is_reported.then(|| bench.now.since(Instant::default()));
    }
    let after = reported_after.expect("it is reported in the end");
    assert!((Duration::from_millis(4200)..Duration::from_secs(6)).contains(&after), "{after:?}");
}

#[test]
fn who_tells_me_something_and_is_not_heard_is_probed_and_reported() {
    let mut bench = Bench::new(2, 1472);
    (0..20).for_each(|_| bench.wait());
    bench.out.transmits.clear();
    let from = process(1);
    let probes = |bench: &Bench| {
        let is_probe = |burst: &Bytes| matches!(ring::decode(burst.clone()), Ok((_, Datagram::Probe(_))));
        bench.out.transmits.iter().filter(|transmit| is_probe(&transmit.burst)).count()
    };
    let reports = |bench: &Bench| {
        let is_report = |event: &&Event| matches!(event, Event::OnlyTold(process) if *process == from);
        bench.out.events.iter().filter(is_report).count()
    };
    let probe = Datagram::Probe(Probe { from }).encode(CLUSTER);
    for _ in 0..60 {
        bench.node.handle(bench.now, Input::Datagram(probe.clone()), &mut bench.out);
        bench.wait();
    }
    assert!(probes(&bench) > 10, "so that it knows that this way is open: {}", probes(&bench));
    assert_eq!(reports(&bench), 1);
    let (ring, hears) = (RingId { epoch: BOOT, leader: from }, BTreeSet::new());
    bench.out.transmits.clear();
    for _ in 0..60 {
        let hello = Hello { from, ring, members: vec![from], hears: BTreeSet::clone(&hears) };
        for datagram in [Datagram::Hello(hello), Datagram::Probe(Probe { from })] {
            bench.node.handle(bench.now, Input::Datagram(datagram.encode(CLUSTER)), &mut bench.out);
        }
        bench.wait();
    }
    assert_eq!(reports(&bench), 1, "it is heard now");
}

#[test]
fn a_commit_of_another_leader_or_attempt_or_that_takes_me_for_another_rings_is_refused() {
    let mut bench = Bench::new(3, 1472);
    let (from, members) = (process(1), (0..3).map(process).collect::<Vec<_>>());
    let ring = RingId { epoch: 2 * BOOT, leader: from };
    let accept = bench.hear(&Datagram::Propose(Propose { from, ring, members: members.clone() }));
    let Ok((_, Datagram::Accept(accept))) = ring::decode(accept[0].clone()) else { panic!("no report") };
    let mine = accept.holdings;
    let others = Holdings { old: RingId { epoch: BOOT, leader: from }, ..mine.clone() };
    let commit = |from, ring, mine: &Holdings| {
        let holdings = [mine, &others, &others].into_iter().cloned();
        Datagram::Commit(Commit { from, ring, reports: members.iter().copied().zip(holdings).collect() })
    };
    let of_another_ring = Holdings { old: others.old, ..mine.clone() };
    let before = RingId { epoch: ring.epoch - 4, ..ring };
    for forged in
        [commit(from, ring, &of_another_ring), commit(process(2), ring, &mine), commit(from, before, &mine)]
    {
        bench.hear(&forged);
        assert_eq!(bench.state(), StateName::Accepted);
    }
    bench.hear(&commit(from, ring, &mine));
    assert_eq!(bench.state(), StateName::Recover);
    let stale = bench.node.stats().datagrams_stale;
    bench.hear(&Datagram::RecoveryRequest(RecoveryRequest { from: process(2), ring, missing: Vec::new() }));
    assert_eq!(bench.node.stats().datagrams_stale, stale + 1, "it is of another old ring");
    bench.hear(&Datagram::Install(Install { from: process(2), ring }));
    assert_eq!(bench.state(), StateName::Recover, "it does not lead");
    bench.hear(&Datagram::Install(Install { from, ring }));
    assert_eq!(bench.state(), StateName::Operational);
}

#[test]
fn a_proposal_such_as_no_daemon_makes_is_rejected_and_one_to_others_is_stale() {
    let mut bench = Bench::new(4, 1472);
    let (from, epoch) = (process(1), 2 * BOOT);
    let members = |daemons: &[u16]| daemons.iter().copied().map(process).collect::<Vec<_>>();
    let mut counted = |epoch, leader, members| {
        let ring = RingId { epoch, leader };
        bench.hear(&Datagram::Propose(Propose { from, ring, members }));
        let stats = bench.node.stats();
        (stats.datagrams_rejected, stats.datagrams_stale)
    };
    assert_eq!(counted(epoch, process(2), members(&[0, 1, 2])), (1, 0), "of another's ring");
    assert_eq!(counted(epoch, from, members(&[0, 2])), (2, 0), "without its leader");
    assert_eq!(counted(epoch, from, members(&[1, 0])), (3, 0), "out of order");
    assert_eq!(counted(epoch, from, members(&[0, 1, 4])), (4, 0), "with a daemon that is not configured");
    assert_eq!(counted(epoch + 1, from, members(&[0, 1])), (5, 0), "of an epoch between two rings");
    assert_eq!(counted(u64::MAX - 1, from, members(&[0, 1])), (6, 0), "of an epoch that is years away");
    assert_eq!(counted(epoch, from, members(&[1, 2])), (6, 1), "to others");
    assert_eq!(counted(epoch, from, members(&[0, 1])), (6, 1), "to me");
    assert_eq!(bench.state(), StateName::Accepted);
}

#[test]
fn a_proposal_is_accepted_only_of_a_greater_epoch_than_all_before() {
    let mut bench = Bench::new(3, 1472);
    let members = vec![process(0), process(1), process(2)];
    let ring = |epoch, leader| RingId { epoch, leader };
    let propose =
        |ring: RingId| Datagram::Propose(Propose { from: ring.leader, ring, members: members.clone() });
    assert_eq!(
        bench.hear(&propose(ring(BOOT, process(1)))).len(),
        0,
        "not greater than that of the boot ring"
    );
    let given_up = ring(2 * BOOT, process(1));
    assert_eq!(bench.hear(&propose(given_up)).len(), 1);
    assert_eq!(bench.hear(&propose(ring(2 * BOOT, process(2)))).len(), 0, "of another leader");
    bench.hear(&join(process(1), 2 * BOOT, Vec::new()));
    assert_eq!((bench.state(), bench.stale()), (StateName::Gather, 2));
    assert_eq!(bench.hear(&propose(given_up)).len(), 0, "what was reported may not be true any more");
    assert_eq!((bench.state(), bench.stale()), (StateName::Gather, 3));
}

#[test]
fn a_ring_is_committed_when_each_of_its_members_has_accepted_this_very_one() {
    let mut bench = Bench::new(4, 1472);
    let ring = bench.lead(3);
    let before = RingId { epoch: ring.epoch - 4, ..ring };
    let others = [accept(process(1), before), accept(process(2), before), accept(process(3), ring)];
    for (other, stale) in others.iter().zip(1..) {
        assert_eq!(bench.hear(other).len(), 0);
        assert_eq!((bench.state(), bench.stale()), (StateName::Accepted, stale));
    }
    bench.hear(&accept(process(1), ring));
    assert_eq!(bench.state(), StateName::Accepted);
    bench.hear(&accept(process(2), ring));
    assert_eq!((bench.state(), bench.stale()), (StateName::Recover, 3));
}

#[test]
fn a_ring_is_installed_when_each_of_its_members_is_done_with_this_very_one() {
    let mut bench = Bench::new(4, 1472);
    let ring = bench.lead(3);
    (1..3).for_each(|member| drop(bench.hear(&accept(process(member), ring))));
    let done = |member, ring| Datagram::Done(Done { from: process(member), ring });
    let before = RingId { epoch: ring.epoch - 4, ..ring };
    for (other, stale) in [done(1, before), done(2, before), done(3, ring)].iter().zip(1..) {
        assert_eq!(bench.hear(other).len(), 0);
        assert_eq!((bench.state(), bench.stale()), (StateName::Recover, stale));
    }
    bench.hear(&done(1, ring));
    assert_eq!(bench.state(), StateName::Recover);
    bench.hear(&done(2, ring));
    assert_eq!((bench.state(), bench.stale()), (StateName::Operational, 3));
}

/// A batch for each repetition would take seconds for what a full window holds.
#[test]
fn the_next_packets_are_asked_for_when_the_last_of_a_batch_has_come() {
    let mut bench = Bench::new(2, 1472);
    let from = process(1);
    let [boot, old, new] = [BOOT, 2 * BOOT, 3 * BOOT].map(|epoch| RingId { epoch, leader: from });
    bench.follow(old, boot, 0);
    bench.hear(&Datagram::Install(Install { from, ring: old }));
    bench.hear(&join(from, old.epoch, Vec::new()));
    let request = |first, last| {
        let missing = vec![SeqRange { first: Seq(first), last: Seq(last) }];
        Datagram::RecoveryRequest(RecoveryRequest { from: process(0), ring: new, missing }).encode(CLUSTER)
    };
    let done = Datagram::Done(Done { from: process(0), ring: new }).encode(CLUSTER);
    assert_eq!(bench.follow(new, old, 300), [request(1, 256)]);
    let sent: Vec<Bytes> = (1..=300).flat_map(|seq| bench.hear_bytes(packet(old, seq))).collect();
    assert_eq!(sent, [request(257, 300), done]);
}

/// It waits for no token, so there is none to be given more time.
#[test]
fn a_daemon_alone_that_is_run_late_does_not_leave_its_ring() {
    let mut bench = Bench::new(2, 1472);
    while bench.state() != StateName::Operational {
        bench.wait();
    }
    bench.out.events.clear();
    let (due, _) = bench.node.next_timeout().expect("a deadline");
    bench.now = due + Duration::from_millis(30);
    let end = bench.now + Duration::from_secs(1);
    while bench.now < end {
        bench.wait();
    }
    let changes = |event: &Event| matches!(event, Event::MembershipState { .. });
    assert!(!bench.out.events.iter().any(changes), "{:?}", bench.out.events);
}
