//! The floor: a loop over a narrow table, one transaction for each job.

use std::time::Instant;

use sqlx::{Connection, PgConnection};

use crate::database::Server;

pub(crate) struct Bare<'a> {
    server: &'a Server,
    places: usize,
}

impl<'a> Bare<'a> {
    pub(crate) async fn new(server: &'a Server, places: usize) -> anyhow::Result<Self> {
        Ok(Self { server, places })
    }

    /// Jobs in a second.
    pub(crate) async fn rate(&self, n_jobs: usize) -> anyhow::Result<f64> {
        let fill = format!(
            "TRUNCATE public.bare; \
             INSERT INTO public.bare SELECT gen_random_uuid(), '{{}}', 'queued', now() + n * interval '1 microsecond' \
             FROM generate_series(1, {n_jobs}) AS n; VACUUM ANALYZE public.bare"
        );
        self.server.run(&fill).await?;
        let began = Instant::now();
        let mut loops = Vec::new();
        for _ in 0..self.places {
            let url = self.server.url("postgres");
            loops.push(tokio::spawn(async move { work(&url).await }));
        }
        for done in loops {
            done.await??;
        }
        Ok(n_jobs as f64 / began.elapsed().as_secs_f64())
    }
}

async fn work(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    loop {
        let mut tx = connection.begin().await?;
        let next: Option<(uuid::Uuid,)> = sqlx::query_as(
            "SELECT id FROM public.bare WHERE state = 'queued' ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some((id,)) = next else {
            return Ok(());
        };
        sqlx::query("UPDATE public.bare SET state = 'done' WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
}
