//! Who may connect.

/// A way for clients to prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AuthMethod {
    /// No proof.
    Null,
    /// The address that the client connects from.
    Ip,
}

/// One line of the access list of the `IP` method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessRule {
    /// Clients of the Unix socket.
    Unix,
    /// TCP clients from 127.0.0.0/8.
    Local,
    /// TCP clients from a network.
    Network {
        /// Its address.
        address: std::net::Ipv4Addr,
        /// How many leading bits count, 0 to 32.
        prefix_bits: u8,
    },
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
