//! Reading the configuration again while the daemon runs.
//!
//! The file is read aside, as names in it may have to be looked up, for longer than others wait for the token.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use antiphon_proto::Input;
use antiphon_proto::time::Instant;
use antiphon_wire::ids::ClusterHash;
use mio::Waker;

use super::{Daemon, StopHandle};
use crate::conf::{Change, Keys, LoadError, Loaded, Settings};

/// The least time from one reading to the next for a monitor: each asks twice, and anyone may send what they send.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the configuration.
type Load = Arc<dyn Fn() -> Result<Loaded, LoadError> + Send + Sync>;

/// What came of reading.
struct Reread {
    loaded: Result<Loaded, LoadError>,
    /// The keys, which are read as well if a signal asked and the daemon has any.
    keys: Option<Result<Keys, String>>,
}

/// Who asks for the configuration to be read again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Asker {
    /// A monitor.
    Monitor,
    /// SIGHUP.
    Signal,
}

/// Reads the configuration again, once at a time.
pub(super) struct Reloader {
    load: Option<Load>,
    waker: Arc<Waker>,
    /// Who asked, until reading begins.
    asked: Option<Asker>,
    /// For whom it is being read, and what brings the result.
    reading: Option<(Asker, Receiver<Reread>)>,
    /// When reading began last.
    begun: Option<Instant>,
    /// What came of reading last.
    last: Option<String>,
    /// What is to take effect once all daemons of the ring have it.
    next: Option<Settings>,
}

impl Reloader {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { load: None, waker, asked: None, reading: None, begun: None, last: None, next: None }
    }

    /// Lets it be read as soon as possible.
    fn ask(&mut self, asker: Asker) {
        if asker == Asker::Signal && self.reading.is_some() {
            tracing::info!("the configuration is still being read, and will be read again");
        }
        self.asked = self.asked.max(Some(asker));
    }

    /// When to look whether it is to be read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let asker = self.asked.filter(|_| self.reading.is_none())?;
        let earliest = self.begun.filter(|_| asker == Asker::Monitor).map(|begun| begun + PAUSE);
        Some(earliest.unwrap_or_default())
    }

    fn begin_if_due(&mut self, now: Instant, key_file: Option<&Path>) {
        if self.deadline().is_some_and(|deadline| deadline <= now)
            && let Some(asker) = self.asked.take()
        {
            self.begun = Some(now);
            let key_file = key_file.filter(|_| asker == Asker::Signal);
            self.reading = self.begin(asker, key_file).map(|receiver| (asker, receiver));
        }
    }

    fn begin(&self, asker: Asker, key_file: Option<&Path>) -> Option<Receiver<Reread>> {
        let Some(load) = self.load.clone() else {
            if asker == Asker::Signal {
                tracing::warn!("the configuration cannot be read again, as it came from no file");
            }
            return None;
        };
        let ((sender, receiver), waker) = (mpsc::channel(), Arc::clone(&self.waker));
        let key_file = key_file.map(Path::to_path_buf);
        let read = move || {
            let keys = key_file.map(|path| Keys::read(&path));
            // Who does not listen any more has stopped.
            if sender.send(Reread { loaded: load(), keys }).is_ok()
                && let Err(error) = waker.wake()
            {
                tracing::warn!("cannot wake the daemon for its configuration: {error}");
            }
        };
        match thread::Builder::new().name("reload".to_owned()).spawn(read) {
            Ok(_) => Some(receiver),
            Err(error) => {
                tracing::error!("cannot read the configuration again: {error}");
                None
            }
        }
    }

    /// What was read, once it is; nothing if it is for a monitor and the same as the last time.
    fn take(&mut self) -> Option<Reread> {
        let (asker, receiver) = self.reading.as_ref()?;
        let (asker, read) = (*asker, receiver.try_recv());
        if matches!(read, Err(TryRecvError::Empty)) {
            return None;
        }
        self.reading = None;
        let read = read.ok()?;
        let came = match &read.loaded {
            Ok(loaded) => format!("{} {}", loaded.settings.config.cluster.hash, loaded.source.text),
            Err(LoadError::Rejected(rejected)) => rejected.source.text.clone(),
            Err(error) => error.to_string(),
        };
        let is_known = self.last.as_ref() == Some(&came);
        self.last = Some(came);
        Some(read).filter(|_| asker == Asker::Signal || !is_known)
    }
}

impl Daemon {
    /// Lets monitors, and SIGHUP after [`Daemon::obey_signals`], have the configuration read again, by `load`, which must
    /// give settings of this same daemon. It is called in a thread of its own and may block. Daemons that are added or
    /// left out at the end take effect without a restart, once all members of the ring have read the same; SIGHUP has the
    /// keys read again as well.
    pub fn reload_with(&mut self, load: impl Fn() -> Result<Loaded, LoadError> + Send + Sync + 'static) {
        self.reloader.load = Some(Arc::new(load));
    }

    /// Lets the configuration be read again; a signal also makes those sockets again that nobody finds any more.
    pub(super) fn ask_to_reload(&mut self, asker: Asker) {
        if asker == Asker::Signal {
            let registry = self.poll.registry();
            self.acceptor.listeners.restore(registry);
            self.status.listeners.restore(registry);
        }
        self.reloader.ask(asker);
    }

    /// Has the configuration read if somebody asked, and takes note of what was read.
    pub(super) fn serve_reload(&mut self, stop: &StopHandle) {
        self.reloader.begin_if_due(self.now, self.settings.key_file.as_deref());
        let Some(Reread { loaded, keys }) = self.reloader.take() else { return };
        if let Some(Err(error)) = keys.map(|keys| self.transport.change_keys(keys, &self.settings)) {
            tracing::error!("the keys stay as they were: {error}");
        }
        match loaded {
            Ok(loaded) => self.reload(loaded),
            Err(error) if self.settings.is_left_out(&error) => {
                tracing::warn!("this daemon leaves: {error}");
                stop.stop_once();
            }
            Err(error) => tracing::error!("the configuration stays as it was: {}", error.in_one_line()),
        }
    }

    fn reload(&mut self, loaded: Loaded) {
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{}", loaded.source.line(warning)));
        let (daemons, hash) = (loaded.settings.locations.len(), loaded.settings.config.cluster.hash);
        match self.settings.change_to(&loaded.settings) {
            Ok(Change::Nothing) => {
                tracing::info!("the daemons of the configuration are the same; all else takes a restart");
                self.go_over_to(loaded.settings);
            }
            Ok(Change::Daemons) => match self.transport.prepare(&loaded.settings) {
                Ok(()) => {
                    tracing::info!(
                        "{daemons} daemons (hash {hash}), once all of the ring have read the same"
                    );
                    self.go_over_to(loaded.settings);
                }
                Err(error) => {
                    // Another time it may do.
                    self.reloader.last = None;
                    tracing::error!("the configuration stays as it was: {error}");
                }
            },
            Err(why) => tracing::error!(
                "the configuration stays as it was, because {why}; add daemons, and leave them out, \
                 at the end of the file; or restart this daemon if the others have that file already, and all if not"
            ),
        }
    }

    fn go_over_to(&mut self, next: Settings) {
        let cluster = next.config.cluster.clone();
        self.reloader.next = Some(next);
        self.node.handle(self.now, Input::Reload(cluster), &mut self.out);
        self.act();
    }

    /// The core goes over to another list of daemons, and so do all others here.
    pub(super) fn adopt(&mut self, cluster: ClusterHash) {
        let Some(next) = self.reloader.next.take_if(|next| next.config.cluster.hash == cluster) else {
            return;
        };
        let was_alone = self.settings.locations.len() == 1;
        self.settings.take_daemons_of(next);
        self.transport.adopt(&self.settings);
        if was_alone {
            self.transport.report_buffers(&self.settings);
        }
        self.monitor.adopt(&self.settings);
        self.log.adopt(&self.settings.config.cluster);
        self.board.adopt(&self.settings.config.cluster);
        if let Some(links) = &mut self.test_links {
            links.adopt(&self.settings);
        }
        let names: Vec<String> = self.settings.locations.iter().map(|each| each.name.to_string()).collect();
        tracing::info!("the daemons are now {} (hash {cluster})", names.join(", "));
    }
}
