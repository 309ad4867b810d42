//! The HTML part of a mail, made from the same paragraphs as its text, so that the two never say different things.

use std::fmt::Write as _;

/// The page: nothing in it comes from elsewhere or tells anybody that it was opened.
pub(crate) fn page(subject: &str, content: &str) -> String {
    let (head, rest) = FRAME.split_once("{subject}").unwrap_or((FRAME, ""));
    let (body, end) = rest.split_once("{content}").unwrap_or((rest, ""));
    format!("{head}{}{body}{content}{end}", escape(subject))
}

const FRAME: &str = include_str!("../templates/frame.html");

/// A paragraph of text.
pub(crate) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A paragraph that is a link of ours.
pub(crate) fn link(address: &str) -> String {
    let address = escape(address);
    format!("<p><a href=\"{address}\">{address}</a></p>\n")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        // Writing to a String cannot fail.
        let _ = match letter {
            '<' | '>' | '&' | '"' | '\'' => write!(escaped, "&#{};", u32::from(letter)),
            _ => write!(escaped, "{letter}"),
        };
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_is_markup() {
        let page = page("<b>&", &paragraph("\"><script>'x'</script>"));
        assert!(page.contains("<title>&#60;b&#62;&#38;</title>"), "{page}");
        assert!(
            page.contains("<p>&#34;&#62;&#60;script&#62;&#39;x&#39;&#60;/script&#62;</p>"),
            "{page}"
        );
    }

    #[test]
    fn a_page_asks_nobody_for_anything() {
        let page = page("Acme", &link("https://app.example.com/verify-email#token=a&b"));
        assert!(
            page.contains(r#"<a href="https://app.example.com/verify-email#token=a&#38;b">"#),
            "{page}"
        );
        for foreign in ["src=", "<img", "<link", "<script", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
