//! From the daemons that are meant to the addresses that reach them.

use std::net::{IpAddr, SocketAddr};

use antiphon_proto::{Channel, Target};
use antiphon_wire::ids::DaemonId;

use super::links::LinkFilter;
use crate::conf::{Location, Settings};

/// Addresses of all daemons, and the one that reaches all of this daemon's segment at once.
#[derive(Debug)]
pub(crate) struct Routes {
    me: DaemonId,
    locations: Vec<Location>,
    my_segment: usize,
    group: Option<SocketAddr>,
}

/// How the segment of a daemon is reached at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shared {
    /// Not at all: one datagram to each.
    None,
    /// By a multicast group.
    Multicast(SocketAddr),
    /// By a broadcast address.
    Broadcast(SocketAddr),
}

impl Shared {
    /// The address, if there is one.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::Multicast(group) | Self::Broadcast(group) => Some(group),
        }
    }
}

impl Routes {
    pub(crate) fn new(settings: &Settings) -> Self {
        let locations = settings.locations.clone();
        Self { me: settings.config.me, locations, my_segment: settings.here.segment, group: None }
    }

    /// Goes over to another list of daemons.
    pub(crate) fn adopt(&mut self, settings: &Settings) {
        self.locations.clone_from(&settings.locations);
    }

    /// From now on, one datagram to `group` reaches all daemons of this segment.
    pub(crate) fn share(&mut self, group: SocketAddr) {
        self.group = Some(group);
    }

    /// What reaches all daemons of this segment, if anything does.
    pub(crate) fn group(&self) -> Option<SocketAddr> {
        self.group
    }

    /// Whether one datagram reaches all other daemons.
    pub(crate) fn reaches_all_at_once(&self) -> bool {
        self.group.is_some() && self.locations.iter().all(|location| location.segment == self.my_segment)
    }

    /// Appends the addresses to which a datagram must go. Daemons that share my segment are reached
    /// at once if there are at least two of them; those that are not meant drop what they get.
    pub(crate) fn resolve(
        &self,
        target: &Target,
        channel: Channel,
        filter: &LinkFilter,
        addresses: &mut Vec<SocketAddr>,
    ) {
        let daemons = target.daemons();
        let group = self.group.filter(|_| channel == Channel::Data && filter.is_whole());
        let shared = group.filter(|_| daemons.iter().filter(|id| self.shares_segment(**id)).nth(1).is_some());
        addresses.extend(shared);
        for daemon in daemons {
            let reached = shared.is_some() && self.shares_segment(*daemon);
            if !reached && *daemon != self.me && !filter.is_cut(*daemon) {
                addresses.extend(self.address(*daemon, channel));
            }
        }
    }

    /// The daemon that sends from an address. All of its datagrams leave by its data socket.
    pub(crate) fn daemon_at(&self, source: SocketAddr) -> Option<DaemonId> {
        let is_source =
            |location: &Location| location.address == source.ip() && location.port == source.port();
        u16::try_from(self.locations.iter().position(is_source)?).ok().map(DaemonId)
    }

    fn shares_segment(&self, daemon: DaemonId) -> bool {
        let location = self.locations.get(daemon.index());
        daemon != self.me && location.is_some_and(|location| location.segment == self.my_segment)
    }

    fn address(&self, daemon: DaemonId, channel: Channel) -> Option<SocketAddr> {
        self.locations.get(daemon.index()).map(|location| location.socket(channel))
    }
}

/// How this daemon's segment can be reached at once, going by its address: a multicast group, or
/// something that is neither a daemon nor loopback and so must be a broadcast address.
pub(crate) fn shared_address(settings: &Settings) -> Shared {
    let mine = &settings.here;
    let neighbours = settings.locations.iter().filter(|location| location.segment == mine.segment).count();
    let segment = settings.segments.get(mine.segment);
    let first = segment.and_then(|segment| segment.addresses.first());
    let (Some(IpAddr::V4(address)), IpAddr::V4(_)) = (first, mine.address) else { return Shared::None };
    let group = SocketAddr::new((*address).into(), mine.port);
    let is_daemon = settings.locations.iter().any(|location| location.address == group.ip());
    if neighbours < 2 || is_daemon || address.is_loopback() || address.is_unspecified() {
        Shared::None
    } else if address.is_multicast() {
        Shared::Multicast(group)
    } else {
        Shared::Broadcast(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Source, load_source};

    const TWO_SEGMENTS: &str = "Spread_Segment 239.0.0.1:4803 { a 127.0.0.1 b 127.0.0.2 c 127.0.0.3 }
        Spread_Segment 127.0.1.255:5000 { d 127.0.1.1 e 127.0.1.2 }";

    fn settings(text: &str, me: &str) -> Settings {
        load_source(Source::new("test", text.as_bytes()), Some(me)).expect("a good file").settings
    }

    fn resolved(routes: &Routes, target: &[u16], channel: Channel, filter: &LinkFilter) -> Vec<String> {
        let target = Target::Each(target.iter().map(|id| DaemonId(*id)).collect());
        let mut addresses = Vec::new();
        routes.resolve(&target, channel, filter, &mut addresses);
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn my_segment_is_reached_at_once_and_others_one_by_one() {
        let settings = settings(TWO_SEGMENTS, "a");
        let mut routes = Routes::new(&settings);
        let filter = LinkFilter::new(5);
        let all = [1, 2, 3, 4];
        let data = |routes: &Routes, target: &[u16]| resolved(routes, target, Channel::Data, &filter);
        assert_eq!(data(&routes, &all).len(), 4);
        routes.share("239.0.0.1:4803".parse().expect("an address"));
        assert_eq!(data(&routes, &all), ["239.0.0.1:4803", "127.0.1.1:5000", "127.0.1.2:5000"]);
        assert_eq!(data(&routes, &[1, 4]), ["127.0.0.2:4803", "127.0.1.2:5000"]);
        assert_eq!(data(&routes, &[0]), [""; 0]);
        assert_eq!(data(&routes, &[77]), [""; 0]);
        assert_eq!(
            resolved(&routes, &[1, 2], Channel::Control, &filter),
            ["127.0.0.2:4804", "127.0.0.3:4804"]
        );
    }

    #[test]
    fn a_cut_link_is_left_out_and_keeps_others_from_being_reached_at_once() {
        let settings = settings(TWO_SEGMENTS, "a");
        let mut routes = Routes::new(&settings);
        routes.share("239.0.0.1:4803".parse().expect("an address"));
        let filter = LinkFilter::new(5);
        filter.cut(DaemonId(2));
        assert_eq!(
            resolved(&routes, &[1, 2, 3], Channel::Data, &filter),
            ["127.0.0.2:4803", "127.0.1.1:5000"]
        );
    }

    #[test]
    fn a_source_address_tells_the_daemon() {
        let routes = Routes::new(&settings(TWO_SEGMENTS, "a"));
        let at = |text: &str| routes.daemon_at(text.parse().expect("an address"));
        assert_eq!(at("127.0.1.1:5000"), Some(DaemonId(3)));
        assert_eq!(at("127.0.1.1:5001"), None);
    }

    #[test]
    fn the_kind_of_address_decides_how_a_segment_is_shared() {
        let shared = |segment: &str, daemons: &str| {
            shared_address(&settings(&format!("Spread_Segment {segment} {{ {daemons} }}"), "a"))
        };
        let (two, outer) = ("a 127.0.0.1 b 127.0.0.2", "a 10.9.0.1 b 10.9.0.2");
        assert!(matches!(shared("239.0.0.1", two), Shared::Multicast(_)));
        assert!(matches!(shared("10.9.0.255", outer), Shared::Broadcast(_)));
        assert_eq!(shared("10.9.0.2", outer), Shared::None);
        assert_eq!(shared("127.0.0.255", two), Shared::None);
        assert_eq!(shared("239.0.0.1", "a 127.0.0.1"), Shared::None);
    }
}
