//! How names are found.
//!
//! Clients choose names. Who could foresee the hash could choose thousands that fall together, and each lookup would
//! go through all of them. So a daemon makes its hash of a random seed. That holds off who sends names that were
//! chosen before; who measures the time of each answer for long enough may still learn about it, as with any fast hash.
//!
//! Which hash it is shows in nothing that a node does, as no table is gone through in the order of hashes.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

/// A hash of names.
// Without a default, which would be a random source inside the core.
#[derive(Clone, Debug)]
pub struct NameHash(SeedableRandomState);

impl NameHash {
    /// One that anybody can foresee, for tests.
    #[must_use]
    pub fn fixed() -> Self {
        Self(SeedableRandomState::fixed())
    }

    /// One that nobody can foresee who does not know the seed.
    #[must_use]
    pub fn secret(seed: u64) -> Self {
        Self(SeedableRandomState::with_seed(seed, SharedSeed::global_random()))
    }
}

impl BuildHasher for NameHash {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}
