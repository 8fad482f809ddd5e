//! Groups of several daemons, driven by one fake stream.

mod cascades;
mod changes;
mod codec;
mod histories;
mod mutations;
mod network;
mod scale;
mod world;
