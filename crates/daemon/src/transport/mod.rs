//! The UDP sockets between daemons: data on port P, control on port P + 1, and what reaches the
//! whole segment at once.
//!
//! Everything leaves by the data socket, whatever it is for. So one queue keeps the order that the
//! core asks for, and the source address of a datagram tells its daemon.

mod failures;
mod inbound;
mod links;
mod moderation;
mod rejoin;
mod routes;
mod seal;
mod seen;
mod sender;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;

use antiphon_proto::config::Config;
use antiphon_proto::time::Instant;
use antiphon_proto::{Channel, Target, Transmit};
use bytes::Bytes;
use mio::{Interest, Registry, Token as PollToken};

use crate::StartError;
use crate::conf::{DAEMONS_MAX, Keys, OwnAddresses, SEAL_BYTES, Settings};

pub use links::LinkFilter;

use inbound::{Inbound, Intake};
use moderation::Moderation;
use rejoin::Rejoin;
pub(crate) use routes::shared_address;
use routes::{Routes, Shared};
use seal::Seal;
use sender::Sender;
use socket::{Slots, Socket};

/// Poll tokens of the sockets: the first numbers.
const DATA: PollToken = PollToken(0);
const CONTROL: PollToken = PollToken(1);
const SHARED: PollToken = PollToken(2);
/// The first token that is free for others.
pub(crate) const FIRST_FREE_TOKEN: usize = 3;

/// A receive buffer smaller than this loses packets under load.
const LEAST_BUFFER_BYTES: usize = 1 << 20;
/// With less room than this for what is held, it takes seconds until each silent daemon was greeted.
const LEAST_HELD_PER_DAEMON: usize = 4;

/// Counters of the sockets between daemons. All of them only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TransportStats {
    /// Datagrams received from other daemons.
    pub(crate) datagrams_received: u64,
    /// Bytes in them, and in those that were not handed to the core.
    pub(crate) bytes_received: u64,
    /// Calls that received something.
    pub(crate) receive_calls: u64,
    /// Turns in which packets were looked for although the system had not told of any.
    pub(crate) moderated_looks: u64,
    /// Datagrams sent; one to a group counts once.
    pub(crate) datagrams_sent: u64,
    /// Calls that sent or tried to.
    pub(crate) send_calls: u64,
    /// Datagrams dropped because too much waited for the socket.
    pub(crate) datagrams_dropped: u64,
    /// Datagrams that the system refused.
    pub(crate) send_errors: u64,
    /// Datagrams dropped because the link was cut on purpose.
    pub(crate) datagrams_cut: u64,
    /// Datagrams that are not sealed with a key of this daemon, although it has one, or are although it has none.
    pub(crate) datagrams_not_opened: u64,
    /// Sealed datagrams that came before.
    pub(crate) datagrams_repeated: u64,
}

/// What a monitor asks for, with where it came from.
pub(crate) type Request = (IpAddr, Bytes);

/// The sockets of one daemon.
#[derive(Debug)]
pub(crate) struct Transport {
    data: Socket,
    control: Socket,
    shared: Option<Socket>,
    routes: Routes,
    filter: LinkFilter,
    me: SocketAddr,
    slots: Slots,
    sender: Sender,
    /// What datagrams are sealed and opened with, if they are.
    seal: Option<Seal>,
    inbound: Inbound,
    requests: Vec<Request>,
    moderation: Moderation,
    rejoin: Rejoin,
    addresses: Vec<SocketAddr>,
    stats: TransportStats,
}

impl Transport {
    /// Opens the sockets.
    pub(crate) fn bind(settings: &Settings) -> Result<Self, StartError> {
        let (seal, routes) = (Self::seal(settings)?, Routes::new(settings));
        let open = |channel| -> Result<(SocketAddr, Socket), StartError> {
            let address = settings.here.socket(channel);
            let socket = Socket::bind(address, settings.port_reuse);
            Ok((address, socket.map_err(|error| StartError::udp(address, error))?))
        };
        let (me, data) = open(Channel::Data)?;
        let (_, control) = open(Channel::Control)?;
        let filter = LinkFilter::new(DAEMONS_MAX);
        let mut transport = Self {
            data,
            control,
            shared: None,
            routes,
            filter,
            me,
            slots: Slots::new(),
            sender: Sender::default(),
            seal,
            inbound: Inbound::default(),
            requests: Vec::new(),
            moderation: Moderation::new(),
            rejoin: Rejoin::default(),
            addresses: Vec::new(),
            stats: TransportStats::default(),
        };
        transport.share(settings)?;
        transport.report_buffers(settings);
        Ok(transport)
    }

    fn seal(settings: &Settings) -> Result<Option<Seal>, StartError> {
        let Some(path) = &settings.key_file else { return Ok(None) };
        let keys = Self::accept(Keys::read(path), settings)?;
        Seal::new(&keys, settings.config.me, DAEMONS_MAX).map(Some).map_err(no_random_numbers)
    }

    /// Keys that were read, with what there is to say of them.
    fn accept(read: Result<Keys, String>, settings: &Settings) -> Result<Keys, StartError> {
        let keys = read.map_err(StartError::Key)?;
        if keys.are_exposed() {
            let path = settings.key_file.as_deref().unwrap_or("KeyFile".as_ref()).display();
            tracing::warn!("other users of this machine can read or change {path}; let its mode be 600");
        }
        tracing::info!("datagrams between daemons are sealed with the key {:02x}", keys.sealing().id());
        Ok(keys)
    }

    /// Seals and opens with keys that were read again. If none could be, with those that there were.
    pub(crate) fn change_keys(
        &mut self,
        read: Result<Keys, String>,
        settings: &Settings,
    ) -> Result<(), StartError> {
        let keys = Self::accept(read, settings)?;
        self.seal.as_mut().map_or(Ok(()), |seal| seal.change_keys(&keys).map_err(no_random_numbers))
    }

    /// Goes over to another list of daemons.
    pub(crate) fn adopt(&mut self, settings: &Settings) {
        self.routes.adopt(settings);
    }

    /// Opens what other daemons will use for all of this segment once they are as many as in these settings.
    pub(crate) fn prepare(&mut self, settings: &Settings) -> Result<(), StartError> {
        match (&self.shared, shared_address(settings)) {
            (None, _) => self.share(settings),
            (Some(_), Shared::Multicast(group)) => {
                self.loop_back(settings).map_err(|error| StartError::Group { group, error })
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// Opens what reaches the whole segment at once, if its address is of that kind.
    fn share(&mut self, settings: &Settings) -> Result<(), StartError> {
        let (group, joined) = match shared_address(settings) {
            Shared::None => return Ok(()),
            Shared::Multicast(group) => (group, self.loop_back(settings).and_then(|()| self.join(group))),
            Shared::Broadcast(group) => (group, self.broadcast(group)),
        };
        match joined {
            Ok(socket) => {
                self.shared = Some(socket);
                self.routes.share(group);
                self.rejoin.joined(OwnAddresses::interface_of(self.me.ip()));
                Ok(())
            }
            Err(error) if settings.ignore_join_errors => {
                tracing::warn!("cannot use {group}, daemons are reached one by one: {error}");
                Ok(())
            }
            Err(error) => Err(StartError::Group { group, error }),
        }
    }

    fn join(&self, group: SocketAddr) -> io::Result<Socket> {
        let shared = Socket::bind_shared(group)?;
        if let (SocketAddr::V4(group), SocketAddr::V4(me)) = (group, self.me) {
            shared.options().join_multicast_v4(group.ip(), me.ip())?;
            self.data.options().set_multicast_if_v4(me.ip())?;
        }
        Ok(shared)
    }

    /// Copies of what this machine sends are of use only when another of its daemons listens. Where the system
    /// does not tell, they do no harm.
    fn loop_back(&self, settings: &Settings) -> io::Result<()> {
        let mut others = settings.locations.iter().filter(|location| location.address != self.me.ip());
        let is_shared =
            OwnAddresses::read().map_or(true, |own| others.any(|location| own.has(location.address)));
        self.data.options().set_multicast_loop_v4(is_shared)
    }

    fn broadcast(&self, group: SocketAddr) -> io::Result<Socket> {
        let shared = Socket::bind_shared(group)?;
        self.data.options().set_broadcast(true)?;
        Ok(shared)
    }

    /// Joins the group again if its interface was made anew, or, while daemons are missing, if this daemon's address
    /// has moved to another. The new membership has a socket of its own, as a socket keeps the old one.
    pub(crate) fn rejoin_if_lost(&mut self, now: Instant, are_some_missing: bool) {
        let Some(group) = self.routes.group().filter(|group| group.ip().is_multicast()) else { return };
        let is_lost = self.sender.has_lost_group();
        if !(is_lost || are_some_missing) || !self.rejoin.begin(now) {
            return;
        }
        let interface = OwnAddresses::interface_of(self.me.ip());
        if !is_lost && !self.rejoin.has_moved_to(interface) {
            return;
        }
        self.sender.forget_lost_group();
        match self.join(group) {
            Ok(socket) => {
                tracing::info!("joined {group} again, as the interface of {} is another", self.me.ip());
                self.shared = Some(socket);
                self.rejoin.joined(interface);
            }
            Err(error) => self.rejoin.failed(group, self.me, &error),
        }
    }

    /// Small buffers matter only when there are others.
    pub(crate) fn report_buffers(&self, settings: &Settings) {
        let (granted, daemons) = (self.data.receive_buffer_bytes(), settings.locations.len());
        tracing::debug!("receive buffer of {granted} bytes");
        if granted < LEAST_BUFFER_BYTES && daemons > 1 {
            tracing::warn!(
                "the system grants a receive buffer of {granted} bytes only, which limits the windows; \
                 raise net.core.rmem_max to 8388608"
            );
        }
        let held = self.held_datagrams(settings.config.ring.datagram_bytes);
        if (held as usize) < LEAST_HELD_PER_DAEMON * daemons {
            tracing::warn!(
                "the send buffer can hold {held} datagrams for hosts that do not answer, so these are greeted \
                 rarely; raise net.core.wmem_max to 8388608"
            );
        }
    }

    /// Lowers limits to what the buffers of the sockets have room for.
    pub(crate) fn limit(&self, config: &mut Config) {
        let Config { ring, membership, .. } = config;
        let window = self.window_limit_packets(ring.datagram_bytes);
        ring.window_limit_packets = ring.window_limit_packets.min(window);
        membership.held_datagrams = membership.held_datagrams.min(self.held_datagrams(ring.datagram_bytes));
    }

    /// Packets of one round that the receive buffer has room for.
    fn window_limit_packets(&self, datagram_bytes: usize) -> u32 {
        let room = self.data.room_for_datagrams(self.sealed_bytes(datagram_bytes));
        u32::try_from(room).unwrap_or(u32::MAX).max(1)
    }

    fn sealed_bytes(&self, datagram_bytes: usize) -> usize {
        datagram_bytes + self.seal.as_ref().map_or(0, |_| SEAL_BYTES)
    }

    /// Datagrams to hosts that do not answer that may be held: they may take half of the room, and of what goes to all
    /// at once none are held.
    fn held_datagrams(&self, datagram_bytes: usize) -> u32 {
        if self.routes.reaches_all_at_once() {
            return u32::MAX;
        }
        let most = self.data.room_to_hold_datagrams(self.sealed_bytes(datagram_bytes)) / 2;
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Adds the sockets to the poller.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.control.ask(registry, CONTROL, Some(Interest::READABLE))?;
        self.ask(registry)
    }

    /// Takes note of what the poller said about one of the sockets.
    pub(crate) fn on_ready(&mut self, token: PollToken, readable: bool, writable: bool) {
        match token {
            DATA => self.data.ready |= readable,
            CONTROL => self.control.ready |= readable,
            _ => self.mark_shared_ready(readable),
        }
        if writable && token == DATA {
            self.sender.resume(&self.data, &mut self.stats);
        }
    }

    fn mark_shared_ready(&mut self, readable: bool) {
        if let Some(shared) = &mut self.shared {
            shared.ready |= readable;
        }
    }

    /// Supposes that every socket may hold something, whatever the poller said.
    pub(crate) fn suspect_all(&mut self) {
        self.data.ready = true;
        self.control.ready = true;
        self.mark_shared_ready(true);
    }

    /// Whether a channel may have something to read.
    pub(crate) fn is_ready(&self, channel: Channel) -> bool {
        match channel {
            Channel::Data => self.data.ready || self.shared.as_ref().is_some_and(|shared| shared.ready),
            Channel::Control => self.control.ready,
        }
    }

    /// Until when the sockets that packets come by rest, if they do.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.moderation.rests_until()
    }

    /// Looks for packets that the poller was not asked about, now that the daemon is awake.
    pub(crate) fn look(&mut self) {
        if self.moderation.rests_until().is_some() && !self.is_ready(Channel::Data) {
            self.stats.moderated_looks += 1;
            self.data.ready = true;
            self.mark_shared_ready(true);
        }
    }

    /// Lets the sockets that packets come by rest, or the poller tell of them. Nobody waits for packets of a
    /// saturated ring.
    pub(crate) fn moderate(&mut self, now: Instant, saturated: bool) {
        if !self.is_ready(Channel::Data) {
            self.moderation.decide(now, saturated);
        }
    }

    /// Receives one batch from a channel and appends its datagrams. Monitors are heard at the daemon's own address only:
    /// what comes to a whole segment would be answered by all of it.
    pub(crate) fn receive(&mut self, channel: Channel, datagrams: &mut Vec<Bytes>) {
        let is_shared = self.shared.as_ref().is_some_and(|shared| shared.ready);
        let is_for_monitors = channel == Channel::Data && !is_shared;
        let socket = match (channel, &mut self.shared) {
            (Channel::Control, _) => &mut self.control,
            (Channel::Data, Some(shared)) if is_shared => shared,
            (Channel::Data, _) => &mut self.data,
        };
        let mut intake = Intake {
            me: self.me,
            routes: &self.routes,
            filter: &self.filter,
            seal: self.seal.as_mut(),
            inbound: &mut self.inbound,
            requests: is_for_monitors.then_some(&mut self.requests),
            datagrams,
            stats: &mut self.stats,
        };
        let received = self.slots.receive(socket, |source, filled| {
            if channel == Channel::Data {
                self.moderation.note_buffer(filled.count());
            }
            intake.take(source, filled);
        });
        match received {
            Ok(received) => {
                self.stats.receive_calls += 1;
                socket.ready = !received.drained;
            }
            Err(error) => socket.ready = error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// What monitors have asked for.
    pub(crate) fn take_requests(&mut self) -> impl Iterator<Item = Request> {
        self.requests.drain(..)
    }

    /// Counts datagrams that were handed on.
    pub(crate) fn count_received(&mut self, datagrams: usize) {
        self.stats.datagrams_received += datagrams as u64;
    }

    /// Sends, in order, behind everything that still waits.
    pub(crate) fn send(&mut self, transmit: &Transmit) {
        self.addresses.clear();
        self.routes.resolve(&transmit.to, transmit.channel, &self.filter, &mut self.addresses);
        if self.addresses.is_empty() {
            return;
        }
        let (mut burst, mut segment_bytes) = (transmit.burst.clone(), transmit.segment_bytes);
        if let Some(seal) = &mut self.seal {
            let to = match &transmit.to {
                Target::One(daemon) => Some(*daemon),
                Target::Each(_) => None,
            };
            let Ok(sealed) = seal.seal(&burst, segment_bytes, to) else {
                self.stats.send_errors += burst.len().div_ceil(segment_bytes.max(1)) as u64;
                return;
            };
            (burst, segment_bytes) = (sealed, segment_bytes + SEAL_BYTES);
        }
        // Of no bytes are only the datagrams of an empty burst.
        let Some(segment_bytes) = NonZeroUsize::new(segment_bytes) else { return };
        for to in &self.addresses {
            self.sender.send(&self.data, *to, &burst, segment_bytes, &mut self.stats);
        }
    }

    /// Sends something to a monitor if nothing waits. It says where it reads, so a failure, which is no news of the
    /// network between daemons, is only told to the caller; and it asks again.
    pub(crate) fn send_report(&mut self, to: SocketAddr, report: &[u8]) -> bool {
        !self.sender.is_waiting() && self.data.send(to, report, report.len()).is_ok()
    }

    /// Asks the poller about writability exactly as long as something waits for it, and about packets exactly
    /// as long as the sockets that they come by do not rest. When the system has no room for the question, they
    /// rest on, and it is asked again.
    pub(crate) fn update_interest(&mut self, now: Instant, registry: &Registry) {
        if let Err(error) = self.ask(registry) {
            tracing::debug!("cannot wait for packets, looking for them instead: {error}");
            self.moderation.rest_on(now);
        }
    }

    fn ask(&mut self, registry: &Registry) -> io::Result<()> {
        let packets = Some(Interest::READABLE).filter(|_| self.moderation.rests_until().is_none());
        let room = Some(Interest::WRITABLE).filter(|_| self.sender.is_waiting());
        let both = packets.into_iter().chain(room).reduce(Interest::add);
        self.data.ask(registry, DATA, both)?;
        self.shared.as_mut().map_or(Ok(()), |shared| shared.ask(registry, SHARED, packets))
    }

    /// The links that can be cut.
    pub(crate) fn filter(&self) -> LinkFilter {
        self.filter.clone()
    }

    /// What reaches all daemons of this segment at once, if anything does.
    pub(crate) fn segment_address(&self) -> Option<SocketAddr> {
        self.routes.group()
    }

    /// Addresses of the data and the control socket.
    pub(crate) fn local_addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.data.io.local_addr()?, self.control.io.local_addr()?))
    }

    /// The counters.
    pub(crate) fn stats(&self) -> TransportStats {
        self.stats
    }
}

fn no_random_numbers(_: ring::error::Unspecified) -> StartError {
    StartError::System(io::Error::other("the system gives no random numbers"))
}

#[cfg(test)]
mod tests;
