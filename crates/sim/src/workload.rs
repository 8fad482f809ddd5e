//! What simulated clients do.

use std::time::Duration;

use antiphon_wire::names::GroupName;
use antiphon_wire::service::ServiceLevel;

use crate::client::flush::Deed;
use crate::client::{Cast, payload};
use crate::world::{ClientId, World};

/// How clients divide their time. The numbers are weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mix {
    /// Multicasts.
    pub casts: u32,
    /// Joins.
    pub joins: u32,
    /// Leaves.
    pub leaves: u32,
    /// Ends of sessions, by request or without a word.
    pub ends: u32,
    /// Times without reading.
    pub naps: u32,
    /// How many multicasts in a hundred are SAFE, at least.
    pub safe_percent: u32,
    /// Largest body, in bytes.
    pub largest_body: usize,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            casts: 100,
            joins: 8,
            leaves: 3,
            ends: 2,
            naps: 0,
            safe_percent: 20,
            largest_body: payload::MAX_BODY_BYTES,
        }
    }
}

/// Clients of a world and the groups that they use.
#[derive(Clone, Debug)]
pub struct Workload {
    mix: Mix,
    groups: Vec<GroupName>,
    clients: Vec<ClientId>,
    flush_clients: Vec<ClientId>,
}

/// A group name.
///
/// # Panics
/// When it is not legal; scenarios and workloads name groups in their text.
#[must_use]
pub fn group(name: &str) -> GroupName {
    let Ok(group) = GroupName::new(name.as_bytes()) else { unreachable!("{name} is no legal group name") };
    group
}

impl Workload {
    /// Adds `clients_per_host` clients to every host. One client in eight wants no views; such clients
    /// join a group of their own, so that others see every member of the groups they check.
    pub fn new(world: &mut World, mix: Mix, clients_per_host: usize, groups: usize) -> Self {
        let mut clients = Vec::new();
        for host in 0..world.settings().daemons {
            for number in 0..clients_per_host {
                let wants_views = world.rng.u32(..8) != 0;
                clients.push(world.add_client(host, &format!("c{number}"), wants_views));
            }
        }
        let groups = ["g", "h", "aa", "z", "m", "b2"].iter().take(groups.max(1));
        Self { mix, groups: groups.map(|name| group(name)).collect(), clients, flush_clients: Vec::new() }
    }

    /// Adds clients with the flush layer to every host. They have groups of their own, which are closed.
    pub fn add_flush_clients(&mut self, world: &mut World, per_host: usize, limit: Option<Duration>) {
        for host in 0..world.settings().daemons {
            for number in 0..per_host {
                self.flush_clients.push(world.add_flush_client(host, &format!("f{number}"), limit));
            }
        }
    }

    /// From here on no body has more bytes than that.
    pub fn limit_bodies(&mut self, bytes: usize) {
        self.mix.largest_body = self.mix.largest_body.min(bytes);
    }

    /// Lets one client do something.
    pub fn act(&self, world: &mut World) {
        if !self.flush_clients.is_empty() && world.rng.bool() {
            return self.flush_act(world);
        }
        let client = self.clients[world.rng.usize(..self.clients.len())];
        if world.client(client).session().is_none() {
            return world.connect(client);
        }
        let mix = &self.mix;
        let mut dice = world.rng.u32(..mix.casts + mix.joins + mix.leaves + mix.ends + mix.naps);
        let mut is = |weight: u32| {
            let hit = dice < weight;
            dice = dice.wrapping_sub(weight);
            hit
        };
        if is(mix.casts) {
            self.cast(world, client);
        } else if is(mix.joins) {
            let group = self.group_for(world, client);
            world.join(client, group);
        } else if is(mix.leaves) {
            let group = self.group_for(world, client);
            world.leave(client, group);
        } else if is(mix.ends) {
            match world.rng.u32(..3) {
                0 => world.disconnect(client, false),
                1 => world.disconnect(client, true),
                _ => world.hang_up(client),
            }
        } else {
            let nap = Duration::from_millis(world.rng.u64(1..400));
            world.stop_reading(client, nap);
        }
    }

    fn flush_act(&self, world: &mut World) {
        let client = self.flush_clients[world.rng.usize(..self.flush_clients.len())];
        if world.client(client).session().is_none() {
            return world.connect(client);
        }
        let group = group(if world.rng.u32(..4) == 0 { "w" } else { "v" });
        let deed = match world.rng.u32(..100) {
            0 => return world.disconnect(client, true),
            1 => return world.hang_up(client),
            2..5 => Deed::Leave,
            5..20 => Deed::Join,
            20..40 => Deed::Flush,
            _ => Deed::Cast(ServiceLevel::ALL[world.rng.usize(..ServiceLevel::ALL.len())]),
        };
        world.act(client, group, deed);
    }

    /// Connects every client that is not.
    pub fn connect_all(&self, world: &mut World) {
        for client in &self.clients {
            world.connect(*client);
        }
    }

    fn group_for(&self, world: &mut World, client: ClientId) -> GroupName {
        if world.client(client).wants_views { self.any_group(world) } else { group("blind") }
    }

    /// One of the groups, the first ones more often.
    fn any_group(&self, world: &mut World) -> GroupName {
        let highest = world.rng.usize(1..=self.groups.len());
        self.groups[world.rng.usize(..highest)]
    }

    fn cast(&self, world: &mut World, client: ClientId) {
        let service = if world.rng.u32(..100) < self.mix.safe_percent {
            ServiceLevel::Safe
        } else {
            ServiceLevel::ALL[world.rng.usize(..ServiceLevel::ALL.len())]
        };
        let mut groups = vec![self.target(world, client)];
        while world.rng.u32(..6) == 0 && groups.len() < 8 {
            groups.push(self.target(world, client));
        }
        let self_discard = world.rng.u32(..10) == 0;
        let most = payload::MAX_BODY_BYTES - 32 * groups.len();
        let body_bytes = size(&mut world.rng).min(self.mix.largest_body).min(most);
        world.multicast(client, Cast { service, groups, self_discard, body_bytes });
    }

    /// To whom a message goes: mostly to a group the sender is in, else to any, or to one session.
    fn target(&self, world: &mut World, client: ClientId) -> GroupName {
        match world.rng.u32(..20) {
            0 => {
                let other = self.clients[world.rng.usize(..self.clients.len())];
                GroupName::from_field(world.client(other).member.as_field())
            }
            1 => group("blind"),
            2..7 => self.any_group(world),
            _ => {
                let joined = world.client(client).joined.len();
                if joined == 0 {
                    return self.any_group(world);
                }
                let at = world.rng.usize(..joined);
                world.client(client).joined[at]
            }
        }
    }
}

/// A body size: mostly small, sometimes up to the limit.
fn size(rng: &mut fastrand::Rng) -> usize {
    match rng.u32(..200) {
        0 => rng.usize(..=payload::MAX_BODY_BYTES),
        1..5 => rng.usize(..30_000),
        5..25 => rng.usize(..5000),
        25..80 => rng.usize(..1400),
        _ => rng.usize(..100),
    }
}
