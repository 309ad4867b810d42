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
