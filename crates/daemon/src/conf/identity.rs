//! Which daemon this is, and whether two daemons have the same idea of the cluster.

use std::fmt::Write as _;
use std::net::{IpAddr, UdpSocket};

use antiphon_wire::ids::DaemonId;

use super::locations::Topology;
use super::{LoadError, Location};

/// The daemon with that name, or else the first whose address this machine has, and where it is.
pub(crate) fn choose(locations: &[Location], name: Option<&str>) -> Result<(DaemonId, Location), LoadError> {
    let is_me = |location: &Location| match name {
        Some(name) => location.name.as_bytes() == name.as_bytes(),
        None => is_local(location.address),
    };
    let mine = (0..).map(DaemonId).zip(locations).find(|(_, location)| is_me(location));
    mine.map(|(id, location)| (id, location.clone())).ok_or_else(|| {
        let names: Vec<String> = locations.iter().map(|location| location.name.to_string()).collect();
        let known = names.join(", ");
        match name {
            Some(name) => LoadError::UnknownDaemon { name: name.to_owned(), known },
            None => LoadError::NotHere { known },
        }
    })
}

/// Whether this machine has the address: only then can a socket be bound to it.
pub(crate) fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// A number that is the same for daemons which agree on the segments and on the names, addresses
/// and order of the daemons. Daemons with different numbers ignore each other.
pub(crate) fn cluster_hash(topology: &Topology, with_segments: bool) -> u32 {
    let mut text = String::new();
    for (index, segment) in topology.segments.iter().enumerate() {
        let addresses = if with_segments { segment.addresses.as_slice() } else { &[] };
        // Writing to a string can not fail.
        let _ = writeln!(text, "segment {addresses:?} {}", segment.port);
        let locations = topology.locations.iter().zip(&topology.daemons);
        for (location, daemon) in locations.filter(|(location, _)| location.segment == index) {
            let _ = writeln!(text, "daemon {} {} {}", location.name, location.address, daemon.address);
        }
    }
    fnv1a(text.as_bytes())
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
    fn loopback_is_local_and_documentation_addresses_are_not() {
        assert!(is_local(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_local(IpAddr::from([192, 0, 2, 1])));
    }
}
