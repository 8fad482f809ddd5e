//! Which daemon this is, and whether two daemons have the same idea of the cluster.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use antiphon_wire::ids::{ClusterHash, DaemonId};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockaddrStorage;

use super::locations::{Configured, Topology};
use super::{LoadError, Location};

/// The daemon with that name, or else the first whose address this machine has, and where it is.
pub(crate) fn choose(topology: &Topology, name: Option<&str>) -> Result<(DaemonId, Location), LoadError> {
    let mut daemons = (0..).map(DaemonId).zip(topology.locations());
    let mine = match name {
        Some(name) => daemons.find(|(_, location)| location.name.as_bytes() == name.as_bytes()),
        None => {
            let here = OwnAddresses::read().map_err(LoadError::Addresses)?;
            daemons.find(|(_, location)| here.has(location.address))
        }
    };
    mine.map(|(id, location)| (id, location.clone())).ok_or_else(|| {
        let known = topology.locations().map(|location| location.name).collect();
        match name {
            Some(name) => LoadError::UnknownDaemon { name: name.to_owned(), known },
            None => LoadError::NotHere { known },
        }
    })
}

/// The addresses that this machine has. Whether a socket can be bound to an address does not tell: systems can be
/// told to allow that for any.
#[derive(Debug)]
pub(crate) struct OwnAddresses(Vec<IpAddr>);

impl OwnAddresses {
    /// Asks the system for those of all interfaces.
    pub(crate) fn read() -> io::Result<Self> {
        let addresses = getifaddrs()?.filter_map(|interface| interface.address.as_ref().and_then(ip));
        Ok(Self(addresses.collect()))
    }

    /// The number of the interface that has the address, if one has.
    pub(crate) fn interface_of(address: IpAddr) -> Option<u32> {
        let mut interfaces = getifaddrs().ok()?;
        let has_it = |interface: &InterfaceAddress| interface.address.as_ref().and_then(ip) == Some(address);
        if_nametoindex(interfaces.find(has_it)?.interface_name.as_str()).ok()
    }

    /// Whether the address is one of this machine. Every machine has all loopback addresses, though its interface
    /// shows one.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.contains(&address)
    }
}

/// The IP address of an interface's address, which may be of another kind.
fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// A number that is the same for daemons which agree on the segments and on the names, addresses
/// and order of the daemons. Daemons with different numbers ignore each other.
pub(crate) fn cluster_hash(topology: &Topology, with_segments: bool, wide_area: bool) -> ClusterHash {
    // A daemon with the times of another network would break the ring of the others again and again.
    let mut text = if wide_area { "wide area\n".to_owned() } else { String::new() };
    for (index, segment) in topology.segments.iter().enumerate() {
        let addresses = if with_segments { segment.addresses.as_slice() } else { &[] };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "segment {addresses:?} {}", segment.port);
        let daemons = topology.daemons.iter();
        for Configured { location, shown_address } in daemons.filter(|each| each.location.segment == index) {
            let _ = writeln!(text, "daemon {} {} {shown_address}", location.name, location.address);
        }
    }
    ClusterHash(fnv1a(text.as_bytes()))
}

/// The 32-bit FNV-1a hash.
pub(crate) fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_machine_has_all_loopback_addresses_and_those_of_its_interfaces() {
        let own = OwnAddresses::read().expect("told");
        assert!(own.0.contains(&[127, 0, 0, 1].into()), "{own:?}");
        let has = |address: &str| own.has(address.parse().expect("an address"));
        assert!(has("127.0.0.1") && has("127.1.2.3") && has("::1"));
        assert!(!has("192.0.2.1") && !has("2001:db8::1"));
        let loopback = if_nametoindex("lo").expect("every machine has it");
        assert_eq!(OwnAddresses::interface_of([127, 0, 0, 1].into()), Some(loopback));
        assert_eq!(OwnAddresses::interface_of([192, 0, 2, 1].into()), None);
    }
}
