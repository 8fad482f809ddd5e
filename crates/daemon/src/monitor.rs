//! What monitor programs may ask of a daemon, and what comes of it.
//!
//! A report is for every monitor that takes a configured daemon's place, and goes to that daemon's address and nowhere
//! else. What changes something needs `DangerousMonitor`: whoever can send a datagram to this daemon can send one of
//! these. Links that were cut are whole again after a minute unless the monitor repeats itself, which it does twice in
//! that time: one that has died leaves no partition behind.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_proto::{StateName, Stats, Status};
use antiphon_wire::ids::DaemonId;
use antiphon_wire::monitor::{
    self, Command, Components, GroupsState, Place, Report, Request, RingState, Version, WindowChange,
};
use bytes::Bytes;

use crate::conf::{Location, Settings};

/// Requests that may wait until a turn serves them.
const WAITING_MAX: usize = 16;
/// How long links stay cut.
const CUT_FOR: Duration = Duration::from_secs(60);

/// Counters of requests. All of them only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MonitorStats {
    /// Requests that were answered or put into effect.
    pub(crate) served: u64,
    /// Those that `DangerousMonitor` does not allow.
    pub(crate) refused: u64,
    /// Those that are malformed, or of a monitor of another cluster.
    pub(crate) rejected: u64,
    /// Those that came while too many waited.
    pub(crate) dropped: u64,
    /// Reports that were not sent, as other datagrams waited or the system refused.
    pub(crate) unsent: u64,
}

/// Serves monitors.
#[derive(Debug)]
pub(crate) struct Monitor {
    may_command: bool,
    me: DaemonId,
    locations: Vec<Location>,
    segments: usize,
    version: Version,
    waiting: VecDeque<(IpAddr, Bytes)>,
    cut: Option<Cut>,
    /// What a monitor set last.
    windows: Option<WindowChange>,
    /// How often each kind of request was refused.
    refused: BTreeMap<&'static str, u64>,
    stats: MonitorStats,
}

/// Links that are cut because a monitor asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Cut {
    daemons: Vec<DaemonId>,
    until: Instant,
}

/// What a request comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Send a report.
    Report(Recipient),
    /// Cut the links to exactly these daemons.
    Cut(Vec<DaemonId>),
    /// Let the ring begin anew with other windows.
    SetWindows(WindowChange),
    /// Read the configuration again.
    Reload,
    /// Leave the ring and end.
    Stop,
}

/// Who is to have a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recipient {
    /// Where.
    pub(crate) address: SocketAddr,
    names: Names,
}

/// How a monitor names daemons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Names {
    Addresses,
    VirtualIds,
}

impl Names {
    fn of(self, location: &Location) -> Option<u32> {
        match (self, location.address) {
            (Self::Addresses, IpAddr::V4(address)) => Some(address.to_bits()),
            (Self::Addresses, IpAddr::V6(_)) => None,
            (Self::VirtualIds, _) => Some(location.virtual_id),
        }
    }
}

impl Monitor {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            may_command: settings.dangerous_monitor,
            me: settings.config.me,
            locations: settings.locations.clone(),
            segments: settings.segments.len(),
            version: settings.config.sessions.version,
            waiting: VecDeque::new(),
            cut: None,
            windows: None,
            refused: BTreeMap::new(),
            stats: MonitorStats::default(),
        }
    }

    /// Goes over to another list of daemons.
    pub(crate) fn adopt(&mut self, settings: &Settings) {
        self.locations.clone_from(&settings.locations);
        self.segments = settings.segments.len();
    }

    /// Takes a request from an address, which waits for [`Monitor::next_order`].
    pub(crate) fn take(&mut self, source: IpAddr, request: Bytes) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((source, request));
        } else {
            self.stats.dropped += 1;
        }
    }

    /// Notes whether a report was sent.
    pub(crate) fn note_report(&mut self, is_sent: bool) {
        self.stats.unsent += u64::from(!is_sent);
    }

    /// When links are to be whole again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.cut.as_ref().map(|cut| cut.until)
    }

    /// The counters.
    pub(crate) fn stats(&self) -> MonitorStats {
        self.stats
    }

    /// What is to be done next, if anything is.
    pub(crate) fn next_order(&mut self, now: Instant) -> Option<Order> {
        if self.cut.take_if(|cut| cut.until <= now).is_some() {
            tracing::info!(
                "links to all daemons are whole again: no monitor has asked for {CUT_FOR:?} to cut any"
            );
            return Some(Order::Cut(Vec::new()));
        }
        while let Some((source, request)) = self.waiting.pop_front() {
            if let Some(order) = self.decide(source, &request, now) {
                self.stats.served += 1;
                return Some(order);
            }
        }
        None
    }

    /// The report for a recipient, in its words.
    pub(crate) fn report(
        &self,
        recipient: Recipient,
        uptime: Duration,
        status: &Status,
        stats: &Stats,
    ) -> Bytes {
        let number = |daemon: DaemonId| {
            self.locations
                .get(daemon.index())
                .and_then(|location| recipient.names.of(location))
                .unwrap_or_default()
        };
        let report = Report {
            daemon: number(self.me),
            leader: number(status.ring.leader.daemon),
            uptime_s: uptime.as_secs(),
            ring: ring_state(status.state),
            groups_state: if status.settled { GroupsState::Operational } else { GroupsState::Gather },
            packets_sent: stats.packets_sent,
            packets_received: stats.packets_received,
            // All but the few whose turn has not come.
            packets_delivered: stats.packets_sent + stats.packets_received,
            packets_retransmitted: stats.packets_retransmitted,
            stable: status.stable.0,
            held: status.held.0,
            highest: status.highest.0,
            tokens_retransmitted: stats.tokens_retransmitted,
            token_visits: stats.token_visits,
            messages_delivered: stats.messages_delivered,
            rings_installed: stats.rings_installed,
            members: status.members.len(),
            segments: self.segments,
            window: status.windows.all,
            personal_window: status.windows.personal,
            accelerated_window: status.windows.after_token,
            sessions: status.sessions,
            groups: status.groups,
            version: self.version,
        };
        report.encode().into()
    }

    fn decide(&mut self, source: IpAddr, request: &[u8], now: Instant) -> Option<Order> {
        let Some((recipient, command)) = self.understand(source, request) else {
            self.stats.rejected += 1;
            return None;
        };
        let me = self.me.index();
        match command {
            Command::Report => Some(Order::Report(recipient)),
            Command::Part(components) if components.ends(me) => self.allows("end this daemon").then(|| {
                tracing::warn!("a monitor ends this daemon");
                Order::Stop
            }),
            Command::Part(components) => self.allows("cut links").then(|| self.part(&components, now)),
            Command::SetWindows(changes) => {
                let change = changes.of(me, self.locations.len());
                self.allows("set windows").then(|| self.set_windows(change))
            }
            Command::Reload => Some(Order::Reload),
        }
    }

    /// What is asked for and where the monitor reads, if its place is that of a configured daemon. One of 5.x has that
    /// daemon's address, one of 4.x any.
    fn understand(&self, source: IpAddr, request: &[u8]) -> Option<(Recipient, Command)> {
        let Request { from, report_port, command } = monitor::decode(request).ok()?;
        let (names, number) = match from {
            Place::Address(address) => (Names::Addresses, address.to_bits()),
            Place::VirtualId(id) => (Names::VirtualIds, id),
        };
        let place = self.locations.iter().find(|location| names.of(location) == Some(number))?;
        if names == Names::VirtualIds && place.address != source {
            return None;
        }
        Some((Recipient { address: SocketAddr::new(place.address, report_port), names }, command))
    }

    /// Whether monitors may ask for what changes something; refuses it if not.
    fn allows(&mut self, what: &'static str) -> bool {
        if !self.may_command {
            self.refuse(what);
        }
        self.may_command
    }

    /// Says, ever more rarely, what is not done.
    fn refuse(&mut self, what: &'static str) {
        self.stats.refused += 1;
        let times = self.refused.entry(what).or_default();
        *times += 1;
        if times.is_power_of_two() {
            tracing::warn!(
                "a monitor asks to {what}, which only DangerousMonitor = yes would allow ({times} times so far)"
            );
        }
    }

    fn part(&mut self, components: &Components, now: Instant) -> Order {
        let me = self.me.index();
        let daemons = (0..).map(DaemonId).take(self.locations.len());
        let cut: Vec<DaemonId> = daemons.filter(|id| !components.are_joined(me, id.index())).collect();
        if self.cut.as_ref().map_or(&[][..], |cut| &cut.daemons) != cut {
            let names: Vec<String> = cut.iter().filter_map(|id| self.name(*id)).collect();
            match names.as_slice() {
                [] => tracing::warn!("a monitor makes all links whole"),
                names => tracing::warn!("a monitor cuts the links to {}", names.join(", ")),
            }
        }
        self.cut = (!cut.is_empty()).then(|| Cut { daemons: cut.clone(), until: now + CUT_FOR });
        Order::Cut(cut)
    }

    fn set_windows(&mut self, change: WindowChange) -> Order {
        if self.windows.replace(change) != Some(change) {
            let WindowChange { all, personal, after_token } = change;
            let packets =
                |window: Option<u16>| window.map_or("no change".to_owned(), |packets| packets.to_string());
            let [all, personal, after_token] = [all, personal, after_token].map(packets);
            tracing::warn!(
                "a monitor sets windows: {all} (all), {personal} (of one), {after_token} (after the token)"
            );
        }
        Order::SetWindows(change)
    }

    fn name(&self, daemon: DaemonId) -> Option<String> {
        self.locations.get(daemon.index()).map(|location| location.name.to_string())
    }
}

fn ring_state(state: StateName) -> RingState {
    match state {
        StateName::Operational => RingState::Operational,
        StateName::Gather | StateName::Leaving => RingState::Gather,
        StateName::Accepted => RingState::Form,
        StateName::Recover => RingState::Recovery,
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::monitor::virtual_id;

    use super::*;
    use crate::conf::{Source, load_source};

    const STATUS: u32 = 0x0100_0000;
    const PARTITION: u32 = 0x0200_0000;
    const WINDOWS: u32 = 0x0400_0000;
    const RELOAD: u32 = 0x0800_0000;

    /// b of the three daemons a, b and c.
    fn monitor(directives: &str) -> Monitor {
        let text =
            format!("{directives} Spread_Segment 127.0.0.255:4803 {{ a 127.0.0.1 b 127.0.0.2 c 127.0.0.3 }}");
        let loaded = load_source(Source::new("test", text.as_bytes()), Some("b")).expect("a good file");
        Monitor::new(&loaded.settings)
    }

    /// A request by a monitor of 4.x in the place of 127.0.0.`last`, with what is said of the first daemons.
    fn request(kind: u32, last: u8, body: &[i16], body_halves: usize) -> Bytes {
        let place = u32::from_be_bytes([127, 0, 0, last]);
        let words = [kind | 0x8000_0080, 0, place, 15_051_963, 0, 6543, 0, 1100];
        let halves = [2 * body_halves as i16, 0, 0, 0];
        let body = body.iter().copied().chain(std::iter::repeat(0)).take(body_halves);
        let words = words.into_iter().flat_map(u32::to_le_bytes);
        words.chain(halves.into_iter().chain(body).flat_map(i16::to_le_bytes)).collect()
    }

    fn parting(components: &[i16]) -> Bytes {
        request(PARTITION, 1, components, 128)
    }

    /// Takes a request from 127.0.0.3.
    fn take(monitor: &mut Monitor, request: Bytes) {
        monitor.take([127, 0, 0, 3].into(), request);
    }

    fn orders(monitor: &mut Monitor, now: Instant) -> Vec<Order> {
        std::iter::from_fn(|| monitor.next_order(now)).collect()
    }

    #[test]
    fn a_report_goes_to_the_daemon_whose_place_the_monitor_takes() {
        let mut monitor = monitor("");
        take(&mut monitor, request(STATUS, 3, &[], 0));
        let expected =
            Order::Report(Recipient { address: ([127, 0, 0, 3], 6543).into(), names: Names::Addresses });
        assert_eq!(orders(&mut monitor, Instant(0)), [expected]);
        take(&mut monitor, request(STATUS, 4, &[], 0));
        take(&mut monitor, request(STATUS, 3, &[7], 1));
        assert_eq!(orders(&mut monitor, Instant(0)), []);
        assert_eq!(monitor.stats, MonitorStats { served: 1, rejected: 2, ..MonitorStats::default() });
    }

    #[test]
    fn monitors_of_5_are_answered_in_their_own_numbers() {
        let mut monitor = monitor("");
        let mut request = request(STATUS, 1, &[], 0).to_vec();
        request[8..12].copy_from_slice(&virtual_id(b"c").to_le_bytes());
        request[12..16].fill(0);
        take(&mut monitor, request.clone().into());
        let recipient = Recipient { address: ([127, 0, 0, 3], 6543).into(), names: Names::VirtualIds };
        assert_eq!(orders(&mut monitor, Instant(0)), [Order::Report(recipient)]);
        monitor.take([127, 0, 0, 1].into(), request.into());
        assert_eq!(
            (orders(&mut monitor, Instant(0)), monitor.stats.rejected),
            (Vec::new(), 1),
            "from elsewhere"
        );
        let number = |names: Names| names.of(&monitor.locations[1]);
        assert_eq!(number(Names::VirtualIds), Some(virtual_id(b"b")));
        assert_eq!(number(Names::Addresses), Some(0x7f00_0002));
    }

    #[test]
    fn links_are_cut_by_components_and_whole_after_a_minute_without_repetition() {
        let mut monitor = monitor("DangerousMonitor = yes");
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        take(&mut monitor, parting(&[0, 1, 1]));
        assert_eq!(orders(&mut monitor, Instant(0)), [Order::Cut(vec![DaemonId(0)])]);
        assert_eq!(monitor.deadline(), Some(Instant(0) + minute));
        take(&mut monitor, parting(&[0, 1, 2]));
        let cut = Order::Cut(vec![DaemonId(0), DaemonId(2)]);
        assert_eq!(orders(&mut monitor, Instant(0) + second), [cut]);
        assert_eq!(orders(&mut monitor, Instant(0) + minute), []);
        let whole = [Order::Cut(Vec::new())];
        assert_eq!(orders(&mut monitor, Instant(0) + minute + second), whole);
        assert_eq!((orders(&mut monitor, Instant(0) + minute * 2).len(), monitor.deadline()), (0, None));
        take(&mut monitor, parting(&[5, 5, 5]));
        assert_eq!((orders(&mut monitor, Instant(0)), monitor.deadline()), (whole.to_vec(), None));
    }

    #[test]
    fn a_daemon_ends_and_sets_windows_only_by_what_is_said_of_itself() {
        let mut monitor = monitor("DangerousMonitor = yes");
        take(&mut monitor, parting(&[0, -1, 0]));
        assert_eq!(orders(&mut monitor, Instant(0)), [Order::Stop]);
        take(&mut monitor, parting(&[-1, 0, 0]));
        assert_eq!(orders(&mut monitor, Instant(0)), [Order::Cut(vec![DaemonId(0)])]);
        take(&mut monitor, request(WINDOWS, 1, &[1, 1, 40, -1, 1, 1, 300], 256));
        let change = WindowChange { all: Some(300), personal: Some(40), after_token: None };
        assert_eq!(orders(&mut monitor, Instant(0)), [Order::SetWindows(change)]);
    }

    #[test]
    fn without_the_directive_monitors_only_look() {
        let mut monitor = monitor("");
        for request in [parting(&[0, 1, 0]), parting(&[0, -1, 0]), request(WINDOWS, 1, &[1; 7], 256)] {
            take(&mut monitor, request);
        }
        assert_eq!((orders(&mut monitor, Instant(0)), monitor.deadline()), (Vec::new(), None));
        assert_eq!(monitor.stats, MonitorStats { refused: 3, ..MonitorStats::default() });
        take(&mut monitor, request(RELOAD, 1, &[], 0));
        assert_eq!(orders(&mut monitor, Instant(0)), [Order::Reload]);
    }

    #[test]
    fn more_requests_than_may_wait_are_dropped_and_the_others_served_in_turn() {
        let mut monitor = monitor("");
        (0..WAITING_MAX + 5).for_each(|_| take(&mut monitor, request(STATUS, 1, &[], 0)));
        assert_eq!(orders(&mut monitor, Instant(0)).len(), WAITING_MAX);
        let served = WAITING_MAX as u64;
        assert_eq!(monitor.stats, MonitorStats { served, dropped: 5, ..MonitorStats::default() });
    }
}
