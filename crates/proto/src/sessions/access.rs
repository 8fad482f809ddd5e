//! Who may connect.

use std::net::{IpAddr, Ipv4Addr};

use antiphon_wire::client::handshake::{AuthChoice, AuthMethod};

use crate::io::Origin;

/// One line of the access list of the `IP` method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessRule {
    /// TCP clients from this host: from 127.0.0.0/8 or ::1.
    Local,
    /// Clients from a network.
    Network {
        /// Its address.
        address: Ipv4Addr,
        /// How many leading bits count, 0 to 32.
        prefix_bits: u8,
    },
}

impl AccessRule {
    /// Clients of the Unix socket, who count as coming from 0.0.0.0.
    pub const UNIX: Self = Self::Network { address: Ipv4Addr::UNSPECIFIED, prefix_bits: 32 };

    /// Whether the rule lets in a client from there. One of IPv6 counts as the IPv4 address that it maps, if
    /// it maps one. A network of 0 bits is everyone, unlike in the reference.
    fn admits(self, origin: Origin) -> bool {
        let client = match origin {
            Origin::Unix => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Origin::Tcp(address) => address.to_canonical(),
        };
        match (self, client) {
            (Self::Network { prefix_bits: 0, .. }, _) => true,
            (Self::Local, client) => client.is_loopback(),
            (Self::Network { .. }, IpAddr::V6(_)) => false,
            (Self::Network { address, prefix_bits }, IpAddr::V4(client)) => {
                Self::network_of(client, prefix_bits) == address
            }
        }
    }

    /// The network of so many bits that an address is of.
    #[must_use]
    pub fn network_of(address: Ipv4Addr, prefix_bits: u8) -> Ipv4Addr {
        let host_bits = 32_u32.saturating_sub(u32::from(prefix_bits));
        Ipv4Addr::from(address.to_bits() & u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

/// Which methods a client may choose and which it must pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authentication {
    /// Methods offered to clients.
    pub allowed: Vec<AuthMethod>,
    /// Methods checked in addition to what the client chose.
    pub required: Vec<AuthMethod>,
    /// Who passes the `IP` method; nobody when empty.
    pub access: Vec<AccessRule>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { allowed: vec![AuthMethod::Null], required: Vec::new(), access: Vec::new() }
    }
}

impl Authentication {
    /// Names of the methods offered to clients, in their order.
    pub(super) fn offered(&self) -> Vec<&'static str> {
        let offered = AuthMethod::ALL.into_iter().filter(|method| self.allowed.contains(method));
        offered.map(AuthMethod::name).collect()
    }

    /// Whether a client that made that choice may come in: it chose at least one method, only
    /// allowed ones, and passes all of them and all required ones.
    pub(super) fn admits(&self, choice: &AuthChoice, origin: Origin) -> bool {
        let chosen: Option<Vec<AuthMethod>> = choice.methods().map(AuthMethod::from_name).collect();
        let chosen = chosen.unwrap_or_default();
        !chosen.is_empty()
            && chosen.iter().all(|method| self.allowed.contains(method))
            && chosen.iter().chain(&self.required).all(|method| self.passes(*method, origin))
    }

    /// Whether a client too old to choose may come in: by `IP` if that is allowed, else without
    /// proof if that is. Required methods do not count here.
    pub(super) fn admits_old_client(&self, origin: Origin) -> bool {
        let method =
            [AuthMethod::Ip, AuthMethod::Null].into_iter().find(|method| self.allowed.contains(method));
        method.is_some_and(|method| self.passes(method, origin))
    }

    fn passes(&self, method: AuthMethod, origin: Origin) -> bool {
        match method {
            AuthMethod::Null => true,
            AuthMethod::Ip => self.access.iter().any(|rule| rule.admits(origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: [u8; 4]) -> Origin {
        Origin::Tcp(IpAddr::from(address))
    }

    fn network(address: [u8; 4], prefix_bits: u8) -> AccessRule {
        AccessRule::Network { address: Ipv4Addr::from(address), prefix_bits }
    }

    #[test]
    fn rules_let_in_whom_they_name() {
        assert!(AccessRule::UNIX.admits(Origin::Unix) && !AccessRule::UNIX.admits(tcp([127, 0, 0, 1])));
        assert!(
            AccessRule::Local.admits(tcp([127, 9, 9, 9])) && !AccessRule::Local.admits(tcp([10, 0, 0, 1]))
        );
        let six = |address: &str| Origin::Tcp(address.parse().expect("an address"));
        assert!(AccessRule::Local.admits(six("::1")) && AccessRule::Local.admits(six("::ffff:127.0.0.1")));
        assert!(!AccessRule::Local.admits(six("fe80::1")) && !network([0, 0, 0, 1], 1).admits(six("::1")));
        assert!(network([10, 1, 0, 0], 16).admits(tcp([10, 1, 200, 3])));
        assert!(!network([10, 1, 0, 0], 16).admits(tcp([10, 2, 0, 1])));
        assert!(network([10, 1, 2, 3], 32).admits(tcp([10, 1, 2, 3])));
        assert!(!network([127, 0, 0, 1], 8).admits(tcp([127, 0, 0, 1])), "host bits of the rule are set");
        assert!(network([0, 0, 0, 0], 0).admits(tcp([192, 168, 1, 1])), "/0 is everyone");
        assert!(network([0, 0, 0, 0], 0).admits(Origin::Unix), "also on this host");
        assert!(!network([127, 0, 0, 0], 8).admits(Origin::Unix) && !AccessRule::Local.admits(Origin::Unix));
    }

    #[test]
    fn a_choice_must_be_allowed_and_passed_like_what_is_required() {
        let choice = |methods: &[&str]| AuthChoice::new(methods);
        let open = Authentication::default();
        assert!(open.admits(&choice(&["NULL"]), Origin::Unix));
        assert!(open.admits(&choice(&["NULL", "NULL"]), Origin::Unix));
        for refused in [&["IP"][..], &["NOPE"], &[], &["NULL", "NOPE"]] {
            assert!(!open.admits(&choice(refused), Origin::Unix), "{refused:?}");
        }
        let required = Authentication { required: vec![AuthMethod::Ip], ..Authentication::default() };
        assert!(!required.admits(&choice(&["NULL"]), tcp([127, 0, 0, 1])));
        assert!(required.admits_old_client(tcp([127, 0, 0, 1])));
        let both = Authentication {
            allowed: vec![AuthMethod::Ip, AuthMethod::Null],
            required: Vec::new(),
            access: vec![AccessRule::Local],
        };
        assert_eq!(both.offered(), ["NULL", "IP"]);
        assert!(both.admits(&choice(&["NULL", "IP"]), tcp([127, 0, 0, 1])));
        assert!(!both.admits_old_client(tcp([10, 0, 0, 1])));
    }
}
