//! Keys of Redis have one builder.

use super::{files, read, sources};

#[test]
fn keys_are_built_in_one_place_and_commands_are_given_in_one() {
    for (name, text) in sources() {
        if name.starts_with("shared/traffic/src/redis/") {
            continue;
        }
        for word in [
            "redis::cmd",
            "redis::pipe",
            "redis::Cmd",
            "redis::Client",
            "AsyncCommands",
            "ConnectionLike",
            "prepare_invoke",
            "invoke_async",
        ] {
            assert!(
                !text.contains(word),
                "{name} uses {word}; keys would not have to carry their tenant"
            );
        }
    }
}

#[test]
fn only_traffic_knows_redis() {
    for (name, text) in files(".", "toml")
        .iter()
        .filter(|(name, _)| name.ends_with("/Cargo.toml"))
    {
        let is_known = text.lines().any(|line| line.starts_with("redis"));
        assert!(
            !is_known || name == "shared/traffic/Cargo.toml",
            "{name} must not know redis"
        );
    }
    assert!(read("shared/traffic/Cargo.toml").contains("\nredis"));
}

#[test]
fn scripts_take_their_keys_from_the_caller() {
    let scripts = files("shared", "lua");
    assert!(!scripts.is_empty());
    for (name, text) in scripts {
        for call in text.split("redis.call(").skip(1) {
            let arguments = call.split(')').next().unwrap_or_default();
            let key = arguments.split(',').nth(1).map(str::trim);
            let is_given = key.is_none_or(|key| key.starts_with("KEYS[") || key.starts_with(char::is_alphabetic));
            assert!(is_given, "{name} names a key of its own: redis.call({arguments})");
        }
    }
}
