//! Every kind of job has its handler, and every handler its kind.

use std::collections::BTreeSet;

use bulkhead_kernel::config::{Config, ConfigSource};
use bulkhead_tenancy::Db;
use bulkhead_worker::registry::{Parts, registry};

use super::sources;

/// The kinds that the product's sources name, without those of unit tests.
fn named() -> Vec<String> {
    let mut kinds = Vec::new();
    for (_, text) in sources() {
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (_, rest) in product
            .match_indices("const KIND: &'static str = ")
            .map(|(at, m)| product[at..].split_at(m.len()))
        {
            kinds.push(rest.split('"').nth(1).unwrap().to_owned());
        }
    }
    kinds
}

#[tokio::test]
async fn every_job_kind_has_exactly_one_handler_and_every_handler_a_kind() {
    let urls = ["OWNER", "CONTROL", "TENANT"].map(|name| {
        (
            format!("BULKHEAD__DATABASE__{name}_URL"),
            "postgres://nobody@127.0.0.1:1/none",
        )
    });
    let config = Config::load_for(ConfigSource::from_env(urls), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    // Nothing connects before it is used.
    let registry = registry(Parts::new(Db::new(&config.database).unwrap(), &config).unwrap());
    let handled: BTreeSet<String> = registry.kinds().map(str::to_owned).collect();
    let named = named();
    let kinds: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(named.len(), kinds.len(), "two jobs share a kind: {named:?}");
    assert!(kinds.len() >= 3, "{kinds:?}");
    assert_eq!(handled, kinds);
    for kind in kinds {
        let is_noun_and_verb = kind
            .split_once('.')
            .is_some_and(|(noun, verb)| !noun.is_empty() && !verb.is_empty());
        assert!(is_noun_and_verb, "{kind} is not noun.verb");
    }
}
