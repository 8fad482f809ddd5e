//! What a seed draws before its run.

use std::time::Duration;

use antiphon_proto::config::{MembershipConfig, RingConfig, SessionConfig, Windows};

use super::chaos::Faults;
use crate::network::{Burst, Quality};
use crate::workload::Mix;
use crate::world::{HostSettings, Settings, Triggers};

/// How much more slowly things happen in a wide area network.
const SLOWER: u32 = 10;

/// Everything that a seed decides before its run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The world.
    pub settings: Settings,
    /// Clients of each daemon.
    pub clients_per_host: usize,
    /// Groups that they use.
    pub groups: usize,
    /// Clients of each daemon that use the flush layer.
    pub flush_clients_per_host: usize,
    /// How long these may take to flush, if there is a limit.
    pub flush_limit: Option<Duration>,
    /// What they do.
    pub mix: Mix,
    /// Mean time between two bursts of what they do.
    pub load_gap: Duration,
    /// Most doings in a burst.
    pub load_burst: usize,
    /// Which faults strike at random times.
    pub faults: Faults,
    /// Mean time between them.
    pub fault_gap: Duration,
    /// Which faults follow the steps of the protocol.
    pub triggers: Option<Triggers>,
    /// Loss on the links of the quiet phase, which a ring must bear, until the very end.
    pub quiet_loss_ppm: u32,
    /// How many lost datagrams arrive in the quiet phase, when all seems to be over.
    pub late_ghosts: usize,
    /// How long faults strike.
    pub chaos: Duration,
    /// Whether the run ends with links frozen in some pattern, instead of healing.
    pub freezes: bool,
}

fn ms(range: std::ops::Range<u64>, rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(range))
}

fn one_of<T: Copy>(choices: &[T], rng: &mut fastrand::Rng) -> T {
    choices[rng.usize(..choices.len())]
}

impl Options {
    /// Draws the options of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        // Another stream than that of the world, so that the two cannot follow each other.
        let rng = &mut fastrand::Rng::with_seed(seed ^ 0x0b5e_55ed_0b5e_55ed);
        let daemons = one_of(&[1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 7, 8, 12, 20], rng);
        let settings = settings(daemons, rng);
        let mut mix = mix(rng);
        let round_bytes = settings.ring.datagram_bytes * settings.ring.windows.all as usize;
        if round_bytes < 10_000 {
            mix.largest_body = mix.largest_body.min(3000);
        }
        let triggers = (rng.u32(..10) < 7).then(|| triggers(rng));
        let load_burst = one_of(&[1, 2, 4, 20], rng);
        let load_gap = Duration::from_micros(one_of(&[1000, 3000, 10_000, 40_000], rng));
        let mut options = Self {
            clients_per_host: if rng.u32(..40) == 0 { 200 / daemons } else { one_of(&[1, 1, 2, 3], rng) },
            groups: rng.usize(1..=6),
            mix,
            load_gap: load_gap.max(bearable_gap(&settings, &mix, load_burst)),
            load_burst,
            faults: Faults::draw(rng),
            fault_gap: ms(20..300, rng),
            triggers,
            quiet_loss_ppm: one_of(&[0, 0, 0, 5000], rng),
            late_ghosts: one_of(&[0, 0, 0, 100], rng),
            chaos: ms(300..2500, rng),
            freezes: daemons > 2 && rng.u32(..5) == 0,
            flush_clients_per_host: one_of(&[0, 0, 1, 2], rng),
            flush_limit: one_of(&[None, Some(150), Some(400)], rng).map(Duration::from_millis),
            settings,
        };
        // Last, so that the rest of a seed is what it was before there was this.
        options.settings.sessions.frames_at_once = one_of(&[1, 50, 200_000], rng);
        options.settings.host.write_sessions = one_of(&[1, 3, usize::MAX], rng);
        options.settings.host.frame_cost = Duration::from_micros(one_of(&[0, 0, 5, 50], rng));
        if rng.u32(..10) == 0 {
            options.move_apart(ms(10..75, rng));
        }
        if daemons > 1 && rng.u32(..8) == 0 {
            options.settings.newcomers = rng.usize(1..daemons.min(4));
            options.faults.reloads = true;
        }
        options.faults.closed_ports = rng.u32(..6) == 0;
        if rng.u32(..4) == 0 {
            options.settings.membership.held_datagrams = one_of(&[10, 30, 100], rng);
        }
        options
    }

    /// Makes the network a wide area, where a datagram takes up to twice the `delay`, and a token less than a second
    /// for its way round; everything else happens as much more slowly.
    fn move_apart(&mut self, delay: Duration) {
        let settings = &mut self.settings;
        let wide = RingConfig::default().in_wide_area();
        settings.quality =
            far(delay.min(Duration::from_millis(500) / settings.daemons as u32), settings.quality);
        settings.ring = RingConfig {
            datagram_bytes: settings.ring.datagram_bytes,
            numbers_from: settings.ring.numbers_from,
            ..wide
        };
        settings.membership = MembershipConfig::default().in_wide_area();
        settings.sessions = settings.sessions.clone().in_wide_area();
        self.load_gap = (self.load_gap * SLOWER).max(bearable_gap(settings, &self.mix, self.load_burst));
        self.fault_gap *= SLOWER;
        self.chaos *= SLOWER;
        // What it is compared with knows nothing of the way.
        self.flush_limit = None;
    }
}

/// The shortest mean time between bursts that a ring with these settings can serve in the long run:
/// what is sent must fit the packets that its windows allow in a round.
fn bearable_gap(settings: &Settings, mix: &Mix, burst: usize) -> Duration {
    let daemons = settings.daemons as u32;
    let link = settings.quality.delay + settings.quality.jitter + settings.host.turn_cost * 2;
    let ring = &settings.ring;
    let packets = ring.windows.all.min(ring.windows.personal * daemons);
    let round_bytes = packets * ring.datagram_bytes.min(u32::MAX as usize) as u32;
    let mean_bytes = match mix.largest_body {
        ..1000 => 200,
        1000..10_000 => 700,
        _ => 1500,
    };
    link * daemons * mean_bytes * burst as u32 / round_bytes.max(1)
}

fn settings(daemons: usize, rng: &mut fastrand::Rng) -> Settings {
    let ring = ring(rng);
    Settings {
        daemons,
        membership: membership(rng),
        sessions: sessions(rng),
        quality: quality(rng),
        host: host(rng),
        clock_ppm: (0..daemons).map(|_| if rng.bool() { 0 } else { rng.i64(-10_000..10_000) }).collect(),
        newcomers: 0,
        strangers: 0,
        double: None,
        staggered_start: rng.bool(),
        ring,
        #[cfg(feature = "mutants")]
        mutant: None,
        #[cfg(feature = "mutants")]
        flush_mutant: None,
    }
}

fn ring(rng: &mut fastrand::Rng) -> RingConfig {
    let token_loss = ms(80..500, rng);
    let personal = one_of(&[1, 2, 5, 20, 60], rng);
    let all = one_of(&[1, 4, 30, 160, 500], rng);
    RingConfig {
        datagram_bytes: one_of(&[256, 600, 1472, 1472, 8972], rng),
        window_limit_packets: all * one_of(&[1, 2, 8], rng),
        numbers_from: one_of(&[0, 0, 0, (1 << 32) - 500], rng),
        windows: Windows { all, personal, after_token: rng.u32(..=personal) },
        outstanding_packets: one_of(&[8, 64, 4096], rng),
        send_queue_messages: one_of(&[4, 100, 8192], rng),
        send_queue_bytes: one_of(&[20_000, 4 << 20], rng),
        session_quantum_bytes: one_of(&[100, 2000, 16 << 10], rng),
        token_retransmit: token_loss / one_of(&[10, 25, 50], rng),
        token_loss,
        token_rest: token_loss / one_of(&[5, 8, 20], rng),
        wake: Duration::from_millis(2),
        deaf: token_loss.max(Duration::from_millis(250)) * 2,
    }
}

fn membership(rng: &mut fastrand::Rng) -> MembershipConfig {
    let join = ms(5..30, rng);
    let attempt_retransmit = ms(5..20, rng);
    MembershipConfig {
        join,
        gather: join * rng.u32(3..6),
        fresh: join * rng.u32(4..7),
        attempt_retransmit,
        attempt_deadline: attempt_retransmit * rng.u32(10..25),
        hello: ms(40..200, rng),
        ..MembershipConfig::default()
    }
}

fn sessions(rng: &mut fastrand::Rng) -> SessionConfig {
    SessionConfig { max_outbox_messages: one_of(&[60, 1000, 1_000_000], rng), ..SessionConfig::default() }
}

fn host(rng: &mut fastrand::Rng) -> HostSettings {
    HostSettings {
        receive_batch: one_of(&[1, 8, 64], rng),
        stream_batch: one_of(&[1, 8, 50], rng),
        turn_cost: Duration::from_micros(one_of(&[1, 5, 30], rng)),
        datagram_cost: Duration::from_micros(one_of(&[1, 3, 10], rng)),
        data_buffer_bytes: one_of(&[30_000, 200_000, 1 << 21], rng),
        control_buffer_bytes: 256 << 10,
        write_bytes: one_of(&[700, 9000, 1 << 18], rng),
        ..HostSettings::default()
    }
}

/// Links as they are when no fault is at work. Delays are long for a LAN: fewer rounds, same races.
pub(super) fn quality(rng: &mut fastrand::Rng) -> Quality {
    let delay = Duration::from_micros(one_of(&[60, 150, 400, 1000], rng));
    let mut quality = Quality { delay, jitter: delay / one_of(&[20, 4, 1], rng), ..Quality::default() };
    if rng.u32(..3) == 0 {
        quality.loss_ppm = one_of(&[1000, 10_000, 50_000], rng);
    }
    if rng.u32(..6) == 0 {
        quality.burst = Some(Burst { begin_ppm: 5000, end_ppm: 60_000, loss_ppm: 900_000 });
    }
    if rng.u32(..3) == 0 {
        quality.duplicate_ppm = one_of(&[1000, 50_000], rng);
    }
    if rng.u32(..3) == 0 {
        quality.reorder_ppm = one_of(&[5000, 100_000], rng);
        quality.held_up = ms(1..60, rng);
    }
    if rng.u32(..6) == 0 {
        quality.corrupt_ppm = 5000;
    }
    quality
}

/// The same links, but as long.
pub(super) fn far(delay: Duration, near: Quality) -> Quality {
    let jitter = near.jitter.as_secs_f64() / near.delay.as_secs_f64();
    Quality { delay, jitter: delay.mul_f64(jitter), ..near }
}

fn mix(rng: &mut fastrand::Rng) -> Mix {
    Mix {
        casts: 100,
        joins: one_of(&[4, 12, 40], rng),
        leaves: one_of(&[0, 3, 20], rng),
        ends: one_of(&[0, 1, 6], rng),
        naps: one_of(&[0, 0, 2], rng),
        safe_percent: one_of(&[0, 20, 60], rng),
        largest_body: one_of(&[300, 6000, 200_000], rng),
    }
}

fn triggers(rng: &mut fastrand::Rng) -> Triggers {
    Triggers {
        chance_ppm: one_of(&[5000, 20_000, 60_000, 150_000], rng),
        points: rng.u8(1..16),
        faults: rng.u8(1..128),
    }
}
