//! Loads for daemons that speak the client protocol, and what they took.
//!
//! Daemons are only ever reached by their addresses, as any client reaches them, so that the same load
//! can be put on any implementation. [`measure`] runs one [`Load`]: receivers join a group on some of
//! the daemons, senders multicast to it from others, and a [`Report`] says how fast, how late, at what
//! price, and whether every receiver got every message in the same order.
//!
//! | module | what |
//! |---|---|
//! | [`address`] | where daemons are, and how they let clients in |
//! | [`load`] | what to put on which daemons |
//! | [`stamp`] | what a sender writes at the start of a body |
//! | [`sequence`] | gaps, duplicates and order differences |
//! | [`process`] | what a daemon process has used, from `/proc` |
//! | [`run`] | the threads of a run |
//! | [`membership`] | joins and leaves in large groups |
//! | [`report`] | the outcome, as a table or for serde |
//! | [`mod@soak`] | whether anything grows, gets lost or changes in a long time |
//! | [`limits`] | what sockets can do without a daemon |
//! | [`janitor`] | nothing stays behind of processes and files that were made |
//! | [`figures`] | the classic experiments on a test bed of this machine |
//! | [`error`] | why a load could not be measured |

pub mod address;
pub mod error;
pub mod figures;
pub mod janitor;
pub mod limits;
pub mod load;
pub mod membership;
pub mod process;
pub mod report;
pub mod run;
pub mod sequence;
pub mod soak;
pub mod stamp;

mod crowd;
mod progress;
mod receiver;
mod sender;
mod skim;
mod watch;

pub use self::address::Reach;
pub use self::error::BenchError;
pub use self::load::{Load, Rate, groups_load, own_group};
pub use self::membership::{MembershipLoad, MembershipRow, measure_membership};
pub use self::report::Report;
pub use self::run::measure;
pub use self::soak::{SoakReport, soak};
