//! Groups.
use crate::{
    config::Config,
    cx::Cx,
    delivery::{Configuration, Message},
    sessions::Sessions,
};
use antiphon_wire::ids::{ProcessId, RingId};
#[derive(Debug)]
pub(crate) struct Groups;
impl Groups {
    pub(crate) fn new(_: ProcessId, _: &Config, _: RingId) -> Self {
        Self
    }
    pub(crate) fn on_configuration(&mut self, _: &Configuration, _: &mut Sessions, cx: &mut Cx<'_>) {
        cx.queue.set_clients_open(true);
    }
    pub(crate) fn on_message(&mut self, _: &Message, _: &mut Sessions, _: &mut Cx<'_>) {}
    pub(crate) fn is_settled(&self) -> bool {
        true
    }
}
