//! What directives of a configuration file say, before it is known who is configured.

use std::path::PathBuf;

use antiphon_proto::config::{MembershipConfig, RingConfig, SessionConfig};

use super::{IpPreference, LogSettings, PortReuse};

/// The settings that do not depend on who is configured. Most are described at their namesakes in
/// [`Settings`](super::Settings) and [`Config`](antiphon_proto::config::Config).
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) ring: RingConfig,
    pub(crate) membership: MembershipConfig,
    pub(crate) sessions: SessionConfig,
    /// UDP payload of a packet, if the file says it.
    pub(crate) datagram_bytes: Option<usize>,
    pub(crate) unix_dirs: Vec<PathBuf>,
    pub(crate) port_reuse: PortReuse,
    pub(crate) ignore_join_errors: bool,
    /// Which addresses a looked-up name may give.
    pub(crate) ip_preference: IpPreference,
    /// Whether the addresses of segments are part of what daemons must agree on.
    pub(crate) hash_segments: bool,
    pub(crate) busy_poll: bool,
    pub(crate) dangerous_monitor: bool,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) wide_area: bool,
    pub(crate) log: LogSettings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring: RingConfig::default(),
            membership: MembershipConfig::default(),
            sessions: SessionConfig::default(),
            datagram_bytes: None,
            unix_dirs: Vec::new(),
            port_reuse: PortReuse::default(),
            ignore_join_errors: false,
            ip_preference: IpPreference::default(),
            hash_segments: true,
            busy_poll: false,
            dangerous_monitor: false,
            key_file: None,
            wide_area: false,
            log: LogSettings::default(),
        }
    }
}

impl Options {
    /// Says whether daemons are far apart, before anything else is said about times.
    pub(crate) fn settle_wide_area(&mut self, wide_area: bool) {
        self.wide_area = wide_area;
        if wide_area {
            self.ring = self.ring.clone().in_wide_area();
            self.membership = self.membership.clone().in_wide_area();
            self.sessions = self.sessions.clone().in_wide_area();
        }
    }
}
