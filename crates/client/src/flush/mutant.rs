//! Faults planted on purpose, to see that the simulator's checkers find them.
//!
//! They exist only with the feature `mutants`, which no program is built with: without it
//! `Planted::is` is `false` for the compiler.

macro_rules! mutants {
    ($($name:ident: $what:literal,)+) => {
        /// A fault that a [`Layer`](super::Layer) can be told to have.
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
    ViewBeforeFlush: "A view is installed when all but one have flushed.",
    SendAfterFlush: "Members can send between flush and view.",
    HearAnyone: "Whoever sends to the group is heard, also from another view.",
    NeverOverdue: "Who does not flush in time stays in the group all the same.",
    ForgetWhoParted: "Members that left and came back are said to have stayed.",
}

/// The fault that a layer has, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Planted {
    #[cfg(feature = "mutants")]
    pub(super) mutant: Option<Mutant>,
}

impl Planted {
    #[cfg(feature = "mutants")]
    pub(super) fn is(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the mutant is chosen in the layer")]
    pub(super) const fn is(self, _mutant: Mutant) -> bool {
        false
    }
}
