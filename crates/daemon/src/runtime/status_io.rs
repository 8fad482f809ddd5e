//! The socket at which a daemon tells where it stands.
//!
//! It lies beside the clients' Unix socket, under the same name with `.status` behind it, and only
//! the user who runs the daemon can open it. Who connects is told at once, in one line of JSON, and
//! the connection is closed. Nothing is read, so nothing can be asked that is not answered.

use std::io::{self, Write as _};
use std::path::PathBuf;

use antiphon_proto::Node;
use antiphon_proto::time::Instant;
use mio::{Registry, Token};

use super::accept::{Consequence, PAUSE, consequence};
use super::listen::Listener;
use super::stream::Stream;
use super::{accept, session_io};
use crate::conf::Settings;
use crate::status::{Counted, StatusBoard, StatusReport};
use crate::transport::TransportStats;

/// Poll token of the first of these sockets: behind those of the clients' listeners.
const FIRST_TOKEN: usize = 1 << 12;
/// Who is told in one turn.
const TURN_CONNECTIONS: usize = 4;

const _: () = assert!(accept::FIRST_TOKEN < FIRST_TOKEN && FIRST_TOKEN < session_io::FIRST_TOKEN);

/// The listening sockets, one for each directory that has a socket for clients.
#[derive(Debug)]
pub(crate) struct StatusIo {
    listeners: Vec<Listener>,
    paused_until: Option<Instant>,
}

impl StatusIo {
    /// Opens the sockets. A daemon that can not tell where it stands serves its clients all the same.
    pub(crate) fn open(settings: &Settings) -> Self {
        let path = |dir: &PathBuf| Some(dir.join(format!("{}.status", settings.my_place()?.port)));
        let open = |path: PathBuf| match Listener::private_unix(&path) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!("nobody can ask for the status: {error}");
                None
            }
        };
        let listeners = settings.unix_dirs.iter().filter_map(path).filter_map(open).collect();
        Self { listeners, paused_until: None }
    }

    /// Adds the sockets to the poller.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.register(registry, Token(FIRST_TOKEN + index))?;
        }
        Ok(())
    }

    /// Takes note of what the poller said; false when it was about another socket.
    pub(crate) fn on_ready(&mut self, token: Token) -> bool {
        let index = token.0.checked_sub(FIRST_TOKEN);
        match index.and_then(|index| self.listeners.get_mut(index)) {
            Some(listener) => {
                listener.ready = true;
                true
            }
            None => false,
        }
    }

    /// Whether someone may be waiting, and may be told.
    pub(crate) fn has_work(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// When telling goes on after a pause.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Tells those who ask.
    pub(crate) fn serve(
        &mut self,
        board: &StatusBoard,
        node: &Node,
        transport: &TransportStats,
        accepts_refused: u64,
        now: Instant,
    ) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        for listener in &mut self.listeners {
            for _ in 0..TURN_CONNECTIONS {
                if !listener.ready {
                    break;
                }
                match listener.accept() {
                    Ok((stream, _)) => {
                        let uptime_ms =
                            u64::try_from(now.since(Instant::default()).as_millis()).unwrap_or(u64::MAX);
                        let counted = Counted { core: &node.stats(), transport, accepts_refused };
                        tell(stream, &board.report(uptime_ms, &node.status(), counted));
                    }
                    Err(error) => match consequence(&error) {
                        Consequence::Wait => listener.ready = false,
                        Consequence::Next => {}
                        // Who waits is still there, and the poller will not tell of it again.
                        Consequence::Pause => {
                            tracing::debug!("cannot tell the status for now: {error}");
                            self.paused_until = Some(now + PAUSE);
                            return;
                        }
                    },
                }
            }
        }
    }
}

/// The buffer of a fresh socket takes a report whole, as it is bounded; whoever is gone again misses nothing.
fn tell(mut stream: Stream, report: &StatusReport) {
    let text = serde_json::to_string(report).map_err(io::Error::from);
    if let Err(error) = text.and_then(|text| stream.write_all(format!("{text}\n").as_bytes())) {
        tracing::debug!("the status was not taken: {error}");
    }
}
