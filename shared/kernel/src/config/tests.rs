use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;
use crate::secret::Secret;

const URLS: [(&str, &str); 3] = [
    ("BULKHEAD__DATABASE__OWNER_URL", "postgres://owner:hunter2@db/bulkhead"),
    (
        "BULKHEAD__DATABASE__CONTROL_URL",
        "postgres://control:hunter2@db/bulkhead",
    ),
    (
        "BULKHEAD__DATABASE__TENANT_URL",
        "postgres://tenant:hunter2@db/bulkhead",
    ),
];

fn load(env: &[(&str, &str)]) -> Result<Config, Mistakes> {
    Config::load(ConfigSource::from_env(URLS.iter().chain(env).copied()))
}

fn mistakes(result: Result<Config, Mistakes>) -> Vec<String> {
    let mistakes = result.err().expect("the settings must be refused");
    mistakes.to_string().lines().map(str::to_owned).collect()
}

/// A `.env` of one test, removed at its end.
struct DotEnv(PathBuf);

impl DotEnv {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bulkhead-{}.env", uuid::Uuid::now_v7()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn with(&self, env: &[(&str, &str)]) -> ConfigSource {
        ConfigSource {
            dotenv: Some(self.0.clone()),
            ..ConfigSource::from_env(env.iter().copied())
        }
    }
}

impl Drop for DotEnv {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn defaults_need_only_the_database() {
    let config = load(&[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.server.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.jobs.heartbeat(), std::time::Duration::from_secs(5));
    assert!(config.redis.url.is_none() && config.telemetry.otlp_endpoint.is_none());
    let required = mistakes(Config::load(ConfigSource::default()));
    assert_eq!(
        required,
        URLS.map(|(key, _)| format!("{key}: is required: a URL that begins with postgres:// or postgresql://"))
    );
}

#[test]
fn a_command_asks_only_for_the_sections_it_uses() {
    let load_for = |env: &[(&str, &str)], needed: &[Section]| {
        Config::load_for(ConfigSource::from_env(env.iter().copied()), needed)
    };
    assert!(load_for(&[], &[Section::Auth]).is_ok());
    assert_eq!(mistakes(load_for(&[], &[Section::Database])).len(), 3);
    assert_eq!(
        mistakes(load_for(&[("BULKHEAD__JOBS__POLL_MS", "0")], &[Section::Auth])).len(),
        1
    );
}

#[test]
fn every_type_is_read_from_the_environment() {
    let config = load(&[
        ("BULKHEAD__SERVER__MAX_CONNECTIONS", " 7 "),
        (
            "BULKHEAD__SERVER__CORS_ALLOWED_ORIGINS",
            "https://a.example, http://b.example:3000,",
        ),
        ("BULKHEAD__SERVER__PUBLIC_URL", "https://localhost:8443/"),
        ("BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL", "false"),
        ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "1500"),
        ("BULKHEAD__TELEMETRY__LOG_FORMAT", "text"),
    ])
    .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.server.max_connections, 7);
    assert_eq!(
        config.server.cors_allowed_origins,
        ["https://a.example", "http://b.example:3000"]
    );
    assert_eq!(config.server.public_url, "https://localhost:8443");
    assert!(!config.auth.require_verified_email);
    assert_eq!(config.database.acquire_timeout.as_millis(), 1500);
    assert_eq!(config.telemetry.log_format, LogFormat::Text);
}

#[test]
fn all_mistakes_are_reported_together_without_values() {
    let lines = mistakes(load(&[
        ("BULKHEAD__SERVER__LISTN", "hunter2"),
        ("BULKHEAD__JOBS__POLL_MS", "hunter2"),
        ("BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL", "hunter2"),
        ("BULKHEAD__SERVER__LISTEN", "hunter2"),
        ("BULKHEAD__DATABASE__TENANT_URL", "mysql://tenant:hunter2@db/bulkhead"),
        ("BULKHEAD__WORKER__CONCURRENCY", "0"),
    ]));
    assert_eq!(
        lines,
        [
            "BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL: must be true or false",
            "BULKHEAD__JOBS__POLL_MS: must be a whole number",
            "BULKHEAD__SERVER__LISTN: there is no such setting; .env.example lists all",
            "BULKHEAD__SERVER__LISTEN: must be an IP address and a port, such as 127.0.0.1:8080",
            "BULKHEAD__WORKER__CONCURRENCY: must be from 1 to 1024",
            "BULKHEAD__DATABASE__TENANT_URL: must be a URL that begins with postgres:// or postgresql://",
        ]
    );
}

#[test]
fn a_relay_is_needed_only_to_send_through_it() {
    let smtp = ("BULKHEAD__MAIL__DRIVER", "smtp");
    let relay = ("BULKHEAD__MAIL__SMTP_URL", "smtps://ada:hunter2@mail.example.com");
    let base = ("BULKHEAD__MAIL__LINK_BASE", "https://app.example.com/");
    let config = load(&[smtp, relay, base]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(matches!(config.mail.driver, MailDriver::Smtp(_)));
    assert!(!config.describe().contains("hunter2"));
    assert_eq!(config.mail.links.base, "https://app.example.com");
    assert_eq!(mistakes(load(&[smtp, relay])).len(), 1);
    assert!(load(&[relay]).is_ok_and(|config| matches!(config.mail.driver, MailDriver::Log)));
    assert_eq!(mistakes(load(&[smtp, base])).len(), 1);
    let env = URLS.iter().chain([&smtp]).copied();
    assert!(Config::load_for(ConfigSource::from_env(env), &[Section::Auth]).is_ok());
}

#[test]
fn who_sends_mail_needs_a_relay_unless_the_api_is_on_this_machine() {
    let at = |url| ("BULKHEAD__SERVER__PUBLIC_URL", url);
    for here in ["http://localhost:8080", "http://[::1]:8080", "http://127.0.0.1"] {
        assert!(load(&[at(here)]).is_ok(), "{here}");
    }
    let elsewhere = at("https://api.example.com");
    let lines = mistakes(load(&[elsewhere]));
    assert!(
        lines.len() == 1 && lines[0].starts_with("BULKHEAD__MAIL__DRIVER: must be smtp"),
        "{lines:?}"
    );
    let relay = [
        elsewhere,
        ("BULKHEAD__MAIL__DRIVER", "smtp"),
        ("BULKHEAD__MAIL__SMTP_URL", "smtps://mail.example.com"),
        ("BULKHEAD__MAIL__LINK_BASE", "https://app.example.com"),
    ];
    assert!(load(&relay).is_ok());
    let env = URLS.iter().chain([&elsewhere]).copied();
    assert!(Config::load_for(ConfigSource::from_env(env), &[Section::Server]).is_ok());
}

#[test]
fn tenants_call_this_machine_only_where_it_is_a_developers() {
    let allowed = ("BULKHEAD__OUTBOUND__ALLOW_LOOPBACK", "true");
    for (settings, is_allowed) in [(&[allowed][..], true), (&[], false)] {
        let config = load(settings).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.outbound.is_loopback_allowed, is_allowed);
    }
    // Also for a process that sends no mail, where the driver for development is no mistake.
    let elsewhere = ("BULKHEAD__SERVER__PUBLIC_URL", "https://api.example.com");
    for section in [Section::Outbound, Section::Mail] {
        let env = URLS.iter().chain([&elsewhere, &allowed]).copied();
        let lines = mistakes(Config::load_for(ConfigSource::from_env(env), &[section]));
        assert_eq!(lines.len(), 1, "{lines:?}");
        let is_about_loopback = lines[0].starts_with("BULKHEAD__OUTBOUND__ALLOW_LOOPBACK: must be false");
        assert_eq!(is_about_loopback, section == Section::Outbound, "{lines:?}");
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    for (key, value) in [
        ("SERVER__HEADER_TIMEOUT_SECS", "0"),
        ("SERVER__MAX_CONNECTIONS", "-1"),
        ("SERVER__MAX_CONNECTIONS", "99999999999999999999"),
        ("SERVER__PUBLIC_URL", ""),
        ("SERVER__PUBLIC_URL", "https://user:word@api.example.com"),
        ("SERVER__CORS_ALLOWED_ORIGINS", "*"),
        ("SERVER__CORS_ALLOWED_ORIGINS", "https://app.example.com/"),
        ("REDIS__URL", "http://127.0.0.1"),
        ("REDIS__KEY_PREFIX", ""),
        ("REDIS__KEY_PREFIX", "a{b}"),
        ("AUTH__ISSUER", " "),
        ("AUTH__REFRESH_IDLE_SECS", "7776001"),
        ("AUTH__SIGN_IN_FAILURES_PER_ACCOUNT", "0"),
        ("AUTH__SIGN_IN_FAILURES_PER_ADDRESS", "0"),
        ("AUTH__SIGN_IN_WINDOW_SECS", "0"),
        ("AUTH__MAILS_PER_ACCOUNT", "0"),
        ("AUTH__KEY_ENCRYPTION_KEY", "short"),
        ("AUTH__KEY_ANNOUNCE_SECS", "7776000"),
        ("JOBS__LEASE_MS", "0"),
        ("JOBS__RETRY_BASE_MS", "300001"),
        ("MAIL__DRIVER", "sendmail"),
        ("MAIL__SMTP_URL", "smtp://mail.example.com"),
        ("MAIL__FROM", "Bulkhead"),
        ("MAIL__FROM", "Bülkhead <bülkhead@example.com>"),
        ("MAIL__TIMEOUT_SECS", "0"),
        ("MAIL__LINK_BASE", "app.example.com"),
        ("MAIL__VERIFY_LINK_SECS", "59"),
        ("MAIL__RESET_LINK_SECS", "0"),
        ("OUTBOUND__EXTRA_PORTS", "8443,0"),
        ("OUTBOUND__EXTRA_PORTS", "8443,65536"),
        ("WEBHOOKS__TIMEOUT_SECS", "61"),
        ("WEBHOOKS__KEEP_DAYS", "3"),
        ("COMPUTE__DRIVER", "vsphere"),
        ("TELEMETRY__LOG_LEVEL", "inof"),
        ("TELEMETRY__LOG_LEVEL", ""),
        ("TELEMETRY__LOG_LEVEL", "bulkhead_jobs=loud"),
        ("TELEMETRY__OTLP_ENDPOINT", "https://collector.example.com"),
    ] {
        let key = format!("BULKHEAD__{key}");
        let lines = mistakes(load(&[(&key, value)]));
        assert!(
            lines.len() == 1 && lines[0].starts_with(&format!("{key}: ")),
            "{key}={value}: {lines:?}"
        );
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = DotEnv::new("# comment\nBULKHEAD__JOBS__POLL_MS=10\nexport BULKHEAD__JOBS__LEASE_MS='300'\nOTHER=1\n");
    let mut env = URLS.to_vec();
    env.push(("BULKHEAD__JOBS__POLL_MS", "20"));
    let config = Config::load(file.with(&env)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.jobs.poll.as_millis(), 20);
    assert_eq!(config.jobs.lease.as_millis(), 300);
    assert_eq!(config.jobs.retry_base.as_millis(), 1000);
    for line in [
        "JOBS__POLL_MS=20  (environment)",
        "JOBS__LEASE_MS=300  (.env)",
        "JOBS__RETRY_BASE_MS=1000  (default)",
    ] {
        assert!(
            config.describe().contains(line),
            "{line} is not in\n{}",
            config.describe()
        );
    }
}

#[test]
fn a_broken_file_is_a_mistake_that_shows_nothing_of_it() {
    let file = DotEnv::new("BULKHEAD__JOBS__POLL_MS=10\nhunter2 hunter2\nBULKHEAD__JOBS__NAP_MS=1\n");
    let lines = mistakes(Config::load(file.with(&URLS)));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("the line after BULKHEAD__JOBS__POLL_MS"), "{lines:?}");
    assert!(lines[1].starts_with("BULKHEAD__JOBS__NAP_MS: "), "{lines:?}");
    assert!(!lines.concat().contains("hunter2"));
}

#[test]
fn short_names_fill_only_what_is_not_set() {
    let short = [("DATABASE_URL", "postgres://short/db"), ("REDIS_URL", "redis://short")];
    let config = load(&short).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.database.owner_url.expose(), URLS[0].1);
    assert_eq!(config.redis.url.as_ref().map(Secret::expose), Some("redis://short"));
    let env = short.iter().chain(&URLS[1..]).copied();
    let config = Config::load(ConfigSource::from_env(env)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.database.owner_url.expose(), "postgres://short/db");
}

#[test]
fn descriptions_hide_secrets() {
    let config = load(&[("BULKHEAD__REDIS__URL", "redis://:hunter2@cache")]).unwrap_or_else(|m| panic!("{m}"));
    assert!(!config.describe().contains("hunter2"));
    assert!(config.describe().contains("BULKHEAD__REDIS__URL=***  (environment)"));
    assert_eq!(config.describe().lines().count(), Config::env_keys().len());
}

const B: [(&str, &str); 3] = [
    (
        "BULKHEAD__DATABASE__CLUSTERS__B__OWNER_URL",
        "postgres://owner:hunter2@b/bulkhead",
    ),
    (
        "BULKHEAD__DATABASE__CLUSTERS__B__CONTROL_URL",
        "postgres://control:hunter2@b/bulkhead",
    ),
    (
        "BULKHEAD__DATABASE__CLUSTERS__B__TENANT_URL",
        "postgres://tenant:hunter2@b/bulkhead",
    ),
];

#[test]
fn a_cluster_has_urls_of_its_own_and_all_else_as_home() {
    let mut env = B.to_vec();
    env.push(("BULKHEAD__DATABASE__NEW_TENANTS_CLUSTER", "b"));
    env.push(("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "7"));
    let config = load(&env).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let b = &config.database.clusters["b"];
    assert_eq!(b.owner_url.expose(), B[0].1);
    assert_eq!((b.tenant_connections, b.clusters.len()), (7, 0));
    assert_eq!(config.database.new_tenants_cluster.as_deref(), Some("b"));
    assert!(config.describe().contains("CLUSTERS__B__TENANT_URL=***") && !config.describe().contains("hunter2"));
    let alone = load(&[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(alone.database.clusters.is_empty() && alone.database.new_tenants_cluster.is_none());
}

#[test]
fn a_cluster_has_the_caps_of_home_or_its_own() {
    let mut env = B.to_vec();
    env.push(("BULKHEAD__DATABASE__CAP_TENANTS", "10"));
    env.push(("BULKHEAD__DATABASE__CAP_CONNECTIONS", "20"));
    env.push(("BULKHEAD__DATABASE__CLUSTERS__B__CAP_TENANTS", "0"));
    let config = load(&env).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (home, b) = (config.database.caps, config.database.clusters["b"].caps);
    assert_eq!((home.tenants, home.connections), (10, 20));
    assert_eq!((b.tenants, b.connections, b.relations), (0, 20, home.relations));
    assert!(config.describe().contains("CLUSTERS__B__CAP_TENANTS=0  (environment)"));
    env.push(("BULKHEAD__DATABASE__CLUSTERS__B__CAP_SIZE_MB", "-1"));
    let told = mistakes(load(&env));
    assert!(
        told.iter()
            .any(|line| line.contains("CLUSTERS__B__CAP_SIZE_MB: must be from 0")),
        "{told:?}"
    );
}

#[test]
fn a_cluster_that_is_half_named_or_called_home_is_refused() {
    let told = mistakes(load(&[
        B[0],
        ("BULKHEAD__DATABASE__CLUSTERS__B__CONTROL_URL", "hunter2"),
        ("BULKHEAD__DATABASE__CLUSTERS__B__PASSWORD", "hunter2"),
        ("BULKHEAD__DATABASE__CLUSTERS__HOME__OWNER_URL", "postgres://x/y"),
        ("BULKHEAD__DATABASE__NEW_TENANTS_CLUSTER", "c"),
    ]));
    for key in [
        "CLUSTERS__B__CONTROL_URL: must",
        "CLUSTERS__B__PASSWORD: a cluster has",
        "CLUSTERS__B__TENANT_URL: is required",
        "CLUSTERS__HOME__OWNER_URL: a cluster's name",
        "NEW_TENANTS_CLUSTER: must be home",
    ] {
        assert!(told.iter().any(|line| line.contains(key)), "{key} is not in {told:?}");
    }
    assert!(!told.concat().contains("hunter2"));
}

#[test]
fn every_setting_has_a_sentence_with_its_unit() {
    let entries = template::entries();
    let names: BTreeSet<_> = entries.iter().map(template::Entry::env_key).collect();
    assert_eq!(names.len(), entries.len(), "a setting stands twice");
    for entry in entries {
        let doc = entry.doc.join(" ");
        assert!(doc.ends_with('.'), "{} has no sentence", entry.env_key());
        for (ending, unit) in [
            ("_ms", "illiseconds"),
            ("_secs", "econds"),
            ("_bytes", "bytes"),
            ("_kib", "kibibytes"),
        ] {
            assert!(
                !entry.key.ends_with(ending) || doc.contains(unit),
                "{}: unit?",
                entry.env_key()
            );
        }
    }
}

/// `.env.example` is made with `BLESS=1` in the environment of this test.
#[test]
fn env_example_matches_the_defaults() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.env.example");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, Config::env_example()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), Config::env_example());
}

#[test]
fn env_example_with_every_line_taken_gives_the_defaults() {
    let example = Config::env_example();
    let uncommented = example.lines().filter_map(|line| line.strip_prefix("# "));
    let lines: Vec<_> = uncommented
        .filter(|line| line.starts_with("BULKHEAD__") && line.contains('='))
        .collect();
    assert_eq!(lines.len(), Config::env_keys().len());
    let file = DotEnv::new(&lines.join("\n"));
    let short = [("DATABASE_URL", "postgres://short/db"), URLS[1], URLS[2]];
    let config = Config::load(file.with(&short)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let defaults = load(&[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let without_layer = |config: &Config| {
        config
            .describe()
            .replace("(.env)", "(default)")
            .replace("(environment)", "(default)")
    };
    assert_eq!(without_layer(&config), without_layer(&defaults));
}
