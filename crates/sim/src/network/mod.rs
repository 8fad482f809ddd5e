//! The links between hosts and their faults.
//!
//! Every directed pair of hosts has a [`Link`]. A datagram to several hosts draws its fate on each
//! link alone, as multicast does. What a cut kills is kept for a while as a [`Ghost`], so that the
//! world can bring it back at a bad moment; a story may ask for ghosts of what arrived as well.

mod link;

use std::collections::VecDeque;

use antiphon_proto::Channel;
use antiphon_proto::time::Instant;
use antiphon_wire::ring::DatagramKind;
use bytes::{Bytes, BytesMut};

pub use link::{Burst, Link, Quality};

/// Numbers of kinds, with 0 for what has none.
const KINDS: usize = DatagramKind::ALL.len() + 1;
/// Most ghosts that are kept.
const GHOSTS: usize = 512;

/// A datagram that a cut killed, or a copy of one.
#[derive(Clone, Debug)]
pub struct Ghost {
    /// Which host it was for.
    pub to: usize,
    /// Which socket it was for.
    pub channel: Channel,
    /// The datagram.
    pub bytes: Bytes,
}

/// One copy of a datagram on its way.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When it arrives.
    pub at: Instant,
    /// The datagram, possibly damaged.
    pub bytes: Bytes,
}

/// How often each fault struck.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Datagrams sent, counted once for each receiver.
    pub sent: u64,
    /// Lost on a link.
    pub lost: u64,
    /// Killed by a cut.
    pub cut: u64,
    /// Killed by a filter on their kind.
    pub filtered: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Held up beyond their followers.
    pub reordered: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Sent, by the number of their kind.
    pub kinds: [u64; KINDS],
}

impl Tally {
    /// Datagrams of that kind sent.
    #[must_use]
    pub fn of(&self, kind: DatagramKind) -> u64 {
        self.kinds[kind as usize % KINDS]
    }
}

/// All links.
#[derive(Clone, Debug)]
pub struct Network {
    links: Vec<Vec<Link>>,
    ghosts: VecDeque<Ghost>,
    /// Of datagrams of these kinds, a ghost is kept even if they arrive.
    pub copied: Vec<DatagramKind>,
    /// What becomes of a datagram that arrives: the words of a faulty daemon.
    pub forge: Option<fn(&Bytes) -> Bytes>,
    /// How often each fault struck.
    pub tally: Tally,
}

impl Network {
    /// Links of the same quality between `hosts` hosts.
    #[must_use]
    pub fn new(hosts: usize, quality: Quality) -> Self {
        let row = vec![Link::new(quality); hosts];
        Self {
            links: vec![row; hosts],
            ghosts: VecDeque::new(),
            copied: Vec::new(),
            forge: None,
            tally: Tally::default(),
        }
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.links.len()
    }

    /// The link from one host to another.
    pub fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from][to]
    }

    /// All links between different hosts.
    pub fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        let rows = self.links.iter_mut().enumerate();
        rows.flat_map(|(from, row)| row.iter_mut().enumerate().filter(move |(to, _)| *to != from))
            .map(|(_, link)| link)
    }

    /// For each host, to whom all its datagrams get through; always to itself.
    #[must_use]
    pub fn reaches(&self) -> Vec<Vec<bool>> {
        let hosts = self.hosts();
        let is_whole = |link: &Link| !link.cut && !link.control_cut;
        let reaches =
            |from: usize| (0..hosts).map(|to| from == to || is_whole(&self.links[from][to])).collect();
        (0..hosts).map(reaches).collect()
    }

    /// Removes every cut and filter.
    pub fn heal(&mut self) {
        for link in self.links_mut() {
            link.cut = false;
            link.control_cut = false;
            link.dropped_kinds.clear();
        }
    }

    /// Gives every link the same quality.
    pub fn set_quality(&mut self, quality: Quality) {
        for link in self.links_mut() {
            link.quality = quality;
        }
    }

    /// Cuts every link between hosts of different sides; `side[host]` is the side of each.
    pub fn partition(&mut self, side: &[usize]) {
        for from in 0..self.hosts() {
            for to in 0..self.hosts() {
                self.links[from][to].cut = from != to && side[from] != side[to];
            }
        }
    }

    /// Decides the fate of one datagram on one link: no, one or two arrivals.
    pub fn send(
        &mut self,
        now: Instant,
        (from, to): (usize, usize),
        channel: Channel,
        bytes: &Bytes,
        rng: &mut fastrand::Rng,
    ) -> [Option<Arrival>; 2] {
        self.tally.sent += 1;
        let kind = DatagramKind::of(bytes).map_or(0, |kind| kind as usize);
        self.tally.kinds[kind % KINDS] += 1;
        if DatagramKind::of(bytes).is_some_and(|kind| self.copied.contains(&kind)) {
            self.bury(to, channel, bytes);
        }
        let link = &mut self.links[from][to];
        let is_cut = link.cut || link.control_cut && channel == Channel::Control;
        if is_cut || bytes.len() > link.quality.longest {
            self.tally.cut += 1;
            self.bury(to, channel, bytes);
            return [None, None];
        }
        if DatagramKind::of(bytes).is_some_and(|kind| link.dropped_kinds.contains(&kind)) {
            self.tally.filtered += 1;
            self.bury(to, channel, bytes);
            return [None, None];
        }
        if link.loses(rng) {
            self.tally.lost += 1;
            return [None, None];
        }
        let first = self.arrival(now, (from, to), channel, bytes, rng);
        let twice = link::strikes(self.links[from][to].quality.duplicate_ppm, rng);
        let second = twice.then(|| {
            self.tally.duplicated += 1;
            self.arrival(now, (from, to), channel, bytes, rng)
        });
        [Some(first), second]
    }

    fn arrival(
        &mut self,
        now: Instant,
        (from, to): (usize, usize),
        channel: Channel,
        bytes: &Bytes,
        rng: &mut fastrand::Rng,
    ) -> Arrival {
        let link = &mut self.links[from][to];
        let (at, reordered) = link.arrival(now, channel, rng);
        self.tally.reordered += u64::from(reordered);
        let bytes = if link::strikes(link.quality.corrupt_ppm, rng) {
            self.tally.corrupted += 1;
            damaged(bytes, rng)
        } else {
            self.forge.map_or_else(|| bytes.clone(), |forge| forge(bytes))
        };
        Arrival { at, bytes }
    }

    fn bury(&mut self, to: usize, channel: Channel, bytes: &Bytes) {
        if self.ghosts.len() == GHOSTS {
            self.ghosts.pop_front();
        }
        self.ghosts.push_back(Ghost { to, channel, bytes: bytes.clone() });
    }

    /// Keeps a datagram that was lost otherwise, for instance with the host it was for.
    pub fn keep(&mut self, to: usize, channel: Channel, bytes: &Bytes) {
        self.bury(to, channel, bytes);
    }

    /// Takes one of the kept datagrams, each with the same chance; it stays kept.
    pub fn resurrect(&mut self, rng: &mut fastrand::Rng) -> Option<Ghost> {
        if self.ghosts.is_empty() {
            return None;
        }
        self.ghosts.get(rng.usize(..self.ghosts.len())).cloned()
    }
}

/// Damages a datagram where the receiver must notice: UDP checks the rest of it, and without
/// encryption nothing above does. So a bit of version, key id or cluster hash flips.
fn damaged(bytes: &Bytes, rng: &mut fastrand::Rng) -> Bytes {
    const NOTICED: [usize; 6] = [0, 2, 4, 5, 6, 7];
    let mut bytes = BytesMut::from(bytes.as_ref());
    let at = NOTICED[rng.usize(..NOTICED.len())];
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.u32(..8);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(network: &mut Network, rng: &mut fastrand::Rng) -> usize {
        let bytes = Bytes::from_static(b"\x01\x01 some packet");
        let arrivals = network.send(Instant(0), (0, 1), Channel::Data, &bytes, rng);
        arrivals.into_iter().flatten().count()
    }

    #[test]
    fn a_cut_link_delivers_nothing_and_keeps_what_it_killed() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut network = Network::new(2, Quality::default());
        assert_eq!(deliver(&mut network, &mut rng), 1);
        assert!(network.resurrect(&mut rng).is_none());
        network.partition(&[0, 1]);
        assert_eq!(deliver(&mut network, &mut rng), 0);
        assert_eq!(network.resurrect(&mut rng).map(|ghost| ghost.to), Some(1));
        network.heal();
        assert_eq!(deliver(&mut network, &mut rng), 1);
    }

    #[test]
    fn a_filtered_kind_is_dropped_and_others_pass() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut network = Network::new(2, Quality::default());
        network.link(0, 1).dropped_kinds.push(DatagramKind::Packet);
        assert_eq!(deliver(&mut network, &mut rng), 0);
        network.link(0, 1).dropped_kinds[0] = DatagramKind::Token;
        assert_eq!(deliver(&mut network, &mut rng), 1);
    }

    #[test]
    fn duplication_makes_two() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut network = Network::new(2, Quality { duplicate_ppm: 1_000_000, ..Quality::default() });
        assert_eq!(deliver(&mut network, &mut rng), 2);
    }
}
