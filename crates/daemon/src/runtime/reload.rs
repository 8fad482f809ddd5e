//! Reading the configuration again while the daemon runs.
//!
//! The file is read aside, as names in it may have to be looked up, for longer than others wait for the token.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use antiphon_proto::Input;
use antiphon_proto::config::Cluster;
use antiphon_proto::time::Instant;
use mio::Waker;

use super::{Daemon, StopHandle};
use crate::conf::{Change, LoadError, Loaded, Settings};

/// Monitors ask twice, and anyone may send what they send: within so long after the last time it is not read for them.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of reading.
type Read = Result<Loaded, LoadError>;

/// Reads the configuration.
type Reader = Arc<dyn Fn() -> Read + Send + Sync>;

/// Who asks for the configuration to be read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// SIGHUP.
    Signal,
    /// A monitor.
    Monitor,
}

/// Reads the configuration again, once at a time.
pub(super) struct Reloader {
    reader: Option<Reader>,
    waker: Arc<Waker>,
    sender: Sender<Read>,
    receiver: Receiver<Read>,
    /// When it was begun to be read last.
    begun: Option<Instant>,
    is_reading: bool,
    /// Whether it may have changed since.
    is_asked_again: bool,
    /// What is to take effect once all daemons of the ring have it.
    next: Option<Settings>,
}

impl Reloader {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self {
            reader: None,
            waker,
            sender,
            receiver,
            begun: None,
            is_reading: false,
            is_asked_again: false,
            next: None,
        }
    }

    /// Begins to read, or notes that it has to be done again.
    fn ask(&mut self, asker: Asker, now: Instant) {
        let is_repetition = self.begun.is_some_and(|begun| now.since(begun) < PAUSE);
        if asker == Asker::Monitor && is_repetition {
            return;
        }
        self.is_asked_again = self.is_reading;
        if !self.is_reading {
            self.begun = Some(now);
            self.is_reading = self.begin();
        }
    }

    /// Returns whether there is something to wait for.
    fn begin(&self) -> bool {
        let Some(reader) = self.reader.clone() else {
            tracing::warn!("the configuration can not be read again, as it came from no file");
            return false;
        };
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        let read = move || {
            // Who does not listen any more has stopped.
            if sender.send(reader()).is_ok()
                && let Err(error) = waker.wake()
            {
                tracing::warn!("cannot wake the daemon for its configuration: {error}");
            }
        };
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(read);
        if let Err(error) = &thread {
            tracing::error!("cannot read the configuration again: {error}");
        }
        thread.is_ok()
    }

    fn take(&mut self) -> Option<Read> {
        let read = self.receiver.try_recv().ok()?;
        self.is_reading = false;
        Some(read)
    }
}

impl Daemon {
    /// Lets SIGHUP, and monitors, have the configuration read again, in this way. Daemons that it adds or leaves out at
    /// its end take effect without a restart, once all members of the ring have read it.
    pub fn reload_with(&mut self, read: impl Fn() -> Result<Loaded, LoadError> + Send + Sync + 'static) {
        self.reloader.reader = Some(Arc::new(read));
    }

    pub(super) fn ask_to_reload(&mut self, asker: Asker) {
        self.reloader.ask(asker, self.now);
    }

    /// Takes note of what was read.
    pub(super) fn serve_reload(&mut self, stop: &StopHandle) {
        let Some(read) = self.reloader.take() else { return };
        if std::mem::take(&mut self.reloader.is_asked_again) {
            self.reloader.ask(Asker::Signal, self.now);
        }
        match read {
            Ok(loaded) => self.reload(loaded, stop),
            Err(LoadError::UnknownDaemon { name, known }) => {
                tracing::warn!(
                    "the configuration has no daemon named {name} any more, only {known}; it leaves"
                );
                leave(stop);
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }

    fn reload(&mut self, loaded: Loaded, stop: &StopHandle) {
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{}", loaded.source.line(warning)));
        match self.settings.change_to(&loaded.settings) {
            Ok(Change::Nothing) => {
                tracing::info!("the daemons of the configuration are the same; all else takes a restart");
                self.go_over_to(loaded.settings);
            }
            Ok(Change::Daemons) => {
                let (daemons, hash) = (loaded.settings.locations.len(), loaded.settings.config.cluster);
                tracing::info!(
                    "{daemons} daemons (hash {hash:08x}), once all daemons here have read the same"
                );
                self.go_over_to(loaded.settings);
            }
            Ok(Change::Moved) => {
                let to = loaded.settings.here.address;
                tracing::warn!("this daemon has the address {to} now; it leaves, to be started there");
                leave(stop);
            }
            Err(why) => tracing::error!(
                "the configuration stays as it was, because {why}; add daemons, and leave them out, \
                 at the end of the file, or restart all daemons"
            ),
        }
    }

    fn go_over_to(&mut self, next: Settings) {
        let cluster = Cluster { daemons: next.config.daemons.clone(), hash: next.config.cluster };
        self.reloader.next = Some(next);
        self.node.handle(self.now, Input::Reload(cluster), &mut self.out);
        self.act();
    }

    /// The core goes over to another list of daemons, and so do all others here.
    pub(super) fn adopt(&mut self, cluster: u32) {
        let Some(next) = self.reloader.next.take_if(|next| next.config.cluster == cluster) else { return };
        self.settings.take_daemons_of(next);
        self.transport.adopt(&self.settings);
        self.monitor.adopt(&self.settings);
        self.log.adopt(&self.settings.config);
        self.board.adopt(&self.settings.config);
        if let Some(links) = &mut self.test_links {
            links.adopt(&self.settings);
        }
        let names: Vec<String> = self.settings.locations.iter().map(|each| each.name.to_string()).collect();
        tracing::info!("the daemons are now {} (hash {cluster:08x})", names.join(", "));
    }
}

/// Asked twice, a daemon would leave without a goodbye.
fn leave(stop: &StopHandle) {
    if stop.requests() == 0 {
        stop.stop();
    }
}
