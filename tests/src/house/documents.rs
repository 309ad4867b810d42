//! What the documents say must be true.

use bulkhead_kernel::fault::Code;

use super::{read, root};

/// The words between backticks that look like a path of this repository.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split('`').skip(1).step_by(2);
    words.filter(|word| {
        let tops = [
            "api/",
            "worker/",
            "shared/",
            "tests/",
            "bench/",
            "migrations/",
            "docs/",
            "scripts/",
            "deploy/",
            ".ci/",
            ".github/",
        ];
        tops.iter().any(|top| word.starts_with(top)) && !word.contains(['<', '*', '{', ' ', '…'])
    })
}

#[test]
fn paths_named_in_documents_exist() {
    let mut named = 0;
    let mut documents = vec![("README.md".to_owned(), read("README.md"))];
    for name in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "migrations/README.md",
    ] {
        documents.push((name.into(), read(name)));
    }
    documents.extend(super::files("docs", "md"));
    for (name, text) in &documents {
        for path in paths(text) {
            named += 1;
            let path = path.split("::").next().unwrap_or_default();
            assert!(root().join(path).exists(), "{name} names {path}, which does not exist");
        }
    }
    assert!(named > 20, "only {named} paths found: is the search broken?");
}

#[test]
fn every_problem_code_is_documented_and_no_other() {
    let text = read("docs/problems.md");
    let documented: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented, codes);
    for code in Code::ALL {
        assert!(text.contains(code.title()), "the title of {} differs", code.as_str());
    }
}

/// The documents with promises, and how many tests each names at least.
const PROMISING: [(&str, usize); 2] = [("docs/isolation.md", 30), ("docs/schedules.md", 15)];

/// The tests that a document names as `file::test`.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    paths(text).filter_map(|path| path.split_once("::")).collect()
}

#[test]
fn every_test_named_in_the_promises_exists_and_every_promise_names_one() {
    for (document, n_tests) in PROMISING {
        check_promises(&read(document), n_tests);
    }
}

fn check_promises(text: &str, n_tests: usize) {
    let named = tests_named(text);
    assert!(named.len() >= n_tests, "only {} tests are named", named.len());
    for (path, test) in named {
        let file = read(path);
        let lines: Vec<&str> = file.lines().collect();
        let place = lines.iter().position(|line| line.contains(&format!("fn {test}(")));
        let above = &lines[..place.unwrap_or_default()];
        let mut attributes = above
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with(['#', '/']));
        let marked = attributes.any(|line| line.contains("#[test]") || line.contains("#[tokio::test"));
        assert!(marked, "{path} has no test {test}");
    }
    let (_, promises) = text.split_once("## Promises").unwrap();
    let promises = promises.split("\n## ").next().unwrap();
    for line in promises
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| promise"))
    {
        assert!(!tests_named(line).is_empty(), "a promise without a test: {line}");
    }
}
