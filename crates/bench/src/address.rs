//! Where daemons are, and how they let clients in.

use std::path::PathBuf;

use antiphon::{AuthMethod, Connector};
use antiphon_wire::client::flags::UNIX_DIRECTORY;

/// What the addresses of daemons leave open.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The directory of Unix sockets, for addresses without a host.
    pub unix_directory: PathBuf,
    /// How clients prove who they are; several where a daemon wants several.
    pub auth: Vec<AuthMethod>,
}

impl Default for Reach {
    fn default() -> Self {
        Self { unix_directory: UNIX_DIRECTORY.into(), auth: vec![AuthMethod::Null] }
    }
}

impl Reach {
    /// How to reach a daemon: `PORT@HOST` by TCP, `PORT` by the Unix socket of that name in the directory, or
    /// the path of a Unix socket, `/DIRECTORY/PORT`.
    pub fn connector(&self, address: &str) -> Connector {
        let connector = match address.rsplit_once('/') {
            Some((directory, port)) => Connector::new(port).unix_directory(format!("{directory}/")),
            None => Connector::new(address).unix_directory(&self.unix_directory),
        };
        connector.auth(&self.auth)
    }
}
