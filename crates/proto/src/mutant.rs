//! Faults planted on purpose, to see that the checkers find them.
//!
//! They exist only with the feature `mutants`, which no daemon is built with: without it
//! `Config::is_mutant` is `false` for the compiler.

use crate::config::Config;

macro_rules! mutants {
    ($($name:ident: $what:literal,)+) => {
        /// A fault that the core can be told to have.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mutant {
            $(#[doc = $what] $name,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them, each with what it does.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $what),)+];
        }
    };
}

mutants! {
    SafeOnReceipt: "Safe messages are delivered when they are here, not when everyone has them.",
    AckBeyondHole: "A daemon acknowledges packets behind one that it lacks.",
    AnnounceEarly: "A safe message is said to be held by all when the first of them has said so.",
    TakeOldTokens: "A token is taken although its hop was seen.",
    NeverAsk: "Missing packets are never asked for.",
    NeverAnswer: "Packets that are asked for are never sent again.",
    NeverRepeatToken: "A token that is lost is not sent again.",
    DeliverEarlyTwice: "A message that was delivered on arrival is delivered in order as well.",
    DeliverReported: "What had to wait is delivered though it was reported what may be in that configuration.",
    ForgetObligations: "A daemon forgets whose messages it promised to deliver.",
    InstallEarly: "The leader installs when all but one have what they need.",
    SafeAtInstall: "Safe messages nobody knows to be stable are delivered in the old configuration.",
    AllBehindHoles: "Behind a hole, messages of senders whose earlier ones are lost are delivered.",
    NothingBehindHoles: "Behind a hole, messages of those who came along are not delivered.",
    LoseFragments: "What has come of a large message is lost when the ring changes.",
    ForgetUnsent: "A message that was being sent when the ring changed is not begun again.",
    KeepPreambles: "What a daemon has said in a ring it takes for said in the next one.",
    NoSignal: "No transitional signal is given.",
    LateSignal: "The transitional signal is given at the end of the transitional configuration.",
    NoExchange: "After a merge the groups are not exchanged.",
    KeepLost: "Members at lost daemons stay in their groups.",
    OneSet: "All members of a merged view are said to have come together.",
    OwnSets: "Every daemon's members of a merged view are said to have come by themselves.",
    CountDuplicateJoin: "The daemon of a member that joins again counts a change.",
    ForgetAGroup: "A session that ends stays in the first of its groups.",
    LeaveForDisconnect: "The end of a session is shown as a leave.",
    SameLife: "A group that begins again has the ids of its last life.",
    KeepReceivers: "Messages with one preamble go on to those who got the first, whoever has come or gone since.",
    DeafWithoutViews: "Sessions without membership messages get no messages of their groups.",
    LeaveOvertakes: "A leave overtakes what its session sent before.",
    EndOvertakes: "The end of a session overtakes what it sent.",
    Impatient: "Sessions that read are closed as slow readers.",
    KeepNames: "A name is never free again.",
    LoseUnreliable: "Unreliable messages are not delivered.",
    KeepPackets: "The last packets that everyone has delivered are kept.",
    EchoDiscarded: "Senders get back what they asked not to get.",
}

impl Config {
    #[cfg(feature = "mutants")]
    pub(crate) fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the mutant is chosen in the configuration")]
    pub(crate) const fn is_mutant(&self, _mutant: Mutant) -> bool {
        false
    }
}
