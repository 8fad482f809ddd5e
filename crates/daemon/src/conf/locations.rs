//! Segments and daemons: names looked up, limits checked.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};

use antiphon_wire::ids::DaemonId;
use antiphon_wire::monitor;
use antiphon_wire::names::{DAEMON_NAME_MAX_BYTES, DaemonName};

use super::diagnostic::Diagnostic;
use super::identity::fnv1a;
use super::syntax::{Address, DaemonTree, InterfaceTree, SegmentTree, Spanned, Tree};
use super::{DEFAULT_PORT, IpPreference, Location, Segment};

/// The most daemons that a cluster can have.
pub const DAEMONS_MAX: usize = 128;
const SEGMENTS_MAX: usize = 20;
const INTERFACES_MAX: usize = 10;
const SEGMENT_ADDRESSES_MAX: usize = 5;

/// Who is configured.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) segments: Vec<Segment>,
    /// The daemons in the order of the file; a [`DaemonId`] is an index.
    pub(crate) daemons: Vec<Configured>,
}

/// A daemon that is configured.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) location: Location,
    /// The number that clients see in group ids.
    pub(crate) shown_address: Ipv4Addr,
}

impl Topology {
    /// Takes segments and daemons from a file, and says what is wrong with them. `end` is the length of the
    /// file, where something that is missing altogether is reported.
    pub(crate) fn settle(tree: &Tree, end: usize, preference: IpPreference) -> (Self, Vec<Diagnostic>) {
        let mut topology = Self::default();
        let mut remarks = Vec::new();
        if let Some(segment) = tree.segments.get(SEGMENTS_MAX) {
            remarks.push(over(&segment.span, "segments", SEGMENTS_MAX));
        }
        for (index, segment) in tree.segments.iter().enumerate() {
            let port = port(segment, &mut remarks);
            for daemon in &segment.daemons {
                if let Err(error) = topology.locate(daemon, index, port, preference, &mut remarks) {
                    remarks.push(error);
                }
            }
            let addresses = segment.addresses.iter().map(|address| address.value.ip).collect();
            topology.segments.push(Segment { addresses, port });
        }
        if tree.daemons().next().is_none() {
            let label = "expected Spread_Segment address { daemon … }";
            remarks.push(Diagnostic::error(end..end, "no daemon is configured", label));
        }
        (topology, remarks)
    }

    /// Whether segments seem to be in different places, as their first daemons have addresses of different networks.
    pub(crate) fn is_wide(&self) -> bool {
        let segments = 0..self.segments.len();
        let first = |segment| self.locations().find(|location| location.segment == segment);
        let addresses = segments.filter_map(first).map(|location| location.address);
        let networks = addresses.filter(|address| !address.is_loopback()).map(network);
        networks.collect::<BTreeSet<_>>().len() > 1
    }

    /// Where each daemon is.
    pub(crate) fn locations(&self) -> impl Iterator<Item = &Location> {
        self.daemons.iter().map(|daemon| &daemon.location)
    }

    /// Adds one daemon.
    fn locate(
        &mut self,
        tree: &DaemonTree,
        segment: usize,
        port: u16,
        preference: IpPreference,
        remarks: &mut Vec<Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let name = name(&tree.name, remarks)?;
        let address = match &tree.address {
            Some(address) => address.value.ip,
            None => look_up(&tree.name, preference)?,
        };
        let of_name = || monitor::virtual_id(name.as_bytes());
        let virtual_id = tree.virtual_id.as_ref().map_or_else(of_name, |id| id.value);
        let location = Location { name, address, port, segment, virtual_id };
        remarks.extend(own_port(tree, port));
        interfaces(tree, remarks);
        let span = tree.address.as_ref().map_or(&tree.name.span, |address| &address.span);
        let at_odds = || conflict(self.locations(), &location, &tree.name.span, span);
        remarks.extend(unusable(span, &name, address).or_else(at_odds));
        if self.daemons.len() == DAEMONS_MAX {
            return Err(over(&tree.name.span, "daemons", DAEMONS_MAX));
        }
        let shown_address = shown_address(tree, &name, address, &self.daemons)?;
        self.daemons.push(Configured { location, shown_address });
        Ok(())
    }
}

/// The part of an address that hosts of one place have in common: 16 bits of IPv4, which is what existing
/// configurations go by, and 48 of IPv6, as places are given.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 16)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    }
}

fn over(span: &super::Span, what: &str, limit: usize) -> Diagnostic {
    Diagnostic::error(span.clone(), format!("too many {what}"), format!("expected at most {limit}"))
}

/// The port of a segment, which stands behind its first address.
fn port(segment: &SegmentTree, remarks: &mut Vec<Diagnostic>) -> u16 {
    if let Some(address) = segment.addresses.get(SEGMENT_ADDRESSES_MAX) {
        remarks.push(over(&address.span, "segment addresses", SEGMENT_ADDRESSES_MAX));
    }
    for address in segment.addresses.iter().skip(1) {
        let (message, label) = match address.value.port {
            Some(_) => ("a port behind a further segment address is ignored", "the first address sets it"),
            None => ("a further segment address is not used", "the first address carries what is for all"),
        };
        remarks.push(Diagnostic::warning(address.span.clone(), message, label));
    }
    let Some(first) = segment.addresses.first() else { return DEFAULT_PORT };
    if first.value.ip.is_ipv6() && first.value.ip.is_multicast() {
        let message = "an IPv6 multicast group is not used";
        remarks.push(Diagnostic::warning(first.span.clone(), message, "daemons are reached one by one"));
    }
    match first.value.port {
        None => DEFAULT_PORT,
        Some(port) if (1..u16::MAX).contains(&port) => port,
        Some(_) => {
            let label = "expected a port from 1 to 65534; the next one is used too";
            remarks.push(Diagnostic::error(first.span.clone(), "impossible port", label));
            DEFAULT_PORT
        }
    }
}

/// The port of a daemon's address, if it is not that of its segment.
fn own_port(tree: &DaemonTree, port: u16) -> Option<Diagnostic> {
    let own = |given: &&Spanned<Address>| given.value.port.is_some_and(|own| own != port);
    let given = tree.address.as_ref().filter(own)?;
    let label = format!("port {port} of its segment is used");
    Some(Diagnostic::warning(given.span.clone(), "the port of a daemon's address is ignored", label))
}

/// The name of a daemon, cut if it is too long, as full names of hosts and addresses may be.
fn name(given: &Spanned<String>, remarks: &mut Vec<Diagnostic>) -> Result<DaemonName, Diagnostic> {
    let (text, cut) = (given.value.as_str(), cut(&given.value));
    let name = DaemonName::new(cut.as_bytes()).map_err(|error| {
        Diagnostic::error(given.span.clone(), format!("`{text}` is not a daemon name"), error.to_string())
    })?;
    if cut != text {
        let label = format!("the daemon is called {name}: a name has at most {DAEMON_NAME_MAX_BYTES} bytes");
        let message = format!("the name `{text}` is too long");
        remarks.push(Diagnostic::warning(given.span.clone(), message, label));
    }
    Ok(name)
}

/// As much of a name of a daemon as counts.
pub(crate) fn cut(name: &str) -> &str {
    name.get(..DAEMON_NAME_MAX_BYTES).unwrap_or(name)
}

fn look_up(name: &Spanned<String>, preference: IpPreference) -> Result<IpAddr, Diagnostic> {
    let wrong = |why: String| {
        let message = format!("cannot find the address of `{}`", name.value);
        Diagnostic::error(name.span.clone(), message, format!("expected an address after the name; {why}"))
    };
    let found = (name.value.as_str(), 0).to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    let preferred = addresses.iter().find(|ip| ip.is_ipv6() == (preference == IpPreference::V6));
    preferred.or(addresses.first()).copied().ok_or_else(|| wrong("the name has none".to_owned()))
}

fn interfaces(tree: &DaemonTree, remarks: &mut Vec<Diagnostic>) {
    let interfaces = tree.interfaces.as_deref().unwrap_or_default();
    if let Some(extra) = interfaces.get(INTERFACES_MAX) {
        remarks.push(over(&extra.address.span, "interfaces of one daemon", INTERFACES_MAX));
    }
    for InterfaceTree { address, .. } in interfaces.iter().filter(|each| each.address.value.port.is_some()) {
        let message = "the port of an interface is ignored";
        let label = "the port of the segment is used";
        remarks.push(Diagnostic::warning(address.span.clone(), message, label));
    }
}

/// An address that is not that of one machine: others could not send to it, nor tell the daemon by it.
fn unusable(span: &super::Span, name: &DaemonName, address: IpAddr) -> Option<Diagnostic> {
    let kind = match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        _ if address.is_unspecified() => "the address that stands for any",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            "a link-local address, which means another host on each link"
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => "an IPv4 address in the form of IPv6",
        _ => return None,
    };
    let message = format!("{name} cannot have {kind}");
    Some(Diagnostic::error(
        span.clone(),
        message,
        "expected the address at which the others reach this daemon",
    ))
}

/// What a daemon has in common with an earlier one, or with its kind of address, that it must not.
fn conflict<'a>(
    others: impl Iterator<Item = &'a Location>,
    location: &Location,
    name_span: &super::Span,
    address_span: &super::Span,
) -> Option<Diagnostic> {
    let Location { name, address, port, .. } = location;
    for other in others {
        if other.name == *name {
            let message = format!("two daemons are named {name}");
            let label = if name.as_bytes().len() < DAEMON_NAME_MAX_BYTES {
                "expected a name of its own".to_owned()
            } else {
                format!("expected a name that differs in its first {DAEMON_NAME_MAX_BYTES} bytes")
            };
            return Some(Diagnostic::error(name_span.clone(), message, label));
        }
        if other.address == *address && other.port.abs_diff(*port) < 2 {
            let message = format!("{name} and {} share an address and a port", other.name);
            let label = "expected another address, or segments whose ports differ by two";
            return Some(Diagnostic::error(address_span.clone(), message, label));
        }
        if other.address.is_ipv6() != address.is_ipv6() {
            let message = format!("{name} and {} cannot send to each other", other.name);
            let label = "expected IPv4 addresses for all daemons, or IPv6 addresses for all";
            return Some(Diagnostic::error(address_span.clone(), message, label));
        }
        if other.address.is_loopback() != address.is_loopback() {
            let (inner, outer) =
                if address.is_loopback() { (name, &other.name) } else { (&other.name, name) };
            let message = format!("{inner} can be reached from its own machine only, unlike {outer}");
            let label = "expected either loopback addresses alone or none at all";
            return Some(Diagnostic::error(address_span.clone(), message, label));
        }
    }
    None
}

/// The number that clients see in group ids: the IPv4 address, or what replaces it. Daemons with one number
/// could give one id to two views, so each has its own, though their ports alone may differ.
fn shown_address(
    tree: &DaemonTree,
    name: &DaemonName,
    address: IpAddr,
    others: &[Configured],
) -> Result<Ipv4Addr, Diagnostic> {
    let is_free = |shown: &Ipv4Addr| others.iter().all(|other| other.shown_address != *shown);
    if let Some(id) = &tree.virtual_id {
        let taken = || {
            let label = "expected a number that is neither VirtualID nor address of another daemon";
            Diagnostic::error(id.span.clone(), format!("the VirtualID of {name} is taken"), label)
        };
        return Some(Ipv4Addr::from(id.value)).filter(is_free).ok_or_else(taken);
    }
    let own = match address {
        IpAddr::V4(address) => Some(address).filter(is_free),
        IpAddr::V6(_) => None,
    };
    let number = fnv1a(name.as_bytes());
    let mut from_name = (0..=DAEMONS_MAX as u32).map(|step| Ipv4Addr::from(number.wrapping_add(step)));
    // Of more numbers than there are daemons, one is free.
    Ok(own.or_else(|| from_name.find(is_free)).unwrap_or(Ipv4Addr::UNSPECIFIED))
}

/// Where this daemon listens for clients, by its stanza; without one, on all interfaces.
pub(crate) fn interfaces_of(tree: &Tree, me: DaemonId, here: &Location) -> (Vec<IpAddr>, Option<Diagnostic>) {
    let Some(stanza) = tree.daemons().nth(me.index()).and_then(|mine| mine.interfaces.as_ref()) else {
        return (vec![all_interfaces(can_bind)], None);
    };
    let mut for_clients = Vec::new();
    for interface in stanza.iter().filter(|interface| interface.clients) {
        if !for_clients.contains(&interface.address.value.ip) {
            for_clients.push(interface.address.value.ip);
        }
    }
    (for_clients, elsewhere(stanza, here))
}

/// Whether sockets can be bound to an address.
pub(crate) fn can_bind(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The address that stands for all of a machine. That of IPv6 stands for those of IPv4 too, but there are systems
/// without.
fn all_interfaces(has: fn(IpAddr) -> bool) -> IpAddr {
    let (four, six) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
    if has(six) { six } else { four }
}

/// The interface at which daemons are to be heard although it is not the daemon's own address.
fn elsewhere(stanza: &[InterfaceTree], here: &Location) -> Option<Diagnostic> {
    let serves = |Address { ip, .. }: Address| ip == here.address || ip.is_unspecified();
    let elsewhere = stanza.iter().find(|each| each.daemons && !serves(each.address.value))?;
    let message = "an interface for daemons other than the daemon's own address is not used";
    let label = format!("daemons are heard on {}", here.address);
    let lettered = stanza.iter().any(|each| each.daemons && !each.clients);
    lettered.then(|| Diagnostic::warning(elsewhere.address.span.clone(), message, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_ipv6_has_all_interfaces_of_ipv4() {
        assert_eq!(all_interfaces(|_| true), Ipv6Addr::UNSPECIFIED);
        assert_eq!(all_interfaces(|address| address.is_ipv4()), Ipv4Addr::UNSPECIFIED);
    }
}
