//! How many new packets a token visit may send (Totem flow control; CNDS-2014-2 §III-A), and how the
//! windows follow what the network takes.
//!
//! The window of a round is on the token, so all members have the same. It begins as configured and
//! grows while rounds are full and short: what a round costs beside its packets is then spread over
//! more of them. When packets are lost it shrinks. On a network that one configured window keeps busy
//! for long, a greater one would only make everyone wait, so it stays.

use std::time::Duration;

use super::packets::CAPACITY_PACKETS;
use crate::config::{RingConfig, Windows};

/// A round of one member that takes longer than this is not made longer.
const ROUND_OF_EACH: Duration = Duration::from_micros(500);
/// The same for small rings.
const SHORT_ROUND: Duration = Duration::from_millis(3);
/// Nor is one that takes longer than an unloaded one by more than this part of it, where that is still longer.
const QUEUEING_PART: u32 = 4;
/// A window changes by this part of itself.
const STEP: u32 = 8;
/// By this part when a member puts deliveries off: a greater one, because rounds raise the window meanwhile.
const STEP_OF_SLOW: u32 = 4;
/// Losing a greater part of a round than this is a reason to send less. Less than that may be the
/// network's nature, and is no reason to send more.
const MUCH_LOST: u32 = 16;
/// Losses never divide the configured window by more than this.
const LEAST_PART: u32 = 4;
/// Nor do members that cannot deliver as fast as they receive by more than this.
const LEAST_PART_OF_SLOW: u32 = 16;
/// Packets that someone does not hold, or has not delivered, are no more than those of so many rounds.
const OUTSTANDING_ROUNDS: u32 = 4;
/// Nor ever more than this: a member that last heard of what is stable a round ago must have room for all.
const MOST_OUTSTANDING: u64 = CAPACITY_PACKETS / 2;

impl Windows {
    /// The windows of a round in which all may send `all` packets, the others in proportion.
    pub(crate) fn of_round(config: &RingConfig, all: u32) -> Self {
        let all = all.clamp(least(config, LEAST_PART_OF_SLOW), limit(config));
        let part = |configured: u32| {
            let scaled = u64::from(configured) * u64::from(all) / u64::from(config.windows.all.max(1));
            u32::try_from(scaled).unwrap_or(u32::MAX)
        };
        let personal = part(config.windows.personal).clamp(1, all.max(1));
        Self { all, personal, after_token: part(config.windows.after_token).min(personal) }
    }
}

fn least(config: &RingConfig, part: u32) -> u32 {
    (config.windows.all / part).clamp(1, limit(config))
}

fn limit(config: &RingConfig) -> u32 {
    config.window_limit_packets.max(1)
}

/// A round of the token, as the representative saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// How long it took.
    pub(crate) took: Duration,
    /// How long one takes when nothing waits on its way.
    pub(crate) unloaded: Duration,
    /// How many members passed the token.
    pub(crate) members: u32,
    /// Packets that were sent.
    pub(crate) fcc: u32,
    /// Packets that waited.
    pub(crate) backlog: u32,
    /// Whether packets are asked for.
    pub(crate) is_lossy: bool,
}

/// The window after a round: greater when packets waited for it although the round was short. One that
/// losses have lowered rises again whatever a round is like, or a link that always loses a little would
/// keep it low for ever.
pub(crate) fn after_round(config: &RingConfig, window: u32, round: Round) -> u32 {
    let far = round.unloaded + round.unloaded / QUEUEING_PART;
    let short = SHORT_ROUND.max(ROUND_OF_EACH * round.members).max(far);
    let step = (window / STEP).max(1);
    let is_raised = window > config.windows.all;
    let wanted = round.backlog > round.fcc;
    let is_lowered = window < config.windows.all;
    if wanted && (is_lowered || (round.took < short && !round.is_lossy)) {
        window.saturating_add(step)
    } else if is_raised && round.took > short * 2 {
        window.saturating_sub(step).max(config.windows.all)
    } else {
        window
    }
}

/// The window after a member found that it lacks `lost` packets of a round.
pub(crate) fn after_loss(config: &RingConfig, window: u32, fcc: u32, lost: u32) -> u32 {
    let much = fcc.max(MUCH_LOST) / MUCH_LOST;
    if lost > much { lowered(window, STEP, least(config, LEAST_PART)) } else { window }
}

/// The window after a member put deliveries off.
pub(crate) fn after_lag(config: &RingConfig, window: u32) -> u32 {
    lowered(window, STEP_OF_SLOW, least(config, LEAST_PART_OF_SLOW))
}

fn lowered(window: u32, step: u32, least: u32) -> u32 {
    (window - window / step).max(least.min(window))
}

/// What the allowance depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Packets of all members in the last round, as the token counts them.
    pub(crate) fcc: u32,
    /// How many of these were mine.
    pub(crate) mine_last_round: u32,
    /// Packets that wait at all members, mine included.
    pub(crate) backlog: u32,
    /// How many of these are mine.
    pub(crate) my_backlog: u32,
    /// Packets that I sent again in this visit.
    pub(crate) retransmitted: u32,
    /// Packets on the ring that someone does not say to hold: does not, or has not delivered.
    pub(crate) outstanding: u64,
    /// Members of the ring, each of which may send a packet in a round.
    pub(crate) members: u32,
}

/// New packets that this visit may send. The window of a round is shared by backlog, and who has
/// any may always send one packet: otherwise the members that come first after a change would fill
/// the window in each round, and the others would wait for ever. Every subtraction saturates: a
/// count that a departed member left on the token must never wrap into a licence to flood.
pub(crate) fn allowance(config: &RingConfig, windows: Windows, load: Load) -> usize {
    let others = load.fcc.saturating_sub(load.mine_last_round);
    let free = windows.all.saturating_sub(others).saturating_sub(load.retransmitted);
    let share = u64::from(windows.all) * u64::from(load.my_backlog)
        / u64::from(load.backlog.max(load.my_backlog).max(1));
    let packets = u64::from(free.min(windows.personal)).min(share).max(1);
    let rounds = u64::from(windows.all.max(load.members).saturating_mul(OUTSTANDING_ROUNDS));
    let most = config.outstanding_packets.min(rounds).min(MOST_OUTSTANDING);
    let outstanding = most.saturating_sub(load.outstanding);
    usize::try_from(packets.min(outstanding)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        fcc: 0,
        mine_last_round: 0,
        backlog: 50,
        my_backlog: 50,
        retransmitted: 0,
        outstanding: 0,
        members: 3,
    };

    const ROUND: Round = Round {
        took: Duration::from_micros(300),
        unloaded: Duration::from_micros(200),
        members: 4,
        fcc: 160,
        backlog: 500,
        is_lossy: false,
    };

    fn allowed(config: &RingConfig, load: Load) -> usize {
        allowance(config, Windows::of_round(config, config.windows.all), load)
    }

    #[test]
    fn the_smallest_of_the_windows_decides() {
        let windows = Windows { all: 100, personal: 20, after_token: 15 };
        let config = RingConfig { windows, ..RingConfig::default() };
        assert_eq!(allowed(&config, LOAD), 20);
        assert_eq!(allowed(&config, Load { fcc: 90, ..LOAD }), 10);
        assert_eq!(allowed(&config, Load { fcc: 90, mine_last_round: 20, ..LOAD }), 20);
        assert_eq!(allowed(&config, Load { outstanding: 400 - 3, ..LOAD }), 3, "of four rounds");
        assert_eq!(allowed(&config, Load { outstanding: 800 - 3, members: 200, ..LOAD }), 3);
        let narrow = RingConfig { outstanding_packets: 300, ..config };
        assert_eq!(allowed(&narrow, Load { outstanding: 300 - 3, ..LOAD }), 3);
        let wide = RingConfig {
            windows: Windows { all: 1 << 16, ..windows },
            window_limit_packets: 1 << 16,
            outstanding_packets: 1 << 20,
            ..config
        };
        assert_eq!(allowed(&wide, Load { outstanding: MOST_OUTSTANDING - 3, ..LOAD }), 3);
        assert_eq!(allowed(&config, Load { backlog: 500, ..LOAD }), 10);
    }

    #[test]
    fn a_full_window_leaves_one_packet_to_everyone_who_waits() {
        let windows = Windows { all: 100, ..RingConfig::default().windows };
        let config = RingConfig { windows, ..RingConfig::default() };
        assert_eq!(allowed(&config, Load { fcc: 100, ..LOAD }), 1);
        let outstanding = config.outstanding_packets;
        assert_eq!(allowed(&config, Load { fcc: 100, outstanding, ..LOAD }), 0);
    }

    #[test]
    fn nothing_wraps() {
        let config = RingConfig::default();
        let load = Load { fcc: u32::MAX, backlog: u32::MAX, retransmitted: 9, outstanding: u64::MAX, ..LOAD };
        assert_eq!(allowed(&config, load), 0);
        let extreme = Windows::of_round(&RingConfig { window_limit_packets: u32::MAX, ..config }, u32::MAX);
        assert_eq!((extreme.all, extreme.personal), (u32::MAX, u32::MAX / 8));
        assert_eq!(after_round(&RingConfig::default(), u32::MAX, ROUND), u32::MAX);
        let wide = RingConfig { window_limit_packets: u32::MAX, ..RingConfig::default() };
        assert_eq!(after_loss(&wide, u32::MAX, u32::MAX, u32::MAX), u32::MAX - u32::MAX / STEP);
        assert_eq!(after_lag(&wide, u32::MAX), u32::MAX - u32::MAX / STEP_OF_SLOW);
    }

    #[test]
    fn the_windows_of_a_ring_keep_their_proportion_and_limits() {
        let config = RingConfig::default();
        let windows = |all| {
            let windows = Windows::of_round(&config, all);
            (windows.all, windows.personal, windows.after_token)
        };
        assert_eq!(windows(160), (160, 20, 15));
        assert_eq!(windows(480), (480, 60, 45));
        assert_eq!(windows(1_000_000), (1280, 160, 120));
        assert_eq!(windows(0), (10, 1, 0));
        let small = RingConfig { window_limit_packets: 3, ..config };
        assert_eq!(Windows::of_round(&small, 160).all, 3);
    }

    #[test]
    fn full_and_short_rounds_raise_the_window_and_long_ones_let_it_fall_to_what_is_configured() {
        let config = RingConfig::default();
        let after = |window, round| after_round(&config, window, round);
        assert_eq!(after(160, ROUND), 180);
        assert_eq!(after(160, Round { backlog: 160, ..ROUND }), 160, "nobody waits");
        assert_eq!(after(160, Round { is_lossy: true, ..ROUND }), 160);
        let long = Round { took: Duration::from_millis(20), ..ROUND };
        assert_eq!((after(160, long), after(80, Round { is_lossy: true, ..long })), (160, 90));
        assert_eq!((after(320, long), after(165, long)), (280, 160));
        let large = Round { took: Duration::from_millis(8), members: 20, ..ROUND };
        assert_eq!(after(160, large), 180);
    }

    #[test]
    fn a_round_is_short_where_the_way_takes_most_of_it() {
        let config = RingConfig::default();
        let far = Round { unloaded: Duration::from_millis(160), ..ROUND };
        let after =
            |window, ms| after_round(&config, window, Round { took: Duration::from_millis(ms), ..far });
        assert_eq!((after(160, 161), after(160, 199), after(160, 200)), (180, 180, 160));
        assert_eq!((after(320, 400), after(320, 401)), (320, 280));
    }

    #[test]
    fn losing_much_of_a_round_lowers_the_window_and_losing_little_does_not() {
        let config = RingConfig::default();
        let after = |window, fcc, lost| after_loss(&config, window, fcc, lost);
        assert_eq!(after(160, 160, 10), 160);
        assert_eq!(after(160, 160, 11), 140);
        assert_eq!(after(160, 1, 1), 160);
        assert_eq!(after(42, 1, 100), 40, "no less than a quarter");
        assert_eq!(after(1, 1, 100), 1);
    }

    #[test]
    fn a_member_that_delivers_slowly_lowers_the_window_further() {
        let config = RingConfig::default();
        assert_eq!(after_lag(&config, 160), 120);
        assert_eq!(after_lag(&config, 11), 10);
        assert_eq!(after_lag(&config, 10), 10);
    }
}
