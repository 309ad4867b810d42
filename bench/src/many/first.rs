//! The first query of a connection, and the first one of a tenant.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Tenant,
    fleet::{Fleet, disturb},
};
use crate::{
    cpu::ran,
    load::Draw,
    postgres::{Server, Session},
    report::progress,
    run::DATABASE,
    sample::percentile_ms,
    script::Recording,
};

/// One line of the table of first queries.
pub(crate) struct First {
    pub(crate) what: &'static str,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// The same for the processor time of the server process, which other processes do not disturb.
    pub(crate) cpu_p50_ms: f64,
    pub(crate) cpu_p99_ms: f64,
    /// Whether the bar of 10 ms is for this one.
    pub(crate) is_barred: bool,
}

/// How long one query took, by the clock and on the processor.
#[derive(Clone, Copy)]
struct Took {
    clock: Duration,
    cpu: Duration,
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

struct Measured<'a> {
    server: &'a Server,
    fleet: &'a Fleet,
    list: &'a Recording,
    draw: Draw,
}

/// What the list of machines takes, asked for by the product's own message over connections of the bench.
pub(crate) async fn measure(
    server: &Server,
    fleet: &Fleet,
    list: &Recording,
    times: usize,
) -> anyhow::Result<Vec<First>> {
    progress("first queries");
    let mut measured = Measured {
        server,
        fleet,
        list,
        draw: Draw::new(11),
    };
    let mut admin = Session::open(server, &fleet.admin, DATABASE).await?;
    let mut took: [Vec<Took>; 7] = Default::default();
    for time in 0..times {
        let tenant = measured.any();
        let started = Instant::now();
        let mut fresh = measured.connect(&tenant.login).await?;
        let connected = Took {
            clock: started.elapsed(),
            cpu: ran(fresh.pid),
        };
        let first = measured.ask(&mut fresh, tenant).await?;
        let again = measured.ask(&mut fresh, tenant).await?;
        let stranger = measured.other_of(&tenant.login);
        let overflow = measured.ask(&mut fresh, stranger).await?;
        disturb(&mut admin, &fleet.tenants[0].persona.tenant, 100_000 + time).await?;
        let mut newest = measured.connect(&tenant.login).await?;
        let after = measured.ask(&mut newest, tenant).await?;
        let known = measured.ask(&mut fresh, tenant).await?;
        let mut crowded = measured.connect(&fleet.unsharded).await?;
        let unsharded = measured.ask(&mut crowded, tenant).await?;
        let retired = Took {
            clock: connected.clock + first.clock,
            cpu: connected.cpu + first.cpu,
        };
        let all = [again, overflow, first, retired, after, known, unsharded];
        for (times, took) in took.iter_mut().zip(all) {
            times.push(took);
        }
    }
    Ok(table(took))
}

fn table(took: [Vec<Took>; 7]) -> Vec<First> {
    let lines = [
        ("the connection knows the tenant", false),
        ("overflow: a connection that does not know the tenant", false),
        ("first query after connect", true),
        ("a retired connection: connect and first query", false),
        ("first query after connect, just after a tenant was created", true),
        ("a known connection, just after a tenant was created", true),
        ("first query after connect, one login for all tenants", false),
    ];
    let lines = lines.into_iter().zip(took);
    lines
        .map(|((what, is_barred), took)| {
            let sorted = |pick: fn(&Took) -> Duration| {
                let mut us: Vec<u32> = took.iter().map(|took| micros(pick(took))).collect();
                us.sort_unstable();
                us
            };
            let (clock, cpu) = (sorted(|took| took.clock), sorted(|took| took.cpu));
            First {
                what,
                p50_ms: percentile_ms(&clock, 50),
                p99_ms: percentile_ms(&clock, 99),
                cpu_p50_ms: percentile_ms(&cpu, 50),
                cpu_p99_ms: percentile_ms(&cpu, 99),
                is_barred,
            }
        })
        .collect()
}

impl<'a> Measured<'a> {
    fn any(&mut self) -> &'a Tenant {
        &self.fleet.tenants[self.draw.below(self.fleet.tenants.len())]
    }

    fn other_of(&mut self, login: &str) -> &'a Tenant {
        loop {
            let tenant = self.any();
            if tenant.login == login {
                return tenant;
            }
        }
    }

    async fn connect(&self, login: &str) -> anyhow::Result<Session> {
        Session::open(self.server, login, DATABASE).await
    }

    async fn ask(&self, session: &mut Session, tenant: &Tenant) -> anyhow::Result<Took> {
        let message = self.list.message(&tenant.persona);
        let (started, before) = (Instant::now(), ran(session.pid));
        session.query(&message).await?;
        Ok(Took {
            clock: started.elapsed(),
            cpu: ran(session.pid).saturating_sub(before),
        })
    }
}
