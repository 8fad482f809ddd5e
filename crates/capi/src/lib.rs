//! `libantiphon`: the C interface that programs written for libspread know.
//!
//! Programs recompile against the headers in `include`, or merely relink, or find this library under the
//! names of the old ones. What each function does stands in docs/c-library.md; here is how it is made.
//!
//! ```text
//! sp · fl · events          the exported functions: pointers become slices, results become numbers
//!   receive · delivery      frames become what a program receives, in the room that it has
//!   flush                   the flush layer of the client library, for a mailbox
//!   connect · auth          the handshake, with the program's authentication
//!   session · claim         one open session, and all by mailbox; who uses a half of it
//!   input · output · flusher   bytes from and to the socket
//! ```
//!
//! `unsafe` stands in the exported functions and in `pointer`, where a program's promise is needed, and in
//! the few calls of C; all else works on slices. No function panics; one that did would end the process,
//! since the exported functions are `extern "C"`.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod events;
pub mod fl;
pub mod layout;
pub mod sp;
pub mod sp_membership;

mod auth;
mod claim;
mod codes;
mod connect;
mod delivery;
mod flush;
mod flusher;
mod input;
mod name;
mod output;
mod pointer;
mod receive;
mod session;
