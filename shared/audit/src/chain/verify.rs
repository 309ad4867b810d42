//! Walking along a chain and naming the first thing that is wrong with it.

use bulkhead_kernel::ids::AuditEventId;

use super::{Anchor, SealedRow};

/// What is wrong, and where first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// The place in the chain.
    pub seq: i64,
    /// The row there; `None` where there is none.
    pub id: Option<AuditEventId>,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The row does not say any more what was sealed.
    Altered,
    /// There is no row at this place.
    Missing,
    /// The row follows another one than the one before it.
    Unlinked,
    /// From here on rows say something else than a checkpoint that was signed when they were sealed.
    Rewritten,
    /// Rows at the front are gone that retention did not remove.
    FrontCut,
    /// Rows at the end are gone.
    TailCut,
    /// A row at the end that nobody sealed.
    Added,
}

impl Reason {
    /// The word over the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Unlinked => "unlinked",
            Self::Rewritten => "rewritten",
            Self::FrontCut => "front_cut",
            Self::TailCut => "tail_cut",
            Self::Added => "added",
        }
    }

    /// A sentence for a person.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Altered => "The row does not say any more what was sealed.",
            Self::Missing => "The row at this place is gone.",
            Self::Unlinked => "The row does not follow the one before it.",
            Self::Rewritten => "From this row on the log differs from a signed checkpoint.",
            Self::FrontCut => "Rows at the front are gone that retention did not remove.",
            Self::TailCut => "From this row on the end of the log is gone.",
            Self::Added => "The row was not sealed by the platform.",
        }
    }
}

/// A walk from the oldest row to the newest.
pub struct Walk {
    /// What retention may have removed, by the newest checkpoint.
    base: Anchor,
    /// What the checkpoints say, in the order of the chain.
    anchors: Vec<Anchor>,
    next: usize,
    first: Option<i64>,
    last: Anchor,
    /// The newest place that agrees with a checkpoint.
    agreed: i64,
}

impl Walk {
    /// A walk along a chain of which these checkpoints tell.
    #[must_use]
    pub fn new(base: Anchor, anchors: Vec<Anchor>) -> Self {
        Self {
            agreed: base.seq,
            last: base.clone(),
            base,
            anchors,
            next: 0,
            first: None,
        }
    }

    /// The first and the last place seen.
    #[must_use]
    pub const fn seen(&self) -> (Option<i64>, i64) {
        (self.first, self.last.seq)
    }

    /// The next row; what is wrong with it ends the walk.
    pub fn step(&mut self, row: &SealedRow) -> Result<(), Flaw> {
        let flaw = |seq, reason| Flaw {
            seq,
            id: (seq == row.seq).then_some(row.row.id),
            reason,
        };
        if self.first.is_none() {
            self.first = Some(row.seq);
            if row.seq - 1 > self.base.seq {
                return Err(flaw(self.base.seq + 1, Reason::FrontCut));
            }
            // Rows that may go are still there: the first one is believed, and so is what it follows.
            if row.seq - 1 < self.base.seq && row.seq != 1 {
                self.last = Anchor {
                    seq: row.seq - 1,
                    hash: row.prev_hash.clone(),
                };
            } else if row.seq == 1 {
                self.last = Anchor::origin();
            }
        }
        if row.seq != self.last.seq + 1 {
            return Err(flaw(self.last.seq + 1, Reason::Missing));
        }
        if row.row.hash(row.seq, &row.prev_hash) != row.hash {
            return Err(flaw(row.seq, Reason::Altered));
        }
        if row.prev_hash != self.last.hash {
            return Err(flaw(row.seq, Reason::Unlinked));
        }
        self.last = Anchor {
            seq: row.seq,
            hash: row.hash.clone(),
        };
        self.compare().map_err(|seq| flaw(seq, Reason::Rewritten))
    }

    /// Compares the last row with the checkpoints about it.
    fn compare(&mut self) -> Result<(), i64> {
        while let Some(anchor) = self.anchors.get(self.next).filter(|anchor| anchor.seq <= self.last.seq) {
            if anchor.seq == self.last.seq {
                if anchor.hash == self.last.hash {
                    self.agreed = anchor.seq;
                } else {
                    return Err((self.agreed + 1).max(self.first.unwrap_or(1)));
                }
            }
            self.next += 1;
        }
        if self.last.seq == self.base.seq && self.last.hash != self.base.hash {
            return Err(self.agreed.min(self.base.seq - 1) + 1);
        }
        Ok(())
    }

    /// The end of the rows: what was sealed at least has to be there.
    pub fn finish(self, sealed: i64) -> Result<(), Flaw> {
        if self.last.seq < sealed {
            return Err(Flaw {
                seq: self.last.seq + 1,
                id: None,
                reason: Reason::TailCut,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Head, model::tests::row},
        *,
    };

    fn chain(n_rows: usize) -> Vec<SealedRow> {
        let mut head = Head {
            end: Anchor::origin(),
            base: Anchor::origin(),
            oldest_at: None,
        };
        (0..n_rows).map(|n| head.extend(row(&format!("vm.n{n}")))).collect()
    }

    fn anchor(row: &SealedRow) -> Anchor {
        Anchor {
            seq: row.seq,
            hash: row.hash.clone(),
        }
    }

    fn walk(rows: &[SealedRow], base: Anchor, anchors: Vec<Anchor>) -> Result<(), (i64, Reason)> {
        let sealed = anchors.last().map_or(0, |anchor| anchor.seq);
        let mut walk = Walk::new(base, anchors);
        let walked = rows.iter().try_for_each(|row| walk.step(row));
        walked
            .and_then(|()| walk.finish(sealed))
            .map_err(|flaw| (flaw.seq, flaw.reason))
    }

    #[test]
    fn a_whole_chain_is_whole_and_every_tampering_is_named() {
        let rows = chain(9);
        let signed = vec![anchor(&rows[4]), anchor(&rows[8])];
        let verify = |rows: &[SealedRow]| walk(rows, Anchor::origin(), signed.clone());
        assert_eq!(verify(&rows), Ok(()));

        let mut edited = rows.clone();
        edited[3].row.actor_id = "usr_2".into();
        assert_eq!(verify(&edited), Err((4, Reason::Altered)));

        let mut without = rows.clone();
        without.remove(3);
        assert_eq!(verify(&without), Err((4, Reason::Missing)));

        let mut swapped = rows.clone();
        let (third, fourth) = (rows[2].row.clone(), rows[3].row.clone());
        (swapped[2].row, swapped[3].row) = (fourth, third);
        assert_eq!(verify(&swapped), Err((3, Reason::Altered)));

        // Whole in itself, and of another chain.
        let mut foreign = rows.clone();
        let hash = vec![9; 32];
        let mut elsewhere = Head {
            end: Anchor { seq: 3, hash },
            base: Anchor::origin(),
            oldest_at: None,
        };
        foreign[3] = elsewhere.extend(rows[3].row.clone());
        assert_eq!(verify(&foreign), Err((4, Reason::Unlinked)));

        assert_eq!(verify(&rows[..7]), Err((8, Reason::TailCut)));
        assert_eq!(verify(&rows[2..]), Err((1, Reason::FrontCut)));
        assert_eq!(verify(&[]), Err((1, Reason::TailCut)));
    }

    #[test]
    fn a_chain_that_was_computed_anew_is_found_by_the_checkpoints() {
        let rows = chain(9);
        let signed = vec![anchor(&rows[2]), anchor(&rows[6]), anchor(&rows[8])];
        let mut head = Head {
            end: anchor(&rows[4]),
            base: Anchor::origin(),
            oldest_at: None,
        };
        let mut forged = rows[..5].to_vec();
        forged.extend((5..9).map(|n| head.extend(row(&format!("vm.forged{n}")))));
        assert_eq!(walk(&forged, Anchor::origin(), signed), Err((4, Reason::Rewritten)));
    }

    #[test]
    fn what_retention_removed_is_not_missed_and_nothing_more_may_go() {
        let rows = chain(9);
        let (base, signed) = (anchor(&rows[3]), vec![anchor(&rows[3]), anchor(&rows[8])]);
        for first in 0..=4 {
            assert_eq!(
                walk(&rows[first..], base.clone(), signed.clone()),
                Ok(()),
                "from {first}"
            );
        }
        assert_eq!(walk(&rows[5..], base, signed), Err((5, Reason::FrontCut)));
    }
}
