//! What a connection keeps planned for the tenants it serves.
//!
//! A statement in a simple-protocol message is parsed and planned each time, which costs the server more than running
//! it. So a connection prepares what it is asked again and again, for each tenant by itself: a prepared statement keeps
//! its plan only while `search_path` stays the same, and a connection serves few tenants. Preparing and executing go in
//! the same message as entering the tenant, so a read stays one round trip.
//!
//! - A statement's name is never used twice, on any connection: behind a pooler that mixes server processes a name that
//!   is known there is the right one or unknown.
//! - Under another tenant's path a prepared statement would be analysed anew, so a mistake here could cost time, never
//!   show a foreign row.
//! - What a failed or abandoned message has prepared is forgotten under its name; too much of it and the connection goes.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bulkhead_kernel::ids::TenantId;
use uuid::Uuid;

use crate::message::{Message, Shape, Statement};

/// What is used within this time is not given up for another: with more statements than there is room for, each would
/// be prepared for the next to throw out.
const REST: Duration = Duration::from_secs(10);

/// How many forgotten statements a connection may hold.
const MOST_LOST: usize = 64;

/// How often prepared statements may be missing before none are prepared any more: something between us and the server
/// hands out its processes in turn.
const MOST_MISSING: u32 = 8;

/// Whether a set of connections keeps plans, and how many each.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    capacity: usize,
    missing: AtomicU32,
}

impl Policy {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            missing: AtomicU32::new(0),
        }
    }

    /// How many statements a connection may keep.
    pub(crate) fn capacity(&self) -> usize {
        if self.missing.load(Relaxed) < MOST_MISSING {
            self.capacity
        } else {
            0
        }
    }

    /// The server did not know a statement that was prepared on this connection.
    pub(crate) fn miss(&self) {
        if self.missing.fetch_add(1, Relaxed) + 1 == MOST_MISSING {
            tracing::warn!("prepared statements get lost on the way to the database; none are kept from here on");
        }
    }
}

/// The statements one connection has prepared.
pub(crate) struct Plans {
    /// Begins the names of its statements.
    name: Uuid,
    next: u64,
    n_lost: usize,
    kept: Vec<Plan>,
}

struct Plan {
    tenant: TenantId,
    shape: Box<[Shape]>,
    number: u64,
    used: Instant,
    /// The message that prepares it has been answered.
    is_ready: bool,
}

/// Where one more statement can be kept.
enum Room {
    Free,
    InsteadOf(u64),
    None,
}

/// A message as it goes over the wire.
pub(crate) struct Phrase {
    pub(crate) sql: String,
    /// How many statements go before those of the message.
    pub(crate) n_before: usize,
    /// Whether the answer depends on statements that were prepared before.
    pub(crate) is_planned: bool,
}

impl Plans {
    pub(crate) fn new() -> Self {
        Self {
            name: Uuid::now_v7(),
            next: 0,
            n_lost: 0,
            kept: Vec::new(),
        }
    }

    /// The message with `enter` before it, its statements prepared where there is room.
    pub(crate) fn phrase(&mut self, capacity: usize, tenant: TenantId, enter: &str, message: &Message) -> Phrase {
        self.lose_unready();
        let now = Instant::now();
        let mut phrase = Phrase {
            sql: String::with_capacity(1024),
            n_before: 1,
            is_planned: false,
        };
        let (mut prepare, mut run) = (String::new(), String::with_capacity(256));
        for statement in message.statements() {
            run.push(';');
            let plan = self.find(tenant, statement, now).map_or_else(
                || {
                    match self.make_room(capacity, now) {
                        Room::Free => {}
                        Room::InsteadOf(old) => {
                            let _ = write!(phrase.sql, "DEALLOCATE {};", self.name_of(old));
                            phrase.n_before += 1;
                        }
                        Room::None => return None,
                    }
                    let number = self.keep(tenant, statement, now);
                    let _ = write!(prepare, ";PREPARE {}", self.name_of(number));
                    statement.write_types(&mut prepare);
                    prepare.push_str(" AS ");
                    statement.write_template(&mut prepare);
                    phrase.n_before += 1;
                    Some(number)
                },
                |number| {
                    phrase.is_planned = true;
                    Some(number)
                },
            );
            if let Some(number) = plan {
                let _ = write!(run, "EXECUTE {}", self.name_of(number));
                statement.write_values(&mut run);
            } else {
                statement.write(&mut run);
            }
        }
        phrase.sql.push_str(enter);
        phrase.sql.push_str(&prepare);
        phrase.sql.push_str(&run);
        phrase
    }

    /// The last phrase was answered: what it prepared is there.
    pub(crate) fn settle(&mut self) {
        for plan in &mut self.kept {
            plan.is_ready = true;
        }
    }

    /// Whether the server holds too much that nobody can name any more.
    pub(crate) const fn is_littered(&self) -> bool {
        self.n_lost > MOST_LOST
    }

    fn find(&mut self, tenant: TenantId, statement: &Statement, now: Instant) -> Option<u64> {
        let is_it = |plan: &&mut Plan| plan.tenant == tenant && statement.shape().eq(plan.shape.iter().copied());
        let plan = self.kept.iter_mut().find(is_it)?;
        plan.used = now;
        Some(plan.number)
    }

    fn make_room(&mut self, capacity: usize, now: Instant) -> Room {
        if self.kept.len() < capacity {
            return Room::Free;
        }
        let oldest = (0..self.kept.len()).min_by_key(|index| self.kept[*index].used);
        match oldest.filter(|oldest| capacity > 0 && now.duration_since(self.kept[*oldest].used) > REST) {
            Some(oldest) => Room::InsteadOf(self.kept.swap_remove(oldest).number),
            None => Room::None,
        }
    }

    fn keep(&mut self, tenant: TenantId, statement: &Statement, now: Instant) -> u64 {
        self.next += 1;
        self.kept.push(Plan {
            tenant,
            shape: statement.shape().collect(),
            number: self.next,
            used: now,
            is_ready: false,
        });
        self.next
    }

    fn lose_unready(&mut self) {
        let n_before = self.kept.len();
        self.kept.retain(|plan| plan.is_ready);
        self.n_lost += n_before - self.kept.len();
    }

    fn name_of(&self, number: u64) -> String {
        format!("p_{}_{number}", self.name.simple())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: i64) -> Message {
        Message::new().sql("SELECT 1").then().sql("SELECT 2 LIMIT ").int(limit)
    }

    /// Who asks what, with room for `capacity`; without the parts of the names that differ from run to run.
    fn said(plans: &mut Plans, capacity: usize, tenant: TenantId, message: &Message) -> (String, usize, bool) {
        let phrase = plans.phrase(capacity, tenant, "ENTER", message);
        let sql = phrase.sql.replace(&format!("p_{}_", plans.name.simple()), "p");
        (sql, phrase.n_before, phrase.is_planned)
    }

    #[test]
    fn what_was_answered_once_is_executed_from_then_on() {
        let (mut plans, tenant) = (Plans::new(), TenantId::new());
        let first = "ENTER;PREPARE p1 AS SELECT 1;PREPARE p2(bigint) AS SELECT 2 LIMIT $1;EXECUTE p1;EXECUTE p2(20)";
        assert_eq!(said(&mut plans, 2, tenant, &page(20)), (first.into(), 3, false));
        plans.settle();
        let next = "ENTER;EXECUTE p1;EXECUTE p2((-3))";
        assert_eq!(said(&mut plans, 2, tenant, &page(-3)), (next.into(), 1, true));
    }

    #[test]
    fn a_plan_serves_one_tenant_and_one_statement() {
        let (mut plans, tenant) = (Plans::new(), TenantId::new());
        let ask = |plans: &mut Plans, tenant, message: Message| {
            let said = said(plans, 9, tenant, &message).0;
            plans.settle();
            said
        };
        let one = || Message::new().sql("SELECT ").int(1);
        assert_eq!(
            ask(&mut plans, tenant, one()),
            "ENTER;PREPARE p1(bigint) AS SELECT $1;EXECUTE p1(1)"
        );
        assert!(ask(&mut plans, TenantId::new(), one()).contains("PREPARE p2(bigint)"));
        let time = Message::new().sql("SELECT ").time(chrono::DateTime::default());
        assert!(ask(&mut plans, tenant, time).contains("PREPARE p3(timestamptz)"));
        assert_eq!(ask(&mut plans, tenant, one()), "ENTER;EXECUTE p1(1)");
    }

    #[test]
    fn names_of_what_was_never_answered_are_not_used_again() {
        let (mut plans, tenant) = (Plans::new(), TenantId::new());
        let message = Message::new().sql("SELECT 1");
        for number in 1..=MOST_LOST + 2 {
            assert!(!plans.is_littered());
            let expected = format!("ENTER;PREPARE p{number} AS SELECT 1;EXECUTE p{number}");
            assert_eq!(said(&mut plans, 1, tenant, &message).0, expected);
        }
        assert!(plans.is_littered());
    }

    #[test]
    fn where_there_is_no_room_statements_go_as_they_are_until_one_has_rested() {
        let (mut plans, tenant) = (Plans::new(), TenantId::new());
        let (old, new) = (Message::new().sql("SELECT 1"), Message::new().sql("SELECT ").int(7));
        assert_eq!(said(&mut plans, 0, tenant, &old), ("ENTER;SELECT 1".into(), 1, false));
        said(&mut plans, 1, tenant, &old);
        plans.settle();
        assert_eq!(said(&mut plans, 1, tenant, &new), ("ENTER;SELECT 7".into(), 1, false));
        let long_ago = REST + Duration::from_secs(1);
        for plan in &mut plans.kept {
            plan.used = plan.used.checked_sub(long_ago).expect("the machine has run that long");
        }
        let instead = "DEALLOCATE p1;ENTER;PREPARE p2(bigint) AS SELECT $1;EXECUTE p2(7)";
        assert_eq!(said(&mut plans, 1, tenant, &new), (instead.into(), 3, false));
    }

    #[test]
    fn plans_that_get_lost_again_and_again_are_no_longer_made() {
        let policy = Policy::new(5);
        for _ in 1..MOST_MISSING {
            policy.miss();
        }
        assert_eq!(policy.capacity(), 5);
        policy.miss();
        assert_eq!(policy.capacity(), 0);
    }
}
