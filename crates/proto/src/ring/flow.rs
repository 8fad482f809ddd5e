//! How many new packets a token visit may send (Totem flow control; CNDS-2014-2 §III-A).

use crate::config::RingConfig;

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
    /// Packets on the ring that someone does not hold yet.
    pub(crate) outstanding: u64,
}

/// New packets that this visit may send. The window of a round is shared by backlog, and who has
/// any may always send one packet: otherwise the members that come first after a change would fill
/// the window in each round, and the others would wait for ever. Every subtraction saturates: a
/// count that a departed member left on the token must never wrap into a licence to flood.
pub(crate) fn allowance(config: &RingConfig, load: Load) -> usize {
    let others = load.fcc.saturating_sub(load.mine_last_round);
    let free = config.window_packets.saturating_sub(others).saturating_sub(load.retransmitted);
    let share = u64::from(config.window_packets) * u64::from(load.my_backlog)
        / u64::from(load.backlog.max(load.my_backlog).max(1));
    let packets = u64::from(free.min(config.personal_window_packets)).min(share).max(1);
    let outstanding = config.outstanding_packets.saturating_sub(load.outstanding);
    usize::try_from(packets.min(outstanding)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load =
        Load { fcc: 0, mine_last_round: 0, backlog: 50, my_backlog: 50, retransmitted: 0, outstanding: 0 };

    #[test]
    fn the_smallest_of_the_windows_decides() {
        let config = RingConfig { window_packets: 100, personal_window_packets: 20, ..RingConfig::default() };
        assert_eq!(allowance(&config, LOAD), 20);
        assert_eq!(allowance(&config, Load { fcc: 90, ..LOAD }), 10);
        assert_eq!(allowance(&config, Load { fcc: 90, mine_last_round: 20, ..LOAD }), 20);
        assert_eq!(allowance(&config, Load { outstanding: config.outstanding_packets - 3, ..LOAD }), 3);
        assert_eq!(allowance(&config, Load { backlog: 500, ..LOAD }), 10);
    }

    #[test]
    fn a_full_window_leaves_one_packet_to_everyone_who_waits() {
        let config = RingConfig { window_packets: 100, ..RingConfig::default() };
        assert_eq!(allowance(&config, Load { fcc: 100, ..LOAD }), 1);
        assert_eq!(allowance(&config, Load { fcc: 100, outstanding: config.outstanding_packets, ..LOAD }), 0);
    }

    #[test]
    fn nothing_wraps() {
        let config = RingConfig::default();
        let load = Load { fcc: u32::MAX, backlog: u32::MAX, retransmitted: 9, outstanding: u64::MAX, ..LOAD };
        assert_eq!(allowance(&config, load), 0);
    }
}
