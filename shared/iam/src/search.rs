//! What is searched for in a list.

use bulkhead_kernel::fault::Violation;

/// Text that something in a row must contain, as a pattern for `ILIKE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search(String);

impl Search {
    const MAX_CHARS: usize = 100;

    pub(crate) fn parse(text: &str) -> Result<Self, Violation> {
        if text.chars().nth(Self::MAX_CHARS).is_some() || text.chars().any(char::is_control) {
            let detail = "must be at most 100 characters, without control characters";
            return Err(Violation::new("search", detail));
        }
        let mut pattern = String::from("%");
        for char in text.trim().chars() {
            if matches!(char, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(char);
        }
        pattern.push('%');
        Ok(Self(pattern))
    }

    pub(crate) fn pattern(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_taken_literally() {
        assert_eq!(Search::parse(" 100%_a\\b ").unwrap().pattern(), "%100\\%\\_a\\\\b%");
        assert_eq!(Search::parse("").unwrap().pattern(), "%%");
    }

    #[test]
    fn a_search_that_nothing_can_match_is_refused() {
        assert!(Search::parse("a\0").is_err());
        assert!(Search::parse(&"x".repeat(101)).is_err());
    }
}
