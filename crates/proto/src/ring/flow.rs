//! How many new packets a token visit may send (Totem flow control; CNDS-2014-2 §III-A).

use crate::config::RingConfig;

/// What the allowance depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Packets of all members in the last round, as the token counts them.
    pub(crate) fcc: u32,
    /// How many of these were mine.
    pub(crate) mine_last_round: u32,
    /// Packets that I sent again in this visit.
    pub(crate) retransmitted: u32,
    /// Packets on the ring that someone does not hold yet.
    pub(crate) outstanding: u64,
}

/// New packets that this visit may send. Every subtraction saturates: a count that a departed
/// member left on the token must never wrap into a licence to flood.
pub(crate) fn allowance(config: &RingConfig, load: Load) -> usize {
    let others = load.fcc.saturating_sub(load.mine_last_round);
    let shared = config.window_packets.saturating_sub(others).saturating_sub(load.retransmitted);
    let outstanding = config.outstanding_packets.saturating_sub(load.outstanding);
    let packets = u64::from(shared.min(config.personal_window_packets)).min(outstanding);
    usize::try_from(packets).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { fcc: 0, mine_last_round: 0, retransmitted: 0, outstanding: 0 };

    #[test]
    fn the_smallest_of_the_three_windows_decides() {
        let config = RingConfig { window_packets: 100, personal_window_packets: 20, ..RingConfig::default() };
        assert_eq!(allowance(&config, LOAD), 20);
        assert_eq!(allowance(&config, Load { fcc: 90, ..LOAD }), 10);
        assert_eq!(allowance(&config, Load { fcc: 90, mine_last_round: 20, ..LOAD }), 20);
        assert_eq!(allowance(&config, Load { outstanding: config.outstanding_packets - 3, ..LOAD }), 3);
    }

    #[test]
    fn nothing_wraps() {
        let config = RingConfig::default();
        let load = Load { fcc: u32::MAX, mine_last_round: 0, retransmitted: 9, outstanding: u64::MAX };
        assert_eq!(allowance(&config, load), 0);
    }
}
