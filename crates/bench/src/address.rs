//! Where a daemon is.

use std::path::Path;

use antiphon::Connector;

/// How to reach a daemon: `PORT@HOST` by TCP, `PORT` by the Unix socket of that name in
/// `unix_directory`, or the path of a Unix socket, `/DIRECTORY/PORT`.
pub fn connector(address: &str, unix_directory: &Path) -> Connector {
    match address.rsplit_once('/') {
        Some((directory, port)) => Connector::new(port).unix_directory(format!("{directory}/")),
        None => Connector::new(address).unix_directory(unix_directory),
    }
}
