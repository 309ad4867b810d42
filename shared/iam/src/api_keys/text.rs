//! The text of a key: `bh_live_`, the tenant (22), the key (22), the secret (33) and a checksum (6), all but the word in
//! base62. It routes itself to its tenant, and a mistyped one is refused without asking anybody.

use bulkhead_kernel::ids::{ApiKeyId, TenantId};
use rand::{RngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::Refusal;

/// What every key begins with, and nothing else that opens a door here.
pub const PREFIX: &str = "bh_";

/// In the order of ASCII, so that later ids sort after earlier ones as text, too.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of 128 bits.
const ID_LEN: usize = 22;

/// 196 bits of randomness.
const SECRET_LEN: usize = 33;

/// Digits of 32 bits.
const CHECKSUM_LEN: usize = 6;

const HINT_LEN: usize = 4;

/// What a secret is made of.
pub(super) type Seed = [u8; 32];

/// The SHA-256 of a secret. The secret is random, so a fast hash is enough.
pub(super) type SecretHash = [u8; 32];

/// A key as its holder has it. It has no `Debug`, as it is a secret.
pub struct KeyText {
    /// The tenant it opens.
    pub tenant: TenantId,
    /// Which key it is.
    pub id: ApiKeyId,
    secret: String,
}

pub(super) fn seed() -> Seed {
    let mut seed = Seed::default();
    OsRng.fill_bytes(&mut seed);
    seed
}

impl KeyText {
    /// A key with the secret that follows from this seed.
    pub(super) fn new(tenant: TenantId, id: ApiKeyId, seed: &Seed) -> Self {
        Self {
            tenant,
            id,
            secret: expand(seed),
        }
    }

    /// Reads a key of this environment; asks nobody.
    pub fn parse(text: &str, environment: &str) -> Result<Self, Refusal> {
        let (word, body) = split(text).ok_or(Refusal::Malformed)?;
        if word != environment {
            return Err(Refusal::Environment);
        }
        let (tenant, rest) = body.split_at(ID_LEN);
        let (id, rest) = rest.split_at(ID_LEN);
        let id_of = |digits: &str| decode(digits).map(Uuid::from_u128).ok_or(Refusal::Malformed);
        Ok(Self {
            tenant: id_of(tenant)?.into(),
            id: id_of(id)?.into(),
            secret: rest[..SECRET_LEN].to_owned(),
        })
    }

    /// The text to be shown once.
    pub(super) fn to_text(&self, environment: &str) -> String {
        let (tenant, id) = (self.tenant.uuid().as_u128(), self.id.uuid().as_u128());
        let mut text = format!("{PREFIX}{environment}_");
        text.push_str(&encode(tenant, ID_LEN));
        text.push_str(&encode(id, ID_LEN));
        text.push_str(&self.secret);
        let checksum = crc32(text.as_bytes());
        text.push_str(&encode(checksum.into(), CHECKSUM_LEN));
        text
    }

    pub(super) fn hash(&self) -> SecretHash {
        Sha256::digest(&self.secret).into()
    }

    /// Takes as long whatever differs.
    pub(super) fn is_same_hash(hash: &SecretHash, stored: &[u8]) -> bool {
        hash.ct_eq(stored).into()
    }
}

/// The end of a text, by which people recognise it.
pub(super) fn hint(text: &str) -> String {
    text[text.len() - HINT_LEN..].to_owned()
}

/// The word and the body of a text whose form and checksum are right.
fn split(text: &str) -> Option<(&str, &str)> {
    let (word, body) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let has_form =
        body.len() == 2 * ID_LEN + SECRET_LEN + CHECKSUM_LEN && body.bytes().all(|b| b.is_ascii_alphanumeric());
    if !has_form {
        return None;
    }
    let (signed, checksum) = text.split_at(text.len() - CHECKSUM_LEN);
    (encode(crc32(signed.as_bytes()).into(), CHECKSUM_LEN) == checksum).then_some((word, body))
}

fn encode(mut value: u128, len: usize) -> String {
    let mut digits = vec![ALPHABET[0]; len];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[usize::try_from(value % 62).unwrap_or_default()];
        value /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

/// `None` for what no 128 bits are written as.
fn decode(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0_u128, |value, digit| {
        let digit = ALPHABET.binary_search(&digit).ok()?;
        value.checked_mul(62)?.checked_add(digit as u128)
    })
}

/// Digits drawn evenly from a stream that the seed begins: a byte above the last multiple of 62 is passed over.
fn expand(seed: &Seed) -> String {
    let blocks = (0_u8..).map(|n| Sha256::new().chain_update(seed).chain_update([n]).finalize());
    let bytes = blocks.flat_map(|block| block.to_vec()).filter(|byte| *byte < 248);
    let digits = bytes.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
    digits.take(SECRET_LEN).collect()
}

/// CRC-32 as in ISO 3309: it tells every change of one character, and every swap of two neighbours.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        CRC_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8)
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0_u32;
    while index < 256 {
        let mut crc = index;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index as usize] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyText {
        KeyText::new(TenantId::new(), ApiKeyId::new(), &seed())
    }

    #[test]
    fn the_text_is_read_back() {
        let key = key();
        let text = key.to_text("live");
        assert_eq!(text.len(), 8 + 22 + 22 + 33 + 6);
        assert!(text.starts_with("bh_live_"), "{text}");
        let read = KeyText::parse(&text, "live").ok().unwrap();
        assert_eq!((read.tenant, read.id), (key.tenant, key.id));
        let is_same = |stored: &[u8]| KeyText::is_same_hash(&read.hash(), stored);
        assert!(is_same(&key.hash()) && !is_same(&[]) && !is_same(&[0; 32]));
        assert!(text.ends_with(&hint(&text)));
    }

    #[test]
    fn every_change_of_one_character_is_noticed() {
        let text = key().to_text("live");
        for at in 0..text.len() {
            for wrong in (b' '..=b'~').filter(|wrong| *wrong != text.as_bytes()[at]) {
                let mut typo = text.clone().into_bytes();
                typo[at] = wrong;
                let typo = String::from_utf8(typo).unwrap();
                assert!(KeyText::parse(&typo, "live").is_err(), "{typo} for {text}");
            }
        }
    }

    #[test]
    fn every_swap_of_neighbours_and_every_other_length_is_noticed() {
        let text = key().to_text("live");
        for at in 1..text.len() {
            let mut swapped = text.clone().into_bytes();
            swapped.swap(at - 1, at);
            let swapped = String::from_utf8(swapped).unwrap();
            assert!(
                swapped == text || KeyText::parse(&swapped, "live").is_err(),
                "{swapped}"
            );
            assert!(KeyText::parse(&text[..at], "live").is_err());
            assert!(KeyText::parse(&text[at..], "live").is_err());
        }
        // Too long, and with a checksum that is right.
        let signed = format!("{}0", &text[..text.len() - CHECKSUM_LEN]);
        let longer = format!("{signed}{}", encode(crc32(signed.as_bytes()).into(), CHECKSUM_LEN));
        for wrong in [
            longer,
            format!("{text}0"),
            format!(" {text}"),
            format!("{text}\0"),
            "bh_".into(),
            "bh_live_é".repeat(9),
        ] {
            assert!(KeyText::parse(&wrong, "live").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_of_another_environment_is_told_apart() {
        let text = key().to_text("test");
        assert_eq!(KeyText::parse(&text, "live").err(), Some(Refusal::Environment));
    }

    #[test]
    fn an_id_that_128_bits_cannot_hold_is_refused() {
        let (tenant, id) = (TenantId::from(Uuid::max()), ApiKeyId::from(Uuid::nil()));
        let text = KeyText::new(tenant, id, &seed()).to_text("live");
        assert!(KeyText::parse(&text, "live").is_ok());
        let mut signed = text[..text.len() - CHECKSUM_LEN].to_owned();
        signed.replace_range(8..9, "z");
        let beyond = format!("{signed}{}", encode(crc32(signed.as_bytes()).into(), CHECKSUM_LEN));
        assert_eq!(KeyText::parse(&beyond, "live").err(), Some(Refusal::Malformed));
    }

    #[test]
    fn the_checksum_is_the_usual_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_seed_gives_one_secret_and_others_give_others() {
        let seed = seed();
        assert_eq!(expand(&seed), expand(&seed));
        assert_eq!(expand(&seed).len(), SECRET_LEN);
        assert_ne!(expand(&seed), expand(&super::seed()));
        let drawn: String = (0..200).map(|_| expand(&super::seed())).collect();
        assert!(ALPHABET.iter().all(|digit| drawn.as_bytes().contains(digit)));
    }
}
