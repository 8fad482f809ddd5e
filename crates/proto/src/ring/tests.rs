//! Single visits of a ring of two, of which I am the leader.

use antiphon_wire::ids::SessionId;
use antiphon_wire::names::DaemonName;
use antiphon_wire::ring::packet::PacketHeader;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;

use super::window::CAPACITY_PACKETS;
use super::*;
use crate::config::{Config, Daemon};
use crate::delivery::Kind;
use crate::io::Outputs;
use crate::patience::Patience;
use crate::send_queue::{Outgoing, SendQueue};
use crate::stats::Stats;
use crate::time::Timers;

struct Bench {
    ring: Ring,
    config: Config,
    queue: SendQueue,
    out: Outputs,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let daemon = |name: &[u8], last| Daemon {
            name: DaemonName::new(name).expect("legal"),
            address: std::net::Ipv4Addr::new(10, 0, 0, last),
        };
        let mut config = Config::new(vec![daemon(b"a", 1), daemon(b"b", 2)], DaemonId(0), 7);
        change(&mut config);
        let members: Vec<ProcessId> =
            (0..2).map(|daemon| ProcessId { daemon: DaemonId(daemon), incarnation: 1 }).collect();
        let id = RingId { epoch: 4, leader: members[0] };
        let ring = Ring::new(id, members.clone(), members[0], Seq::ZERO, Instant::default());
        let mut queue = SendQueue::default();
        queue.set_clients_open(true);
        Self { ring, config, queue, out: Outputs::default() }
    }

    fn run<T>(&mut self, run: impl FnOnce(&mut Ring, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: Instant::default(),
            config: &self.config,
            timers: &mut Timers::default(),
            patience: &mut Patience::default(),
            queue: &mut self.queue,
            stats: &mut Stats::default(),
            out: &mut self.out,
        };
        run(&mut self.ring, &mut cx)
    }

    /// The token comes back from the other, who has sent nothing and holds everything up to `ack`.
    fn token_returns(&mut self, seq: Seq, ack: Seq) {
        let token = Token {
            from: self.ring.members[1],
            ring: self.ring.id,
            hop: self.ring.hop() + 1,
            seq,
            fcc: 0,
            backlog: 0,
            window: self.config.ring.window_packets,
            acks: vec![ack; 2],
            requests: Vec::new(),
        };
        self.run(|ring, cx| ring.on_token(token, cx));
    }

    fn push(&mut self, bytes: usize) {
        let payload = Bytes::from(vec![7; bytes]).into();
        self.queue
            .push(SessionId(1), Outgoing { kind: Kind::Client, service: ServiceLevel::Agreed, payload });
    }

    /// Which channels datagrams left by since the last call, in order.
    fn sent(&mut self) -> Vec<Channel> {
        self.out.transmits.drain(..).map(|transmit| transmit.channel).collect()
    }
}

#[test]
fn a_lone_message_leaves_before_the_token_that_rested() {
    let mut bench = Bench::new(|_| {});
    bench.run(Ring::start);
    bench.token_returns(Seq::ZERO, Seq::ZERO);
    assert!(bench.ring.has_resting_token());
    bench.sent();
    bench.push(100);
    bench.run(|ring, cx| ring.resume(cx));
    assert_eq!(bench.sent(), [Channel::Data, Channel::Control]);
}

#[test]
fn in_a_busy_ring_the_token_leaves_first() {
    let mut bench = Bench::new(|_| {});
    bench.push(100);
    bench.run(Ring::start);
    bench.sent();
    bench.push(100);
    bench.token_returns(Seq(1), Seq::ZERO);
    assert_eq!(bench.sent(), [Channel::Control, Channel::Data]);
}

#[test]
fn no_packet_is_numbered_that_could_not_be_stored() {
    let mut bench = Bench::new(|config| {
        config.ring.window_packets = 1 << 16;
        config.ring.personal_window_packets = 1 << 16;
        config.ring.window_limit_packets = 1 << 16;
        config.ring.outstanding_packets = 1 << 17;
    });
    let last = Seq(CAPACITY_PACKETS - 3);
    let header = PacketHeader {
        ring: bench.ring.tag(),
        sender: DaemonId(1),
        seq: Seq::ZERO,
        visit: 1,
        after_token: false,
        has_unordered: false,
        wants_ack: false,
        ack: Seq::ZERO,
    };
    for seq in (1..=last.0).map(Seq) {
        assert!(bench.ring.store(Packet { header: PacketHeader { seq, ..header }, bytes: Bytes::new() }));
    }
    (0..10).for_each(|_| bench.push(1400));
    bench.token_returns(last, Seq::ZERO);
    assert_eq!(bench.ring.window().highest(), Seq(CAPACITY_PACKETS));
    bench.token_returns(Seq(CAPACITY_PACKETS), Seq::ZERO);
    assert_eq!(bench.ring.window().highest(), Seq(CAPACITY_PACKETS));
    assert!(bench.queue.has_sendable(), "the rest waits");
}
