//! The six service levels and the flag word of the client protocol.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How a message is ordered and how surely it is delivered, from weakest to strongest.
///
/// Two messages from FIFO up keep their order whatever their levels, and one below has none to keep
/// (docs/testing.md, S7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ServiceLevel {
    /// May be lost; no order.
    Unreliable = 0,
    /// Not lost among daemons that stay together; no order.
    Reliable = 1,
    /// Reliable, and in the order of its sender.
    Fifo = 2,
    /// FIFO, and after everything that its sender had received before sending it.
    Causal = 3,
    /// Causal, and in one order for everyone (total order).
    Agreed = 4,
    /// Agreed, and delivered only when every daemon of the configuration holds it (stability).
    Safe = 5,
}

impl ServiceLevel {
    /// All levels, weakest first.
    pub const ALL: [Self; 6] =
        [Self::Unreliable, Self::Reliable, Self::Fifo, Self::Causal, Self::Agreed, Self::Safe];

    /// The level of that number, 0 to 5.
    #[must_use]
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rank)).copied()
    }

    /// 0 for the weakest, 5 for the strongest.
    #[must_use]
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Whether messages of this level have a place in the total order.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        self >= Self::Fifo
    }

    /// The bit of this level in the flag word of the client protocol.
    #[must_use]
    pub fn flag(self) -> u32 {
        1 << self.rank()
    }

    /// The level named by exactly one of the six service bits; `None` for no bit or several.
    #[must_use]
    pub fn from_flags(flags: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| flags & Self::FLAG_MASK == level.flag())
    }

    /// All six service bits.
    pub const FLAG_MASK: u32 = 0x3f;

    /// Lower-case name as used in commands and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreliable => "unreliable",
            Self::Reliable => "reliable",
            Self::Fifo => "fifo",
            Self::Causal => "causal",
            Self::Agreed => "agreed",
            Self::Safe => "safe",
        }
    }
}

/// A text is not the name of a service level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the service levels are {}", ServiceLevel::ALL.map(ServiceLevel::name).join(", "))]
pub struct ServiceLevelError;

impl FromStr for ServiceLevel {
    type Err = ServiceLevelError;

    /// Reads a [name](Self::name).
    fn from_str(text: &str) -> Result<Self, ServiceLevelError> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or(ServiceLevelError)
    }
}

impl fmt::Display for ServiceLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_service_bit_names_a_level() {
        assert_eq!(ServiceLevel::from_flags(0x8000_0090), Some(ServiceLevel::Agreed));
        assert_eq!(ServiceLevel::from_flags(0x24), None);
        assert_eq!(ServiceLevel::from_flags(0x0001_0000), None);
        for level in ServiceLevel::ALL {
            assert_eq!(ServiceLevel::from_flags(level.flag()), Some(level));
            assert_eq!(ServiceLevel::from_rank(level.rank()), Some(level));
        }
    }

    #[test]
    fn levels_are_read_and_shown_by_their_names() {
        for level in ServiceLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        let error = "certain".parse::<ServiceLevel>().expect_err("no level");
        let expected = "the service levels are unreliable, reliable, fifo, causal, agreed, safe";
        assert_eq!(error.to_string(), expected);
    }
}
