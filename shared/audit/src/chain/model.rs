//! What is hashed, and how.

use bulkhead_kernel::ids::AuditEventId;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// Names the form of what is hashed, so that another form can never pass for it.
const FORM: &str = "bulkhead audit 1";

/// All that a row says, in the words of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub(super) id: AuditEventId,
    pub(super) at: DateTime<Utc>,
    pub(super) action: String,
    pub(super) outcome: String,
    pub(super) actor_kind: String,
    pub(super) actor_id: String,
    pub(super) targets: String,
    pub(super) changes: String,
    pub(super) request_id: String,
    pub(super) address: Option<String>,
    pub(super) agent: Option<String>,
}

/// A row with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    pub(super) row: Row,
    pub(super) seq: i64,
    pub(super) prev_hash: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl SealedRow {
    /// Its place in the chain.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        self.seq
    }
}

/// A place in the chain and the hash of the row there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The place; 0 is before the first row.
    pub seq: i64,
    /// The hash; zeros at place 0.
    pub hash: Vec<u8>,
}

impl Anchor {
    /// Before the first row.
    #[must_use]
    pub fn origin() -> Self {
        Self {
            seq: 0,
            hash: vec![0; 32],
        }
    }
}

/// Where a chain ends and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest sealed row.
    pub end: Anchor,
    /// The last row that retention removed.
    pub base: Anchor,
    /// When the oldest row that is left happened, or earlier.
    pub oldest_at: Option<DateTime<Utc>>,
}

impl Head {
    /// Seals the row as the next one.
    pub(super) fn extend(&mut self, row: Row) -> SealedRow {
        let seq = self.end.seq + 1;
        let hash = row.hash(seq, &self.end.hash);
        let prev_hash = std::mem::replace(&mut self.end.hash, hash.clone());
        self.end.seq = seq;
        self.oldest_at = Some(self.oldest_at.map_or(row.at, |oldest| oldest.min(row.at)));
        SealedRow {
            row,
            seq,
            prev_hash,
            hash,
        }
    }
}

impl Row {
    /// SHA-256 over the place, the hash before, and every field with its length before it, so that no two rows read alike.
    pub(super) fn hash(&self, seq: i64, prev: &[u8]) -> Vec<u8> {
        let mut sha256 = Sha256::new();
        let mut add = |field: &[u8]| {
            sha256.update((field.len() as u64).to_be_bytes());
            sha256.update(field);
        };
        add(FORM.as_bytes());
        add(&seq.to_be_bytes());
        add(prev);
        add(self.id.uuid().as_bytes());
        add(&self.at.timestamp_micros().to_be_bytes());
        for text in [
            &self.action,
            &self.outcome,
            &self.actor_kind,
            &self.actor_id,
            &self.targets,
            &self.changes,
            &self.request_id,
        ] {
            add(text.as_bytes());
        }
        for text in [&self.address, &self.agent] {
            // What is missing is not what is empty.
            add(&[u8::from(text.is_some())]);
            add(text.as_deref().unwrap_or_default().as_bytes());
        }
        sha256.finalize().to_vec()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::chain) fn row(action: &str) -> Row {
        Row {
            id: uuid::Uuid::from_u128(7).into(),
            at: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
            action: action.into(),
            outcome: "done".into(),
            actor_kind: "member".into(),
            actor_id: "usr_1".into(),
            targets: "[]".into(),
            changes: "{}".into(),
            request_id: "r".into(),
            address: None,
            agent: Some(String::new()),
        }
    }

    type Edit = fn(&mut Row);

    #[test]
    fn every_field_and_the_place_change_the_hash() {
        let base = row("vm.create");
        let before = base.hash(1, &[0; 32]);
        assert_ne!(base.hash(2, &[0; 32]), before);
        assert_ne!(base.hash(1, &[1; 32]), before);
        let edits: [Edit; 11] = [
            |row| row.id = uuid::Uuid::from_u128(8).into(),
            |row| row.at += chrono::TimeDelta::microseconds(1),
            |row| row.action.push('d'),
            |row| row.outcome = "refused".into(),
            |row| row.actor_kind = "operator".into(),
            |row| row.actor_id.push('0'),
            |row| row.targets = "[1]".into(),
            |row| row.changes = "{\"a\": 1}".into(),
            |row| row.request_id.clear(),
            |row| row.address = Some(String::new()),
            |row| row.agent = None,
        ];
        for (index, edit) in edits.into_iter().enumerate() {
            let mut edited = base.clone();
            edit(&mut edited);
            assert_ne!(edited.hash(1, &[0; 32]), before, "edit {index}");
        }
        let told = |address: &str, agent: &str| {
            let (address, agent) = (Some(address.into()), Some(agent.into()));
            Row {
                address,
                agent,
                ..row("vm.create")
            }
            .hash(1, &[0; 32])
        };
        assert_ne!(told("192.0.2.7", "a"), told("192.0.2.8", "a"));
        assert_ne!(told("192.0.2.7", "a"), told("192.0.2.7", "b"));
    }

    #[test]
    fn text_cannot_move_from_one_field_to_the_next() {
        let mut one = row("vm.create");
        one.actor_id = "usr_1x".into();
        let mut other = row("vm.create");
        other.targets = "x[]".into();
        assert_ne!(one.hash(1, &[0; 32]), other.hash(1, &[0; 32]));
    }
}
