//! What is measured: cells that take turns.

use std::{sync::Arc, time::Duration};

use anyhow::Context;

use crate::{
    cpu::Watched,
    http::get,
    load::Load,
    pgbench::{Floor, Pgbench},
    sample::Sample,
    script::{Recording, Shape},
    stack::Process,
    tenants::Persona,
};

/// Which request a cell belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `/health`.
    Health,
    /// `/api/v1/whoami`.
    Whoami,
    /// `/api/v1/vms?limit=20`.
    List,
}

impl Subject {
    /// What is asked for.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Whoami => "/api/v1/whoami",
            Self::List => "/api/v1/vms?limit=20",
        }
    }
}

/// What a cell is to its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The product itself.
    Product,
    /// The bare axum server.
    Hello,
    /// Each statement a round trip, over as many connections as the product has.
    Naive,
    /// The same with as many callers as the product has, so that latencies compare.
    NaiveCrowded,
    /// Everything in one message.
    OneMessage,
}

enum Target {
    Http(Load),
    Floor(Floor),
}

/// One line of the table.
pub(crate) struct Cell {
    pub(crate) subject: Subject,
    pub(crate) part: Part,
    /// Database connections, where the cell has its own.
    pub(crate) connections: Option<usize>,
    /// One sample per round.
    pub(crate) samples: Vec<Sample>,
    target: Target,
    watched: Watched,
}

impl Cell {
    /// Requests to a process, for `/health` without a token and otherwise for all personas.
    pub(crate) fn http(subject: Subject, part: Part, process: &Process, personas: &[Persona], postmaster: u32) -> Self {
        let requests: Arc<[Vec<u8>]> = match subject {
            Subject::Health => Arc::new([get(subject.path(), None)]),
            _ => personas
                .iter()
                .map(|persona| get(subject.path(), Some(&persona.token)))
                .collect(),
        };
        let target = Target::Http(Load {
            address: process.address,
            requests,
        });
        let server = Some(process.pid());
        Self {
            subject,
            part,
            connections: None,
            samples: Vec::new(),
            target,
            watched: Watched { server, postmaster },
        }
    }

    /// What was recorded of the subject, through pgbench.
    pub(crate) fn floor(
        subject: Subject,
        part: Part,
        pgbench: &Pgbench,
        recording: &Recording,
        personas: &[Persona],
        (connections, postmaster): (usize, u32),
    ) -> anyhow::Result<Self> {
        let shape = match part {
            Part::OneMessage => Shape::OneMessage,
            _ => Shape::Naive,
        };
        let name = format!("{subject:?}-{part:?}").to_lowercase();
        let floor = Floor::write(pgbench, &name, recording, shape, personas, connections)?;
        Ok(Self {
            subject,
            part,
            connections: Some(connections),
            samples: Vec::new(),
            target: Target::Floor(floor),
            watched: Watched {
                server: None,
                postmaster,
            },
        })
    }

    /// One round. Only floors need the warm-up: the servers stay up between the rounds.
    pub(crate) async fn measure(&mut self, warm_up: Duration, window: Duration) -> anyhow::Result<()> {
        let sample = match &self.target {
            Target::Http(load) => load.run(window, self.watched).await,
            Target::Floor(floor) => floor.run(warm_up, window, self.watched).await,
        };
        let sample = sample.with_context(|| format!("{:?} of {}", self.part, self.subject.path()))?;
        self.samples.push(sample);
        Ok(())
    }

    /// Keeps a server busy for a while without counting; a floor warms itself.
    pub(crate) async fn warm_up(&self, window: Duration) -> anyhow::Result<()> {
        if let Target::Http(load) = &self.target {
            load.run(window, self.watched).await?;
        }
        Ok(())
    }
}
