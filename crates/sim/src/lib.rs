//! Deterministic simulator of whole Antiphon clusters, with independent checkers.
//!
//! | module | what |
//! |---|---|
//! | [`world`] | virtual time, hosts that run real [`antiphon_proto::Node`]s, faults |
//! | [`network`] | links and what they do to datagrams |
//! | [`client`] | clients that speak the client protocol in bytes |
//! | [`record`], [`trace`] | what a run leaves behind |
//! | [`check`] | one property a file, judged from the trace alone |
//! | [`scenario`] | hand-written stories |
//! | [`workload`] | what clients do |
//! | [`swarm`] | a seed becomes a whole run: settings, faults, load, phases |
//! | [`every`] | one thing goes wrong at the n-th datagram of a story, for every n |
//! | [`work`] | work of a fixed size, without faults and checkers, to count instructions of |
//! | [`runner`], [`report`] | many seeds on several threads, and what is printed of them |
//! | [`times`] | how long a crash, a leave or a merge takes to the view |
//! | [`loss`] | what lost datagrams cost |
//! | [`log`] | logs of real clients, for the same checkers |
//! | [`hash`] | whether two runs were the same |
//! | `mutants` | planted faults, which the checkers must find; needs the feature of that name |

pub mod check;
pub mod client;
pub mod every;
pub mod hash;
pub mod log;
pub mod loss;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
pub mod record;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod swarm;
pub mod times;
pub mod trace;
pub mod work;
pub mod workload;
pub mod world;
