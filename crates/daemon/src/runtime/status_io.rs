//! The socket at which a daemon tells where it stands.
//!
//! It lies beside the clients' Unix socket, under the same name with `.status` behind it, and only
//! the user who runs the daemon can open it. Who connects is told at once, in one line of JSON, and
//! the connection is closed. Nothing is read, so nothing can be asked that is not answered.

use std::io::{self, Write as _};
use std::path::PathBuf;

use antiphon_proto::time::Instant;

use super::listen::Listener;
use super::listeners::Listeners;
use super::stream::Stream;
use super::{accept, listen, session_io};
use crate::StartError;
use crate::conf::Settings;
use crate::status::{StatusReport, socket_path};

/// Poll token of the first of these sockets: behind those of the clients' listeners.
const FIRST_TOKEN: usize = 1 << 12;
/// Who is told in one turn.
const TURN_CONNECTIONS: usize = 4;

const _: () = assert!(accept::FIRST_TOKEN < FIRST_TOKEN && FIRST_TOKEN < session_io::FIRST_TOKEN);

/// The listening sockets, one for each directory that has a socket for clients.
#[derive(Debug)]
pub(crate) struct StatusIo {
    pub(crate) listeners: Listeners,
}

impl StatusIo {
    /// Opens the sockets. A daemon that cannot tell where it stands serves its clients all the same.
    pub(crate) fn open(settings: &Settings) -> Self {
        let open = |path: PathBuf| match Listener::private_unix(&path) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!("{}", cannot_ask(&error));
                None
            }
        };
        let listeners = paths(settings).filter_map(open).collect();
        Self { listeners: Listeners::new(listeners, FIRST_TOKEN, TURN_CONNECTIONS, |_| Ok(())) }
    }

    /// Tells those who ask what `report` gives.
    pub(crate) fn serve(&mut self, now: Instant, report: impl Fn() -> StatusReport) {
        let refused = self.listeners.accept(now, true, |stream, _| {
            tell(stream, &report());
            Ok(true)
        });
        if let Some(error) = refused {
            tracing::debug!("cannot tell the status for now: {error}");
        }
    }
}

/// Where the sockets are to lie.
fn paths(settings: &Settings) -> impl Iterator<Item = PathBuf> {
    settings.unix_dirs.iter().map(|dir| socket_path(dir, settings.here.port))
}

/// What is odd about the sockets, as far as it can be told without opening them.
pub(crate) fn remarks(settings: &Settings) -> Vec<String> {
    let odd = |path: PathBuf| listen::check_length(&path).err();
    paths(settings).filter_map(odd).map(|error| cannot_ask(&error)).collect()
}

fn cannot_ask(error: &StartError) -> String {
    format!("nobody can ask for the status: {error}")
}

/// The buffer of a fresh socket takes a report whole, as it is bounded; whoever is gone again misses nothing.
fn tell(mut stream: Stream, report: &StatusReport) {
    let text = serde_json::to_string(report).map_err(io::Error::from);
    if let Err(error) = text.and_then(|text| stream.write_all(format!("{text}\n").as_bytes())) {
        tracing::debug!("the status was not taken: {error}");
    }
}
