//! The loop: the only place with a clock, and the only thread that touches the core.
//!
//! One turn:
//!
//! ```text
//! wait      until a socket is ready or the core's deadline has come; the only call that blocks (`BusyPoll`: none)
//! read      the clock, once
//! ring      batches of datagrams, the preferred channel first; what the core wants sent leaves after each
//! timers    if due, and only after the sockets have been emptied
//! monitors  what came from them among the datagrams
//! clients   accept and read, as long as the core takes submissions
//! write     once to each session that has something, so much at most
//! go on     with what was put off until all were written to
//! ```
//!
//! Work per turn is bounded for each source, and what is left over is remembered, because the poller
//! tells of a change only once. An idle turn of the token costs one wait, one receive and one send. While
//! messages wait for windows, lone packets do not wake a daemon that sleeps ([`crate::transport`], moderation).

mod accept;
mod clock;
mod descriptors;
mod listen;
mod listeners;
mod reload;
mod ring_io;
mod session_io;
mod status_io;
mod stop;
mod stream;
mod test_links;

use std::hash::BuildHasher as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_proto::time::{Instant, Timer};
use antiphon_proto::{Boot, Event, Input, NameHash, Node, Outputs};
use bytes::Bytes;
use mio::{Events, Interest, Poll, Token as PollToken, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;

pub(crate) use listen::check as check_sockets;
pub(crate) use status_io::remarks as status_remarks;
pub use stop::StopHandle;

use crate::StartError;
use crate::conf::Settings;
use crate::log::EventLog;
use crate::monitor::{Monitor, Order};
use crate::status::{Counters, StatusBoard};
use crate::transport::{self, LinkFilter, Transport};
use accept::Acceptor;
use clock::Clock;
use listen::Listener;
use reload::{Asker, Reloader};
use session_io::SessionIo;
use status_io::StatusIo;
use test_links::TestLinks;

const WAKER: PollToken = PollToken(transport::FIRST_FREE_TOKEN);
const SIGNALS: PollToken = PollToken(transport::FIRST_FREE_TOKEN + 1);
/// Events taken from the poller at once.
const EVENTS: usize = 1024;
/// A stopping daemon waits for its goodbye to be said so many times as long as it tries to hand over what clients sent.
const GOODBYE: u32 = 5;
/// How late a timer may be of a process that was not held up.
const PUNCTUAL: Duration = Duration::from_millis(2);
/// Turns that a due timer may have to wait because the sockets do not run dry.
const PATIENCE_TURNS: u32 = 8;

/// One daemon with its sockets.
pub struct Daemon {
    node: Node,
    out: Outputs,
    transport: Transport,
    sessions: SessionIo,
    acceptor: Acceptor,
    poll: Poll,
    busy_poll: bool,
    events: Events,
    waker: Arc<Waker>,
    signals: Option<Signals>,
    test_links: Option<TestLinks>,
    monitor: Monitor,
    /// As configured, with the daemons that there are now.
    settings: Settings,
    reloader: Reloader,
    log: EventLog,
    board: StatusBoard,
    status: StatusIo,
    clock: Clock,
    now: Instant,
    stopping: Stopping,
    /// How long stopping may take.
    goodbye: Duration,
    /// When datagrams of other daemons were received last.
    ring_served: Instant,
    /// Turns for which a due timer has waited.
    postponed: u32,
    datagrams: Vec<Bytes>,
}

/// How far stopping has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stopping {
    /// Nobody asked.
    No,
    /// The goodbye is being said, until then at most.
    Until(Instant),
    /// Done.
    Done,
}

/// Where a daemon can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAddresses {
    /// Packets of other daemons.
    pub data: SocketAddr,
    /// The token and membership of other daemons.
    pub control: SocketAddr,
    /// All other daemons of the segment at once, by multicast or broadcast; without it, one by one.
    pub segment: Option<SocketAddr>,
    /// Clients over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Clients over Unix sockets.
    pub unix: Vec<PathBuf>,
}

impl Daemon {
    /// Opens all sockets and boots the core; nothing moves before [`Daemon::run`].
    ///
    /// # Errors
    /// When an address is in use or not of this machine, and the other cases of [`StartError`].
    pub fn bind(mut settings: Settings) -> Result<Self, StartError> {
        descriptors::raise_limit();
        let transport = Transport::bind(&settings)?;
        transport.limit(&mut settings.config);
        let acceptor = Acceptor::new(Listener::open_all(&settings)?);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let clock = Clock::start();
        let now = clock.now();
        let mut out = Outputs::default();
        let mut daemon = Self {
            node: Node::new(settings.config.clone(), boot(), now, &mut out),
            out,
            transport,
            sessions: SessionIo::new(),
            acceptor,
            poll,
            busy_poll: settings.busy_poll,
            reloader: Reloader::new(Arc::clone(&waker)),
            events: Events::with_capacity(EVENTS),
            waker,
            signals: None,
            test_links: TestLinks::new(&settings),
            monitor: Monitor::new(&settings),
            log: EventLog::new(&settings.config),
            board: StatusBoard::new(&settings.config),
            status: StatusIo::open(&settings),
            clock,
            now,
            stopping: Stopping::No,
            goodbye: settings.config.membership.leave * GOODBYE,
            ring_served: now,
            postponed: 0,
            datagrams: Vec::new(),
            settings,
        };
        daemon.register()?;
        Ok(daemon)
    }

    /// Adds the sockets that there are from the beginning to the poller.
    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        self.transport.register(registry)?;
        self.acceptor.listeners.register(registry)?;
        self.status.listeners.register(registry)
    }

    /// Makes SIGTERM and SIGINT stop this daemon, and SIGHUP read its configuration again, for a process that is
    /// nothing else. What is written beyond a limit to the length of files is lost, as on a full disk, in place of
    /// ending it.
    ///
    /// # Errors
    /// When the system does not let signals be handled.
    pub fn obey_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
        self.poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Serves until it is asked to stop, then leaves the ring and returns.
    ///
    /// # Errors
    /// When the poller fails, which it does not in a healthy system.
    pub fn run(&mut self, stop: &StopHandle) -> io::Result<()> {
        stop.attach(&self.waker);
        self.acceptor.tell_if_short(self.settings.config.sessions.max_sessions);
        self.act();
        while self.stopping != Stopping::Done {
            self.wait(stop)?;
            self.now = self.clock.now();
            self.check_stop(stop.requests());
            if let Some(links) = &mut self.test_links {
                links.check(self.now, &self.transport.filter());
            }
            self.transport.look();
            if !self.node.ring_may_wait(self.now.since(self.ring_served)) {
                self.serve_ring();
            }
            self.fire_timers();
            self.serve_monitors(stop);
            self.serve_reload(stop);
            self.serve_clients();
            self.tell_status();
            self.sessions.flush(&mut self.node, self.poll.registry());
            self.go_on();
            // One that polls is not woken by packets.
            self.transport.moderate(self.now, self.node.is_saturated() && !self.busy_poll);
            self.transport.rejoin_if_lost(self.now, !self.node.is_whole());
            self.transport.update_interest(self.now, self.poll.registry());
        }
        tracing::info!("stopped");
        tracing::debug!(
            "{} clients were connected, {} accepts refused: {:?} {:?}",
            self.sessions.count(),
            self.acceptor.refusals(),
            self.transport.stats(),
            self.node.stats(),
        );
        Ok(())
    }

    /// The links to other daemons, which can be cut; an aid for tests and demonstrations.
    #[must_use]
    pub fn link_filter(&self) -> LinkFilter {
        self.transport.filter()
    }

    /// Where this daemon listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addresses(&self) -> io::Result<LocalAddresses> {
        let (data, control) = self.transport.local_addresses()?;
        let listeners = &self.acceptor.listeners;
        Ok(LocalAddresses {
            data,
            control,
            segment: self.transport.segment_address(),
            tcp: listeners.iter().filter_map(Listener::tcp_address).collect(),
            unix: listeners.iter().filter_map(Listener::unix_path).map(PathBuf::from).collect(),
        })
    }

    /// Waits until something is ready or due, and notes what is ready.
    fn wait(&mut self, stop: &StopHandle) -> io::Result<()> {
        let timeout = self.timeout();
        let waited =
            if self.busy_poll { self.poll_awake(timeout) } else { self.poll.poll(&mut self.events, timeout) };
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let mut signalled = false;
        for event in &self.events {
            match event.token() {
                WAKER => {}
                SIGNALS => signalled = true,
                token if token.0 < transport::FIRST_FREE_TOKEN => {
                    self.transport.on_ready(token, event.is_readable(), event.is_writable());
                }
                token if self.status.listeners.on_ready(token) => {}
                token if self.acceptor.listeners.on_ready(token) => {}
                _ => self.sessions.on_ready(event, &mut self.node),
            }
        }
        if signalled {
            self.obey(stop);
        }
        Ok(())
    }

    fn obey(&mut self, stop: &StopHandle) {
        let Some(signals) = &mut self.signals else { return };
        let signals: Vec<_> = signals.pending().collect();
        for signal in signals {
            match signal {
                SIGHUP => self.ask_to_reload(Asker::Signal),
                SIGXFSZ => {}
                _ => stop.stop(),
            }
        }
    }

    /// Looks for events again and again, as a thread that sleeps takes longer to wake than to do its
    /// work. Others that want the processor come first.
    fn poll_awake(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let begun = self.clock.now();
        loop {
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            let is_over = timeout.is_some_and(|timeout| self.clock.now().since(begun) >= timeout);
            if is_over || !self.events.is_empty() {
                return Ok(());
            }
            thread::yield_now();
        }
    }

    /// How long to wait for events: not at all with work left over, else until the next deadline.
    fn timeout(&self) -> Option<Duration> {
        let accepts = self.node.accepts_submissions();
        let clients = self.sessions.has_work(&self.node) || (accepts && self.acceptor.listeners.has_work());
        if clients
            || self.node.has_put_off()
            || self.status.listeners.has_work()
            || ring_io::is_ready(&self.transport)
        {
            return Some(Duration::ZERO);
        }
        let stopping = match self.stopping {
            Stopping::Until(deadline) => Some(deadline),
            Stopping::No | Stopping::Done => None,
        };
        let core = self.node.next_timeout().map(|(deadline, _)| deadline);
        let links = self.test_links.as_ref().map(TestLinks::deadline);
        let packets = self.transport.rests_until();
        let (clients, status) = (self.acceptor.listeners.deadline(), self.status.listeners.deadline());
        let (monitor, reload) = (self.monitor.deadline(), self.reloader.deadline());
        let deadlines = [core, stopping, links, packets, clients, status, monitor, reload];
        let deadline = deadlines.into_iter().flatten().min()?;
        Some(deadline.since(self.clock.now()))
    }

    /// Begins to stop when asked once; stops when asked twice or when it takes too long.
    fn check_stop(&mut self, requests: usize) {
        match self.stopping {
            Stopping::No if requests > 0 => {
                tracing::info!("asked to stop, says goodbye");
                self.stopping = Stopping::Until(self.now + self.goodbye);
                self.node.handle(self.now, Input::Shutdown, &mut self.out);
                self.act();
            }
            Stopping::Until(deadline) if requests > 1 || self.now >= deadline => {
                tracing::info!("does not wait any longer until the goodbye is said");
                self.stopping = Stopping::Done;
            }
            _ => {}
        }
    }

    /// Goes on with what was put off until clients' sockets were offered what is for them. Others may be ready for
    /// more in the next turn, which is not waited for.
    fn go_on(&mut self) {
        if self.node.awaits_offers() && self.sessions.has_written() {
            self.node.handle(self.now, Input::OutboxesOffered, &mut self.out);
            self.act();
            self.sessions.resume(&self.node);
        }
    }

    fn serve_ring(&mut self) {
        self.ring_served = self.now;
        for _ in 0..ring_io::TURN_BATCHES {
            let (transport, node, out) = (&mut self.transport, &mut self.node, &mut self.out);
            let (monitor, datagrams) = (&mut self.monitor, &mut self.datagrams);
            if !ring_io::step(transport, node, monitor, self.now, datagrams, out) {
                break;
            }
            self.act();
        }
    }

    /// Fires due timers. A process that was held up finds timers due and sockets full, whatever the poller told it
    /// before; what the sockets hold came first, and often makes the timer moot.
    fn fire_timers(&mut self) {
        if !self.is_due() {
            self.postponed = 0;
            return;
        }
        if self.is_late() {
            self.transport.suspect_all();
        }
        self.serve_ring();
        if ring_io::is_ready(&self.transport) && self.postponed < PATIENCE_TURNS {
            self.postponed += 1;
            return;
        }
        self.postponed = 0;
        for _ in 0..Timer::ALL.len() {
            if !self.is_due() {
                break;
            }
            self.node.handle(self.now, Input::Timeout, &mut self.out);
            self.act();
        }
    }

    fn is_due(&self) -> bool {
        self.node.next_timeout().is_some_and(|(deadline, _)| deadline <= self.now)
    }

    /// Whether a timer has been due for longer than the poller, which counts in milliseconds, makes it wait. When it is
    /// not, the poller has just told of all that the sockets hold.
    fn is_late(&self) -> bool {
        self.node.next_timeout().is_some_and(|(deadline, _)| deadline + PUNCTUAL <= self.now)
    }

    /// Tells where this daemon stands to those who ask.
    fn tell_status(&mut self) {
        let (board, node, uptime) = (&self.board, &self.node, self.now.since(Instant::default()));
        let (transport, monitor, acceptor) = (&self.transport, &self.monitor, &self.acceptor);
        self.status.serve(self.now, || {
            let counted = Counters {
                core: node.stats(),
                transport: transport.stats(),
                monitor: monitor.stats(),
                accepts_refused: acceptor.refusals(),
            };
            board.report(uptime, &node.status(), &node.readers(), &counted)
        });
    }

    /// Does what monitors ask for.
    fn serve_monitors(&mut self, stop: &StopHandle) {
        while let Some(order) = self.monitor.next_order(self.now) {
            match order {
                Order::Report(recipient) => {
                    let uptime = self.now.since(Instant::default());
                    let report =
                        self.monitor.report(recipient, uptime, &self.node.status(), &self.node.stats());
                    let is_sent = self.transport.send_report(recipient.address, &report);
                    self.monitor.note_report(is_sent);
                }
                Order::Cut(daemons) => self.transport.filter().cut_exactly(&daemons),
                Order::SetWindows(change) => {
                    self.node.handle(self.now, Input::SetWindows(change), &mut self.out);
                    self.act();
                }
                Order::Reload => self.ask_to_reload(Asker::Monitor),
                // A monitor sends it twice, as a datagram may be lost.
                Order::Stop => stop.stop_once(),
            }
        }
    }

    fn serve_clients(&mut self) {
        let registry = self.poll.registry();
        self.acceptor.accept(&mut self.sessions, registry, &mut self.node, self.now, &mut self.out);
        self.sessions.drain(&mut self.node, self.now, &mut self.out);
        self.act();
    }

    /// Does what the core wants done.
    fn act(&mut self) {
        for transmit in &self.out.transmits {
            self.transport.send(transmit);
        }
        self.sessions.mark_dirty(&self.out.dirty);
        for (id, _) in &self.out.closed {
            self.sessions.close(*id, &mut self.node);
        }
        for event in std::mem::take(&mut self.out.events) {
            self.log.on_event(&event, self.now);
            self.board.on_event(&event);
            match event {
                Event::Stopped => self.stopping = Stopping::Done,
                Event::Reloaded { cluster } => self.adopt(cluster),
                _ => {}
            }
        }
        self.out.clear();
    }
}

/// What the core begins with: times and random numbers, of which it has none itself.
fn boot() -> Boot {
    let epoch = clock::milliseconds_since_1970();
    let random = || std::hash::RandomState::new().hash_one(epoch);
    let incarnation = clock::incarnation(epoch, random());
    Boot { incarnation, epoch, seed: random(), name_hash: NameHash::secret(random()) }
}
