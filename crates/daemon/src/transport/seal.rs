//! Datagrams that only daemons with the cluster's key can make and read.
//!
//! ```text
//! the 10 bytes that all datagrams begin with, the key id among them         in the clear, authenticated
//! u16 sealing daemon · u16 daemon that it is for, or 0xffff: all
//! u64 salt · u64 number, little-endian                                      in the clear, authenticated
//! the rest of the datagram, as long as it was                               encrypted
//! 16 bytes                                                                  proof of all that
//! ```
//!
//! AES-256-GCM. Each process seals with a key of its own, derived (HKDF-SHA-256) from the cluster's, its daemon id and
//! a random salt, and numbers its datagrams, so that no number is used twice with a key. It takes another salt when it
//! has sealed so many that the key should not be used any longer. The daemon that seals need not be the one that the
//! datagram begins with: members send packets of each other again. A datagram for one daemon opens nowhere else: two members
//! that both take the token would give the same numbers to different packets.
//!
//! A datagram opens once ([`super::seen`]). What was recorded of a run that a daemon does not remember opens there later: the
//! protocol takes it for what a network delivers late. A process whose memory is restored from a snapshot goes on with
//! numbers that were used, and others take what it seals for what they have.

use std::fmt;
use std::ops::Range;

use antiphon_wire::ids::DaemonId;
use antiphon_wire::ring::{HEADER_BYTES, KEY_ID};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::SHA256_OUTPUT_LEN;
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use super::seen::Seen;
use crate::conf::{Key, Keys, SEAL_BYTES};

const DAEMON_BYTES: usize = 2;
/// In place of a daemon that a datagram is for: whoever gets it.
const ALL: DaemonId = DaemonId(u16::MAX);
const SALT_BYTES: usize = 8;
const NUMBER_BYTES: usize = 8;
const PROOF_BYTES: usize = 16;
const _: () = assert!(SEAL_BYTES == 2 * DAEMON_BYTES + SALT_BYTES + NUMBER_BYTES + PROOF_BYTES);
/// Where the encrypted part begins.
const BODY: usize = HEADER_BYTES + 2 * DAEMON_BYTES + SALT_BYTES + NUMBER_BYTES;
/// Datagrams that are sealed with one key. With the largest that are 2^44 blocks, of which nobody learns anything.
const MOST_SEALED: u64 = 1 << 32;
/// Runs of one daemon that are remembered, by their keys: the present one, that before, and more, so that what was recorded of
/// earlier runs does not make others forget what they have of the present one.
const REMEMBERED: usize = 8;
/// What derived keys are for, so that the cluster's key may serve other ends.
const PURPOSE: &[u8] = b"antiphon datagrams";

/// The keys of this daemon and of the others.
pub(crate) struct Seal {
    secrets: Vec<Secret>,
    random: SystemRandom,
    me: DaemonId,
    mine: Sealer,
    /// How many datagrams `mine` has sealed.
    sealed: u64,
    /// Of each daemon those heard last, the latest first.
    others: Vec<Vec<Run>>,
}

/// Why a datagram is none for this daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// It is for another daemon, was not sealed with a key of this cluster, or was changed since.
    NotOpened,
    /// It came before.
    Repeated,
}

/// A key of the cluster, from which those of processes are derived. The first one is to seal with.
struct Secret {
    key_id: u8,
    /// Tells it from others with the same id.
    fingerprint: [u8; SHA256_OUTPUT_LEN],
    pseudorandom: Prk,
}

/// The key by which one process seals.
struct Sealer {
    key_id: u8,
    salt: u64,
    key: LessSafeKey,
}

/// One run of another daemon: its key, and what came of it.
struct Run {
    sealer: Sealer,
    seen: Seen,
}

impl Seal {
    /// Of a daemon among so many that may be configured.
    pub(crate) fn new(keys: &Keys, me: DaemonId, daemons: usize) -> Result<Self, Unspecified> {
        let (secrets, random) = (secrets(keys), SystemRandom::new());
        let mine = sealer(&secrets, me, &random)?;
        let others = (0..daemons).map(|_| Vec::new()).collect();
        Ok(Self { secrets, random, me, mine, sealed: 0, others })
    }

    /// Goes over to other keys. What came under one that stays is still known to have come.
    pub(crate) fn change_keys(&mut self, keys: &Keys) -> Result<(), Unspecified> {
        let (before, now) = (&self.secrets, secrets(keys));
        let mine = sealer(&now, self.me, &self.random)?;
        let fingerprint = |secrets: &[Secret], key_id| {
            secrets.iter().find(|secret| secret.key_id == key_id).map(|secret| secret.fingerprint)
        };
        for runs in &mut self.others {
            runs.retain(|Run { sealer, .. }| {
                fingerprint(before, sealer.key_id) == fingerprint(&now, sealer.key_id)
            });
        }
        (self.secrets, self.mine, self.sealed) = (now, mine, 0);
        Ok(())
    }

    /// Seals datagrams that stand one after the other, for one daemon or for all; each becomes longer by
    /// [`SEAL_BYTES`].
    pub(crate) fn seal(
        &mut self,
        burst: &[u8],
        segment_bytes: usize,
        to: Option<DaemonId>,
    ) -> Result<Bytes, Unspecified> {
        let datagrams = burst.chunks(segment_bytes.max(HEADER_BYTES));
        let mut sealed = BytesMut::with_capacity(burst.len() + datagrams.len() * SEAL_BYTES);
        datagrams
            .into_iter()
            .try_for_each(|datagram| self.seal_one(datagram, to.unwrap_or(ALL), &mut sealed))?;
        Ok(sealed.freeze())
    }

    fn seal_one(
        &mut self,
        datagram: &[u8],
        receiver: DaemonId,
        to: &mut BytesMut,
    ) -> Result<(), Unspecified> {
        if self.sealed == MOST_SEALED {
            self.mine = sealer(&self.secrets, self.me, &self.random)?;
            self.sealed = 0;
        }
        let (header, body) = datagram.split_at_checked(HEADER_BYTES).ok_or(Unspecified)?;
        let number = self.sealed;
        self.sealed += 1;
        let begin = to.len();
        to.put_slice(header);
        to.put_u16_le(self.me.0);
        to.put_u16_le(receiver.0);
        to.put_u64_le(self.mine.salt);
        to.put_u64_le(number);
        to.put_slice(body);
        let (clear, body) =
            to.get_mut(begin..).and_then(|whole| whole.split_at_mut_checked(BODY)).ok_or(Unspecified)?;
        *clear.get_mut(KEY_ID).ok_or(Unspecified)? = self.mine.key_id;
        let proof = self.mine.key.seal_in_place_separate_tag(nonce(number), Aad::from(&*clear), body)?;
        to.put_slice(proof.as_ref());
        Ok(())
    }

    /// Opens a datagram where it lies and says which part of it is now as it was before it was sealed.
    pub(crate) fn open(&mut self, datagram: &mut [u8]) -> Result<Range<usize>, Refused> {
        let clear = Clear::read(datagram).ok_or(Refused::NotOpened)?;
        let run = self.open_sealed(&clear, datagram).ok_or(Refused::NotOpened)?;
        if !run.seen.note(clear.number) {
            return Err(Refused::Repeated);
        }
        bare(datagram).ok_or(Refused::NotOpened)
    }

    /// Decrypts a datagram where it lies. Returns the run that sealed it, if it opens.
    fn open_sealed(&mut self, clear: &Clear, datagram: &mut [u8]) -> Option<&mut Run> {
        let Clear { key_id, daemon, receiver, salt, number } = *clear;
        if receiver != ALL && receiver != self.me {
            return None;
        }
        let runs = self.others.get_mut(daemon.index())?;
        let known = runs.iter().position(|run| (run.sealer.key_id, run.sealer.salt) == (key_id, salt));
        match known {
            Some(at) => {
                runs.get(at)?.sealer.open(number, datagram)?;
                runs.get_mut(..=at)?.rotate_right(1);
            }
            None => {
                let secret = self.secrets.iter().find(|secret| secret.key_id == key_id)?;
                let sealer = Sealer::derive(secret, daemon, salt).ok()?;
                sealer.open(number, datagram)?;
                runs.insert(0, Run { sealer, seen: Seen::default() });
                runs.truncate(REMEMBERED);
            }
        }
        runs.first_mut()
    }
}

/// Takes the seal off a datagram that was decrypted; returns where it is now.
fn bare(datagram: &mut [u8]) -> Option<Range<usize>> {
    let (begin, end) = (BODY - HEADER_BYTES, datagram.len().checked_sub(PROOF_BYTES)?);
    *datagram.get_mut(KEY_ID)? = 0;
    datagram.copy_within(..HEADER_BYTES, begin);
    Some(begin..end)
}

impl Sealer {
    fn derive(secret: &Secret, daemon: DaemonId, salt: u64) -> Result<Self, Unspecified> {
        let (daemon, salt_bytes) = (daemon.0.to_le_bytes(), salt.to_le_bytes());
        let info = [daemon.as_slice(), salt_bytes.as_slice()];
        let key_of_process = UnboundKey::from(secret.pseudorandom.expand(&info, &AES_256_GCM)?);
        Ok(Self { key_id: secret.key_id, salt, key: LessSafeKey::new(key_of_process) })
    }

    fn open(&self, number: u64, datagram: &mut [u8]) -> Option<()> {
        let (clear, sealed) = datagram.split_at_mut_checked(BODY)?;
        self.key.open_in_place(nonce(number), Aad::from(&*clear), sealed).ok().map(drop)
    }
}

/// What a sealed datagram says in the clear.
struct Clear {
    key_id: u8,
    daemon: DaemonId,
    receiver: DaemonId,
    salt: u64,
    number: u64,
}

impl Clear {
    fn read(datagram: &[u8]) -> Option<Self> {
        let mut seal = datagram.get(HEADER_BYTES..BODY)?;
        Some(Self {
            key_id: *datagram.get(KEY_ID)?,
            daemon: DaemonId(seal.get_u16_le()),
            receiver: DaemonId(seal.get_u16_le()),
            salt: seal.get_u64_le(),
            number: seal.get_u64_le(),
        })
    }
}

fn secrets(keys: &Keys) -> Vec<Secret> {
    let extractor = Salt::new(HKDF_SHA256, PURPOSE);
    let secret = |key: &Key| Secret {
        key_id: key.id(),
        fingerprint: key.fingerprint(),
        pseudorandom: extractor.extract(key.secret()),
    };
    keys.iter().map(secret).collect()
}

/// A new key for this process.
fn sealer(secrets: &[Secret], me: DaemonId, random: &SystemRandom) -> Result<Sealer, Unspecified> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    Sealer::derive(secrets.first().ok_or(Unspecified)?, me, u64::from_le_bytes(salt))
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.as_mut_slice().put_u64_le(number);
    Nonce::assume_unique_for_key(nonce)
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seal").field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::ring::VERSION;

    use super::*;

    const LONG: usize = 1440;

    fn keys(secrets: &[u8]) -> Keys {
        let text: Vec<String> = secrets.iter().map(|secret| format!("{secret:02x}").repeat(32)).collect();
        text.join("\n").parse().expect("keys")
    }

    fn seal(secrets: &[u8], me: u16) -> Seal {
        Seal::new(&keys(secrets), DaemonId(me), 3).expect("a random salt")
    }

    /// A datagram of daemon 1 of the cluster.
    fn datagram(bytes: usize, fill: u8) -> Vec<u8> {
        let mut datagram = vec![VERSION, 2, 0, 0, 9, 9, 9, 9, 1, 0];
        datagram.resize(bytes, fill);
        datagram
    }

    fn opened(seal: &mut Seal, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = sealed.to_vec();
        let part = seal.open(&mut sealed).ok()?;
        Some(sealed[part].to_vec())
    }

    #[test]
    fn a_burst_is_opened_as_what_it_was() {
        let (mut one, mut other) = (seal(&[7], 1), seal(&[7], 0));
        let datagrams = [datagram(LONG, 1), datagram(LONG, 2), datagram(HEADER_BYTES, 0)];
        let sealed = one.seal(&datagrams.concat(), LONG, None).expect("sealed");
        let found: Vec<_> =
            sealed.chunks(LONG + SEAL_BYTES).map(|sealed| opened(&mut other, sealed)).collect();
        assert_eq!(found, datagrams.map(Some));
        assert!(!sealed.windows(20).any(|part| part == [1; 20]), "nothing of it can be read");
    }

    #[test]
    fn what_another_member_sends_again_is_opened_too() {
        let (mut another, mut other) = (seal(&[7], 2), seal(&[7], 0));
        let packet_of_1 = datagram(100, 1);
        let again = another.seal(&packet_of_1, 100, None).expect("sealed");
        assert_eq!(opened(&mut other, &again), Some(packet_of_1));
        assert_eq!(other.others.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn what_is_for_one_daemon_opens_nowhere_else() {
        let mut one = seal(&[7], 1);
        let token = one.seal(&datagram(100, 1), 100, Some(DaemonId(2))).expect("sealed");
        assert_eq!(opened(&mut seal(&[7], 0), &token), None);
        assert_eq!(opened(&mut seal(&[7], 2), &token), Some(datagram(100, 1)));
        let mut redirected = token.to_vec();
        redirected[HEADER_BYTES + DAEMON_BYTES] = 0;
        assert_eq!(opened(&mut seal(&[7], 0), &redirected), None);
    }

    #[test]
    fn any_bytes_are_refused() {
        let (mut other, random) = (seal(&[7], 0), &mut fastrand::Rng::with_seed(4803));
        for _ in 0..10_000 {
            let mut bytes: Vec<u8> = (0..random.usize(..200)).map(|_| random.u8(..)).collect();
            if let Some(key_id) = bytes.get_mut(KEY_ID).filter(|_| random.bool()) {
                *key_id = other.mine.key_id;
            }
            if let Some(daemons) = bytes.get_mut(HEADER_BYTES..HEADER_BYTES + 2 * DAEMON_BYTES) {
                daemons.fill(0);
            }
            assert_eq!(opened(&mut other, &bytes), None);
        }
    }

    #[test]
    fn what_was_changed_anywhere_is_refused() {
        let (mut one, mut other) = (seal(&[7], 1), seal(&[7], 0));
        let sealed = one.seal(&datagram(100, 1), 100, None).expect("sealed");
        assert!(opened(&mut other, &sealed).is_some());
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert_eq!(opened(&mut other, &changed), None, "byte {at}");
            assert_eq!(opened(&mut other, &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn nothing_opens_twice_whatever_else_comes_between() {
        let (mut one, mut other) = (seal(&[7], 1), seal(&[7], 0));
        let burst: Vec<u8> = (0..200).flat_map(|fill| datagram(20, fill)).collect();
        let sealed = one.seal(&burst, 20, None).expect("sealed");
        let sealed: Vec<Vec<u8>> = sealed.chunks(20 + SEAL_BYTES).map(Vec::from).collect();
        let open = |seal: &mut Seal, datagram: &[u8]| seal.open(&mut datagram.to_vec()).map(drop);
        for datagram in sealed.iter().rev() {
            assert_eq!(open(&mut other, datagram), Ok(()), "in any order");
        }
        for _ in 1..REMEMBERED {
            let of_another_run = seal(&[7], 1).seal(&datagram(20, 1), 20, None).expect("sealed");
            assert_eq!(open(&mut other, &of_another_run), Ok(()));
            assert_eq!(open(&mut other, &of_another_run), Err(Refused::Repeated));
        }
        for datagram in &sealed {
            assert_eq!(open(&mut other, datagram), Err(Refused::Repeated));
        }
        let mut changed = sealed[0].clone();
        changed[BODY - 1] ^= 1;
        assert_eq!(open(&mut other, &changed), Err(Refused::NotOpened), "a number that nobody has sealed");
        let next = one.seal(&datagram(20, 1), 20, None).expect("sealed");
        assert_eq!(open(&mut other, &next), Ok(()));
    }

    #[test]
    fn what_came_under_a_key_that_stays_is_known_when_others_change_and_that_of_one_that_goes_opens_no_more()
    {
        let mut other = seal(&[1, 2], 0);
        let sealed = [1, 2].map(|key| {
            let sealed = seal(&[key], 1).seal(&datagram(100, 1), 100, None).expect("sealed");
            assert!(opened(&mut other, &sealed).is_some());
            sealed
        });
        other.change_keys(&keys(&[2, 3])).expect("a random salt");
        let refused = sealed.map(|sealed| other.open(&mut sealed.to_vec()).expect_err("of before"));
        assert_eq!(refused, [Refused::NotOpened, Refused::Repeated]);
        let after = seal(&[3], 1).seal(&datagram(100, 1), 100, None).expect("sealed");
        assert!(opened(&mut other, &after).is_some());
    }

    #[test]
    fn another_key_opens_nothing_and_a_second_one_what_it_sealed() {
        let mut before = seal(&[1], 1);
        let sealed = before.seal(&datagram(100, 1), 100, None).expect("sealed");
        assert_eq!(opened(&mut seal(&[2], 0), &sealed), None);
        let mut both = seal(&[2, 1], 0);
        assert!(opened(&mut both, &sealed).is_some());
        let after = both.seal(&datagram(100, 1), 100, None).expect("sealed");
        assert_eq!(opened(&mut before, &after), None, "the first key seals");
    }

    #[test]
    fn no_number_is_used_twice_with_a_key() {
        let mut one = seal(&[7], 1);
        let mut sealed =
            || one.seal(&datagram(100, 1), 100, None).expect("sealed")[HEADER_BYTES..BODY].to_vec();
        const NUMBER: usize = 2 * DAEMON_BYTES + SALT_BYTES;
        let (first, second) = (sealed(), sealed());
        assert_eq!(first[..NUMBER], second[..NUMBER]);
        assert_ne!(first[NUMBER..], second[NUMBER..]);
        one.sealed = MOST_SEALED;
        let later = one.seal(&datagram(100, 1), 100, None).expect("sealed")[HEADER_BYTES..BODY].to_vec();
        assert_ne!(first[..NUMBER], later[..NUMBER]);
        assert_ne!(seal(&[7], 1).mine.salt, seal(&[7], 1).mine.salt, "of each run another");
    }

    #[test]
    fn keys_of_the_last_runs_of_each_configured_daemon_are_remembered() {
        let mut other = seal(&[7], 0);
        for _ in 0..REMEMBERED + 3 {
            let sealed = seal(&[7], 1).seal(&datagram(100, 1), 100, None).expect("sealed");
            assert!(opened(&mut other, &sealed).is_some());
        }
        assert_eq!(other.others.iter().map(Vec::len).collect::<Vec<_>>(), [0, REMEMBERED, 0]);
        let sealed = seal(&[7], 3).seal(&datagram(100, 1), 100, None).expect("sealed");
        assert_eq!(opened(&mut other, &sealed), None, "no such daemon is configured");
    }
}
