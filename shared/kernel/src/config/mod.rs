//! Settings: the commented defaults that are part of the binary, then `.env`, then `BULKHEAD__SECTION__KEY` of the
//! environment, read once at start.
//!
//! Invariants: every mistake is reported, not only the first; no mistake and no description shows the value of a secret;
//! every default is read by a section and every setting read has a default. Absent: any way to read settings later.

mod archives;
mod audit;
mod auth;
mod compute;
mod database;
mod jobs;
mod mail;
mod mistakes;
mod outbound;
mod reader;
mod server;
mod settings;
mod source;
mod telemetry;
mod template;
mod tenants;
#[cfg(test)]
mod tests;
mod webhooks;
mod worker;

pub use archives::Archives;
pub use audit::Audit;
pub use auth::{Auth, SignInLimits};
pub use compute::{Compute, DriverKind};
pub use database::{Caps, Database, Redis};
pub use jobs::{JobRetention, Jobs};
pub use mail::{Mail, MailDriver, MailLinks, SmtpSecurity, SmtpServer};
pub use mistakes::{Mistake, Mistakes};
pub use outbound::Outbound;
pub use server::Server;
pub use source::ConfigSource;
pub use telemetry::{LogFormat, Telemetry};
pub use tenants::Tenants;
pub use webhooks::Webhooks;
pub use worker::Worker;

use self::{reader::Reader, settings::Settings};

/// One part of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `[server]`
    Server,
    /// `[worker]`
    Worker,
    /// `[database]`
    Database,
    /// `[redis]`
    Redis,
    /// `[auth]`
    Auth,
    /// `[jobs]`
    Jobs,
    /// `[tenants]`
    Tenants,
    /// `[mail]`
    Mail,
    /// `[outbound]`
    Outbound,
    /// `[webhooks]`
    Webhooks,
    /// `[compute]`
    Compute,
    /// `[archives]`
    Archives,
    /// `[audit]`
    Audit,
    /// `[telemetry]`
    Telemetry,
}

impl Section {
    /// All sections.
    pub const ALL: &'static [Self] = &[
        Self::Server,
        Self::Worker,
        Self::Database,
        Self::Redis,
        Self::Auth,
        Self::Jobs,
        Self::Tenants,
        Self::Mail,
        Self::Outbound,
        Self::Webhooks,
        Self::Compute,
        Self::Archives,
        Self::Audit,
        Self::Telemetry,
    ];

    /// The name as the defaults write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Worker => "worker",
            Self::Database => "database",
            Self::Redis => "redis",
            Self::Auth => "auth",
            Self::Jobs => "jobs",
            Self::Tenants => "tenants",
            Self::Mail => "mail",
            Self::Outbound => "outbound",
            Self::Webhooks => "webhooks",
            Self::Compute => "compute",
            Self::Archives => "archives",
            Self::Audit => "audit",
            Self::Telemetry => "telemetry",
        }
    }
}

/// All settings of a process. It has no `Debug`, as it holds secrets; [`Config::describe`] is for people.
#[derive(Clone)]
pub struct Config {
    /// The public API.
    pub server: Server,
    /// The worker process.
    pub worker: Worker,
    /// PostgreSQL.
    pub database: Database,
    /// Redis.
    pub redis: Redis,
    /// Tokens, sessions and passwords.
    pub auth: Auth,
    /// The job queue.
    pub jobs: Jobs,
    /// `[jobs]` as well: what is kept of them.
    pub job_retention: JobRetention,
    /// The life of tenants.
    pub tenants: Tenants,
    /// Mail to people.
    pub mail: Mail,
    /// Calls to addresses that tenants name.
    pub outbound: Outbound,
    /// Tenants' webhooks.
    pub webhooks: Webhooks,
    /// Virtual machines.
    pub compute: Compute,
    /// Tenants as files.
    pub archives: Archives,
    /// The tenants' audit logs.
    pub audit: Audit,
    /// Logs and traces.
    pub telemetry: Telemetry,
    description: String,
}

impl Config {
    /// Reads all settings and checks all of them.
    pub fn load(source: ConfigSource) -> Result<Self, Mistakes> {
        Self::load_for(source, Section::ALL)
    }

    /// As [`Config::load`], but a required setting may be missing (and is then empty) outside of `needed`, so that a
    /// command asks only for what it uses. What is set and wrong is always a mistake.
    pub fn load_for(source: ConfigSource, needed: &[Section]) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let settings = Settings::gather(source, &mut mistakes);
        let description = settings.describe();
        let mut reader = Reader::new(&settings, &mut mistakes);
        let config = Self {
            server: Server::read(&mut reader.section(Section::Server)),
            worker: Worker::read(&mut reader.section(Section::Worker)),
            database: Database::read(&mut reader.section(Section::Database)),
            redis: Redis::read(&mut reader.section(Section::Redis)),
            auth: Auth::read(&mut reader.section(Section::Auth)),
            jobs: Jobs::read(&mut reader.section(Section::Jobs)),
            job_retention: JobRetention::read(&mut reader.section(Section::Jobs)),
            tenants: Tenants::read(&mut reader.section(Section::Tenants)),
            mail: Mail::read(&mut reader.section(Section::Mail)),
            outbound: Outbound::read(&mut reader.section(Section::Outbound)),
            webhooks: Webhooks::read(&mut reader.section(Section::Webhooks)),
            compute: Compute::read(&mut reader.section(Section::Compute)),
            archives: Archives::read(&mut reader.section(Section::Archives)),
            audit: Audit::read(&mut reader.section(Section::Audit)),
            telemetry: Telemetry::read(&mut reader.section(Section::Telemetry)),
            description,
        };
        reader.finish();
        // What is read wrongly may be a stand-in, from which nothing follows.
        if mistakes.is_empty() {
            let public_url = &config.server.public_url;
            config.mail.check_development(public_url, &mut mistakes);
            config.outbound.check_development(public_url, &mut mistakes);
        }
        mistakes.keep_missing_of(needed);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// The settings in force, one line each with where it comes from; secrets are shown as `***`.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// The names of all environment variables, in the order of the defaults.
    #[must_use]
    pub fn env_keys() -> Vec<String> {
        template::entries().iter().map(template::Entry::env_key).collect()
    }

    /// The text of `.env.example`: every setting with its meaning and its default, commented out.
    #[must_use]
    pub fn env_example() -> String {
        template::env_example()
    }
}
