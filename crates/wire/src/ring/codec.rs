//! Fields that several datagrams share.

use bytes::BufMut;

use crate::ids::{DaemonId, ProcessId, RingId};
use crate::reader::{DecodeError, Reader};

/// A process: u16, u64.
pub(crate) const PROCESS_BYTES: usize = 10;
/// A ring: u64 and a process.
pub(crate) const RING_BYTES: usize = 8 + PROCESS_BYTES;

pub(crate) fn put_process(process: ProcessId, to: &mut impl BufMut) {
    to.put_u16_le(process.daemon.0);
    to.put_u64_le(process.incarnation);
}

pub(crate) fn process(reader: &mut Reader<'_>) -> Result<ProcessId, DecodeError> {
    Ok(ProcessId { daemon: DaemonId(reader.u16()?), incarnation: reader.u64()? })
}

/// Writes the identity of a ring: epoch u64, leader u16, incarnation u64.
pub fn put_ring(ring: RingId, to: &mut impl BufMut) {
    to.put_u64_le(ring.epoch);
    put_process(ring.leader, to);
}

/// Reads the identity of a ring.
///
/// # Errors
/// When bytes are missing.
pub fn ring(reader: &mut Reader<'_>) -> Result<RingId, DecodeError> {
    Ok(RingId { epoch: reader.u64()?, leader: process(reader)? })
}

/// Writes a list of processes behind its 16-bit length; what is over 65,535 is left out.
pub(crate) fn put_processes<'a>(
    processes: impl ExactSizeIterator<Item = &'a ProcessId>,
    to: &mut impl BufMut,
) {
    let count = u16::try_from(processes.len()).unwrap_or(u16::MAX);
    to.put_u16_le(count);
    for listed in processes.take(usize::from(count)) {
        put_process(*listed, to);
    }
}

/// Reads a list of processes.
pub(crate) fn processes(reader: &mut Reader<'_>) -> Result<Vec<ProcessId>, DecodeError> {
    let count = reader.count(PROCESS_BYTES)?;
    (0..count).map(|_| process(reader)).collect()
}

/// Reads a list of processes that must be strictly ascending and so without repetition.
pub(crate) fn sorted_processes(reader: &mut Reader<'_>) -> Result<Vec<ProcessId>, DecodeError> {
    let list = processes(reader)?;
    if list.is_sorted_by(|a, b| a < b) { Ok(list) } else { Err(reader.bad_value("process order", 0)) }
}
