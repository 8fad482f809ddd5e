//! Sessions.
pub mod access;
use crate::{config::Config, cx::Cx, delivery::Kind, io::Origin, send_queue::Outgoing};
use antiphon_wire::ids::SessionId;
use antiphon_wire::service::ServiceLevel;
use bytes::Bytes;
/// Stub: bytes of a session are a rank byte and a frame.
#[derive(Debug)]
pub struct Outbox {}
#[derive(Debug)]
pub(crate) struct Sessions;
impl Sessions {
    pub(crate) fn new(_: &Config, _: u64) -> Self {
        Self
    }
    pub(crate) fn on_opened(&mut self, _: SessionId, _: Origin, _: &mut Cx<'_>) {}
    pub(crate) fn on_bytes(&mut self, id: SessionId, bytes: Bytes, cx: &mut Cx<'_>) {
        let service = ServiceLevel::from_rank(bytes[0]).unwrap_or(ServiceLevel::Agreed);
        cx.queue.push(id, Outgoing { kind: Kind::Client, service, frame: bytes.slice(1..) });
    }
    pub(crate) fn on_closed(&mut self, _: SessionId, _: &mut Cx<'_>) {}
    pub(crate) fn on_handshake_timeout(&mut self, _: &mut Cx<'_>) {}
    pub(crate) fn on_shutdown(&mut self, _: &mut Cx<'_>) {}
    pub(crate) fn outbox(&mut self, _: SessionId) -> Option<&mut Outbox> {
        None
    }
}
