//! An endpoint, what may be asked for, and what became of what was sent.

use bulkhead_events::EventType;
use bulkhead_kernel::{
    fault::Violation,
    ids::{MessageId, WebhookId},
    page::PageRequest,
    secret::Secret,
};
use bulkhead_outbound::{Policy, Target};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// The longest description, in characters.
const DESCRIPTION_CHARS: usize = 200;

/// The longest time for which the secret before signs as well (30 days).
pub const MAX_OVERLAP_SECS: u32 = 2_592_000;

/// Where a tenant wants to be told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// What is called.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// The types it wants; none means all, also those to come.
    pub event_types: Vec<String>,
    /// Whether anything is sent to it.
    pub is_enabled: bool,
    /// Why not: `disabled` by somebody, `failing` for too long, `gone` as it said itself, or `imported` with an archive.
    pub disabled_reason: Option<String>,
    /// Whether there is a secret to sign with; what came with an archive has none.
    pub has_secret: bool,
    /// Until when the secret before signs as well.
    pub previous_until: Option<DateTime<Utc>>,
    /// Since when nothing but failures came.
    pub failing_since: Option<DateTime<Utc>>,
    /// Rises with every change.
    pub version: i64,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A webhook with its new secret, which is shown this once.
#[derive(Clone)]
pub struct Minted {
    /// The webhook.
    pub webhook: Webhook,
    /// `whsec_` and base64.
    pub secret: Secret,
}

/// A webhook that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// What is to be called.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// The types it wants; none means all.
    pub event_types: Vec<String>,
}

impl NewWebhook {
    /// The same as it is kept, or everything that is wrong with it.
    pub(crate) fn validate(&self, policy: &Policy) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let valid = Self {
            url: url_of(&self.url, policy, &mut violations),
            description: description_of(&self.description, &mut violations),
            event_types: types_of(&self.event_types, &mut violations),
        };
        if violations.is_empty() {
            Ok(valid)
        } else {
            Err(violations)
        }
    }
}

/// A change of a webhook; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is called from now on.
    pub url: Option<String>,
    /// What people call it from now on.
    pub description: Option<String>,
    /// The types it wants from now on; none means all.
    pub event_types: Option<Vec<String>>,
    /// Whether anything is sent to it.
    pub is_enabled: Option<bool>,
}

impl Changes {
    /// What the webhook is after the change, or everything that is wrong with it.
    pub(crate) fn apply(&self, before: &Webhook, policy: &Policy) -> Result<Webhook, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut after = before.clone();
        if let Some(url) = &self.url {
            after.url = url_of(url, policy, &mut violations);
        }
        if let Some(description) = &self.description {
            after.description = description_of(description, &mut violations);
        }
        if let Some(types) = &self.event_types {
            after.event_types = types_of(types, &mut violations);
        }
        match self.is_enabled {
            Some(true) if !before.has_secret => {
                let detail = "needs a secret first: it came with an archive, so rotate it";
                violations.push(Violation::new("/is_enabled", detail));
            }
            Some(true) if !before.is_enabled => {
                (after.is_enabled, after.disabled_reason, after.failing_since) = (true, None, None);
            }
            Some(false) if before.is_enabled => {
                (after.is_enabled, after.disabled_reason) = (false, Some("disabled".into()));
            }
            _ => {}
        }
        if violations.is_empty() {
            Ok(after)
        } else {
            Err(violations)
        }
    }
}

fn url_of(text: &str, policy: &Policy, violations: &mut Vec<Violation>) -> String {
    match Target::parse(text, policy) {
        Ok(target) => return target.as_str().to_owned(),
        Err(refusal) => violations.push(Violation::new("/url", refusal.to_string())),
    }
    String::new()
}

fn description_of(text: &str, violations: &mut Vec<Violation>) -> String {
    let text = text.trim();
    if text.chars().take(DESCRIPTION_CHARS + 1).count() > DESCRIPTION_CHARS || text.contains(char::is_control) {
        let detail = "must be up to 200 characters, none of them a control character";
        violations.push(Violation::new("/description", detail));
    }
    text.to_owned()
}

fn types_of(words: &[String], violations: &mut Vec<Violation>) -> Vec<String> {
    if words.len() > EventType::ALL.len() {
        violations.push(Violation::new("/event_types", "must name each type once"));
        return Vec::new();
    }
    for (index, word) in words.iter().enumerate() {
        let refusal = match EventType::find(word) {
            None => "is no type of event",
            Some(_) if words[..index].contains(word) => "is named twice",
            Some(_) => continue,
        };
        violations.push(Violation::new(format!("/event_types/{index}"), refusal));
    }
    words.to_vec()
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It will be tried, for the first time or again.
    Pending,
    /// The endpoint took it.
    Succeeded,
    /// It is given up, until somebody asks for it again.
    Failed,
}

impl State {
    const WORDS: [(&str, Self); 3] = [
        ("pending", Self::Pending),
        ("succeeded", Self::Succeeded),
        ("failed", Self::Failed),
    ];

    /// The word in the database and over the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Result<Self, Violation> {
        let found = Self::WORDS.iter().find(|(name, _)| *name == word);
        found
            .map(|(_, state)| *state)
            .ok_or_else(|| Violation::new("status", "must be one of pending, succeeded, failed"))
    }
}

/// A message on its way to a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// To whom.
    pub webhook: WebhookId,
    /// Which message: the id it is sent under, each time.
    pub message: MessageId,
    /// The type of the event.
    pub kind: String,
    /// What is told of it.
    pub data: Value,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// How far it is.
    pub state: State,
    /// How often it was sent again.
    pub round: i32,
    /// Attempts so far.
    pub n_attempts: i32,
    /// When it is tried next.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was taken, or given up.
    pub finished_at: Option<DateTime<Utc>>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1.
    pub number: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// What came back.
    pub result: Result<Answered, String>,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The beginning of its body.
    pub body: String,
}

/// Which deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state alone.
    pub state: Option<State>,
    /// Of this type alone.
    pub kind: Option<String>,
    /// Which page.
    pub page: PageRequest,
}

/// What is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// To whom.
    pub webhook: WebhookId,
    /// What happened since.
    pub since: DateTime<Utc>,
    /// How many deliveries had failed when it was asked for.
    pub n_deliveries: i64,
}

#[cfg(test)]
mod tests {
    use bulkhead_kernel::config;

    use super::*;

    fn policy() -> Policy {
        Policy::new(&config::Outbound::default())
    }

    fn pointers(url: &str, description: &str, types: &[&str]) -> Vec<String> {
        let new = NewWebhook {
            url: url.into(),
            description: description.into(),
            event_types: types.iter().map(|&word| word.to_owned()).collect(),
        };
        let violations = new.validate(&policy()).err().unwrap_or_default();
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn everything_wrong_is_named_with_its_place() {
        assert!(pointers("https://example.com/hook", "", &[]).is_empty());
        assert!(pointers("https://example.com/hook", " CI ", &["vm.created", "role.deleted"]).is_empty());
        assert_eq!(pointers("http://127.0.0.1/", "", &[]), ["/url"]);
        assert_eq!(pointers("https://example.com/", "a\nb", &[]), ["/description"]);
        assert_eq!(
            pointers("https://example.com/", &"x".repeat(201), &[]),
            ["/description"]
        );
        let twice = ["vm.created", "vm.flown", "vm.created"];
        assert_eq!(
            pointers("ftp://example.com/", "", &twice),
            ["/url", "/event_types/1", "/event_types/2"]
        );
        assert_eq!(
            pointers("https://example.com/", "", &["vm.created"; 100]),
            ["/event_types"]
        );
    }

    #[test]
    fn enabling_begins_anew_and_needs_a_secret() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let failing = Webhook {
            id: WebhookId::new(),
            url: "https://example.com/".into(),
            description: String::new(),
            event_types: Vec::new(),
            is_enabled: false,
            disabled_reason: Some("failing".into()),
            has_secret: true,
            previous_until: None,
            failing_since: Some(now),
            version: 1,
            created_by: String::new(),
            created_at: now,
            updated_at: now,
        };
        let enable = Changes {
            is_enabled: Some(true),
            ..Changes::default()
        };
        let enabled = enable.apply(&failing, &policy()).unwrap();
        assert!(enabled.is_enabled && enabled.disabled_reason.is_none() && enabled.failing_since.is_none());
        assert_eq!(enable.apply(&enabled, &policy()).unwrap(), enabled);
        let bare = Webhook {
            has_secret: false,
            ..failing.clone()
        };
        assert_eq!(enable.apply(&bare, &policy()).unwrap_err()[0].pointer, "/is_enabled");
        let disable = Changes {
            is_enabled: Some(false),
            ..Changes::default()
        };
        assert_eq!(disable.apply(&failing, &policy()).unwrap(), failing, "the reason stays");
    }
}
