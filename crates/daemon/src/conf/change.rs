//! What a file that is read again means for a daemon that runs.
//!
//! Daemons are told apart by their places in the file, so these must stay: daemons are added, and left out, at its end.
//! All else stays as this daemon was started, so what depends on the number of daemons is checked here with the settings
//! that it was started with.

use super::directives::least_datagram_bytes;
use super::{LoadError, Segment, Settings};

/// What is to come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing: the daemons are the same.
    Nothing,
    /// There are more daemons, or fewer.
    Daemons,
}

impl Settings {
    /// What it takes to go over to these settings, or why that takes a restart of all daemons.
    pub(crate) fn change_to(&self, next: &Self) -> Result<Change, String> {
        if next.config.cluster.hash == self.config.cluster.hash {
            return Ok(Change::Nothing);
        }
        if next.wide_area != self.wide_area {
            let value = if self.wide_area { "yes" } else { "no" };
            return Err(format!(
                "its times are for daemons that are {}far apart, as WideAreaNetwork or the addresses of segments \
                 say (WideAreaNetwork = {value} keeps the present ones)",
                if next.wide_area { "" } else { "not " }
            ));
        }
        if let Some((before, now)) = first_difference(&self.segments, &next.segments) {
            return Err(format!("a segment is another: {} in place of {}", name(now), name(before)));
        }
        if let Some((before, now)) = first_difference(&self.locations, &next.locations) {
            return Err(if now.name == before.name {
                format!("{} has another address or VirtualID", now.name)
            } else {
                format!("{} stands where {} was", now.name, before.name)
            });
        }
        let daemons = next.locations.len();
        if daemons == self.locations.len() {
            let is_same = next.segments.len() == self.segments.len();
            let what = if is_same {
                "ExcludeSegAddrsFromHash is another"
            } else {
                "only segments without daemons differ"
            };
            return Err(what.to_owned());
        }
        let least = least_datagram_bytes(daemons, self.key_file.is_some());
        if self.datagram_bytes() < least {
            return Err(format!("{daemons} daemons take a DatagramBytes of {least} at least from the start"));
        }
        Ok(Change::Daemons)
    }

    /// Whether a file could not be loaded because it leaves this daemon out at its end: those that it has are the first of
    /// those that there are now.
    pub(crate) fn is_left_out(&self, error: &LoadError) -> bool {
        let LoadError::UnknownDaemon { known, .. } = error else { return false };
        let stay = self.locations.iter().zip(known).all(|(own, name)| own.name == *name);
        stay && !known.is_empty() && known.len() <= self.config.me.index()
    }

    /// Goes over to the daemons of others. Everything else stays as it was when this daemon started.
    pub(crate) fn take_daemons_of(&mut self, next: Self) {
        self.config.cluster = next.config.cluster;
        self.locations = next.locations;
        self.segments = next.segments;
    }
}

/// The first place at which both lists have something, but not the same.
fn first_difference<'a, T: PartialEq>(before: &'a [T], now: &'a [T]) -> Option<(&'a T, &'a T)> {
    before.iter().zip(now).find(|(before, now)| before != now)
}

fn name(segment: &Segment) -> String {
    let addresses: Vec<String> = segment.addresses.iter().map(ToString::to_string).collect();
    format!("{}:{}", addresses.join(" "), segment.port)
}

#[cfg(test)]
mod tests {
    use super::super::{Source, load_source};
    use super::*;

    fn settings(text: &str) -> Settings {
        load_source(Source::new("test", text.as_bytes()), Some("b")).expect("a good file").settings
    }

    const BEFORE: &str = "Spread_Segment 127.0.0.255:4803 { a 127.0.0.1 b 127.0.0.2 c 127.0.0.3 }
        Spread_Segment 127.0.1.255:4803 { d 127.0.1.1 }";

    fn change(next: &str) -> Result<Change, String> {
        settings(BEFORE).change_to(&settings(next))
    }

    #[test]
    fn daemons_come_and_go_at_the_end() {
        assert_eq!(change(&format!("Window = 90 {BEFORE}")), Ok(Change::Nothing));
        for next in [
            BEFORE.replace("d 127.0.1.1", "d 127.0.1.1 e 127.0.1.2"),
            format!("{BEFORE} Spread_Segment 127.0.2.255:4803 {{ e 127.0.2.1 }}"),
            BEFORE.replace("Spread_Segment 127.0.1.255:4803 { d 127.0.1.1 }", ""),
        ] {
            assert_eq!(change(&next), Ok(Change::Daemons), "{next}");
            assert_eq!(settings(&next).change_to(&settings(BEFORE)), Ok(Change::Daemons), "{next}");
        }
    }

    #[test]
    fn who_is_left_out_is_behind_all_that_are_left() {
        let b = settings(BEFORE);
        let is_left_out = |daemons: &str| {
            let text = format!("Spread_Segment 127.0.0.255:4803 {{ {daemons} }}");
            b.is_left_out(
                &load_source(Source::new("test", text.as_bytes()), Some("b")).expect_err("not there"),
            )
        };
        assert!(is_left_out("a 127.0.0.1"));
        for daemons in ["localhost 127.0.0.1", "c 127.0.0.3", "a 127.0.0.1 c 127.0.0.3", ""] {
            assert!(!is_left_out(daemons), "{daemons}");
        }
    }

    #[test]
    fn what_was_set_at_the_start_must_do_for_more_daemons() {
        let many: String = (1..=120).map(|number| format!(" x{number} 127.0.5.{number}")).collect();
        let more = BEFORE.replace("d 127.0.1.1", &format!("d 127.0.1.1{many}"));
        assert_eq!(change(&more), Ok(Change::Daemons));
        for (key, is_sealed) in [("", false), ("KeyFile = /keys", true)] {
            let least = least_datagram_bytes(settings(&more).locations.len(), is_sealed);
            let before = |bytes: usize| settings(&format!("{key} DatagramBytes = {bytes} {BEFORE}"));
            assert_eq!(before(least).change_to(&settings(&more)), Ok(Change::Daemons));
            let refused = before(least - 1).change_to(&settings(&more)).expect_err("too small");
            assert!(refused.contains(&format!("take a DatagramBytes of {least} at least")), "{refused}");
        }
    }

    #[test]
    fn whoever_stays_must_stay_the_same() {
        for (from, to, why) in [
            ("c 127.0.0.3", "", "d stands where c was"),
            ("a 127.0.0.1", "a 127.0.0.1 e 127.0.0.9", "e stands where b was"),
            ("d 127.0.1.1", "d 127.0.1.9", "d has another address"),
            ("b 127.0.0.2", "b 127.0.0.9", "b has another address"),
            (
                "127.0.1.255",
                "127.0.3.255",
                "a segment is another: 127.0.3.255:4803 in place of 127.0.1.255:4803",
            ),
            ("Spread_Segment 127.0.0.255", "WideAreaNetwork = yes Spread_Segment 127.0.0.255", "far apart"),
            ("a 127.0.0.1", "a 127.0.0.1 VirtualID = 77", "another address or VirtualID"),
        ] {
            let refused = change(&BEFORE.replacen(from, to, 1)).expect_err(to);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
