//! The file with the keys that daemons seal their datagrams with (`KeyFile`).
//!
//! One key a line, in 64 hexadecimal digits; empty lines and those that begin with `#` are skipped. The first seals,
//! all open: to change a key without a moment in which daemons do not hear each other, put the new one behind the old
//! everywhere, then before it, then leave the old one out, letting all daemons read the file each time.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::str::FromStr;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use crate::error::limit_hint;

/// Bytes by which a datagram becomes longer when it is sealed.
pub(crate) const SEAL_BYTES: usize = 36;

const KEY_BYTES: usize = 32;
const KEYS_MAX: usize = 4;
/// No file with keys is longer.
const FILE_MAX_BYTES: u64 = 4096;

/// A secret that all daemons of a cluster share.
pub(crate) struct Key {
    secret: [u8; KEY_BYTES],
    fingerprint: [u8; SHA256_OUTPUT_LEN],
}

impl Key {
    fn new(secret: [u8; KEY_BYTES]) -> Self {
        let mut fingerprint = [0; SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(digest(&SHA256, &secret).as_ref());
        Self { secret, fingerprint }
    }

    /// Says in each sealed datagram which key it is sealed with. Never 0, and not a secret.
    pub(crate) fn id(&self) -> u8 {
        self.fingerprint[0].max(1)
    }

    /// Tells it from others with the same id.
    pub(crate) fn fingerprint(&self) -> [u8; SHA256_OUTPUT_LEN] {
        self.fingerprint
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({:02x})", self.id())
    }
}

/// The keys of a daemon; never empty, and each has an id of its own.
#[derive(Debug)]
pub(crate) struct Keys {
    sealing: Key,
    others: Vec<Key>,
    are_exposed: bool,
}

impl Keys {
    /// The one that seals.
    pub(crate) fn sealing(&self) -> &Key {
        &self.sealing
    }

    /// All of them, the one that seals first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.sealing).chain(&self.others)
    }

    /// Whether others of this machine may read or change the file that they are from.
    pub(crate) fn are_exposed(&self) -> bool {
        self.are_exposed
    }

    /// Reads a file. An error says what was expected.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        /// Writing by the group or others, reading by others.
        const FOR_OTHERS: u32 = 0o026;
        let unreadable =
            |error: io::Error| format!("cannot read {}: {error}{}", path.display(), hint(&error));
        let metadata = path.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        let bytes = super::read(path, FILE_MAX_BYTES).map_err(unreadable)?;
        let text = str::from_utf8(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let keys: Self = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { are_exposed: metadata.permissions().mode() & FOR_OTHERS != 0, ..keys })
    }
}

/// What to do about a file that cannot be read, if that is known.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "; expected the file that KeyFile names, with a key that all daemons have: `openssl rand -hex 32` makes one"
        }
        io::ErrorKind::PermissionDenied => {
            "; let the daemon's user, and nobody else, read what KeyFile names"
        }
        _ => limit_hint(error),
    }
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let key = |(number, line): (usize, &str)| {
            // What stands there may be a secret all the same.
            key(line).ok_or_else(|| format!("line {number}: expected {} hexadecimal digits", 2 * KEY_BYTES))
        };
        let keys = lines.map(key).collect::<Result<Vec<Key>, String>>()?;
        if keys.len() > KEYS_MAX {
            return Err(format!("expected at most {KEYS_MAX} keys"));
        }
        let alike =
            keys.iter().enumerate().any(|(at, key)| keys.iter().take(at).any(|other| other.id() == key.id()));
        if alike {
            return Err("two keys have the same id; make another one in place of the new one".to_owned());
        }
        let mut keys = keys.into_iter();
        let sealing = keys.next().ok_or("expected a key; `openssl rand -hex 32` makes one")?;
        Ok(Self { sealing, others: keys.collect(), are_exposed: false })
    }
}

fn key(line: &str) -> Option<Key> {
    let mut secret = [0; KEY_BYTES];
    if line.len() != 2 * KEY_BYTES || !line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in secret.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(line.get(at..at + 2)?, 16).ok()?;
    }
    Some(Key::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: u8) -> String {
        format!("{byte:02x}").repeat(KEY_BYTES)
    }

    #[test]
    fn the_first_key_seals_and_all_are_there() {
        let text = format!("# of the cluster\n\n{}\n  {}  \n", hex(0xab), hex(1).to_uppercase());
        let keys: Keys = text.parse().expect("keys");
        assert_eq!(keys.sealing().secret(), [0xab; KEY_BYTES]);
        assert_eq!(keys.iter().map(Key::secret).collect::<Vec<_>>(), [[0xab; KEY_BYTES], [1; KEY_BYTES]]);
        assert!(keys.iter().all(|key| key.id() != 0));
    }

    #[test]
    fn what_is_wrong_is_told_without_telling_what_it_says() {
        let wrong = |text: &str| text.parse::<Keys>().expect_err("wrong");
        assert!(wrong("").contains("openssl rand"));
        for line in [
            "secret",
            &hex(1)[1..],
            &format!("{}0", hex(1)),
            &hex(1).replace('1', "g"),
            &"ü".repeat(32),
            &"+a".repeat(32),
        ] {
            let error = wrong(&format!("{}\n{line}", hex(2)));
            assert_eq!(error, "line 2: expected 64 hexadecimal digits");
        }
        assert!(wrong(&format!("{}\n{}", hex(1), hex(1))).contains("the same id"));
        let many: Vec<String> = (0..=KEYS_MAX as u8).map(hex).collect();
        assert_eq!(wrong(&many.join("\n")), "expected at most 4 keys");
    }

    #[test]
    fn a_key_does_not_show_its_secret() {
        let keys: Keys = hex(0x5a).parse().expect("keys");
        assert!(!format!("{keys:?}").contains("5a5a") && !format!("{keys:?}").contains("90, 90"));
    }

    #[test]
    fn a_file_that_others_can_read_or_change_is_told_and_one_that_is_too_long_refused() {
        let path =
            std::env::temp_dir().join(format!("antiphon-key-{}-{}", std::process::id(), fastrand::u64(..)));
        let read = |contents: &str, mode: u32| {
            std::fs::write(&path, contents).expect("writable");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mine");
            Keys::read(&path)
        };
        for (mode, exposed) in [(0o600, false), (0o640, false), (0o604, true), (0o620, true), (0o602, true)] {
            let keys = read(&hex(7), mode).expect("a key");
            assert_eq!(
                (keys.sealing().secret(), keys.are_exposed()),
                ([7; KEY_BYTES].as_slice(), exposed),
                "{mode:o}"
            );
        }
        let long = format!("{}\n{}", hex(7), "#\n".repeat(4096));
        assert!(read(&long, 0o600).expect_err("too long").contains("is longer than 4096 bytes"));
        std::fs::remove_file(&path).expect("removable");
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let error = |path: &str| Keys::read(Path::new(path)).expect_err("no key there");
        assert!(error("/dev/zero").contains("is no file"));
        let missing = error("/nowhere/antiphon.key");
        assert!(missing.contains("cannot read /nowhere/antiphon.key"), "{missing}");
        assert!(missing.contains("KeyFile") && missing.contains("openssl rand -hex 32"), "{missing}");
    }
}
