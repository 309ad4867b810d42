//! Small files and short functions. Tests and generated code are not counted.

use super::sources;

/// The lines of a file before the tests at its foot.
fn product_lines(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
}

fn percentile(values: &mut [usize], percent: usize) -> usize {
    values.sort_unstable();
    values[(values.len() - 1) * percent / 100]
}

#[test]
fn files_stay_small() {
    let mut lengths = Vec::new();
    for (name, text) in sources() {
        let length = product_lines(&text).len();
        assert!(length <= 500, "{name} has {length} lines: it hides two things");
        lengths.push(length);
    }
    assert!(percentile(&mut lengths, 50) < 150);
    assert!(percentile(&mut lengths, 90) < 300);
}

/// The length of every function, from its `fn` line to the brace that closes it at the same indentation.
fn functions(text: &str) -> Vec<usize> {
    let lines = product_lines(text);
    let mut lengths = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let is_function = [
            "fn ",
            "pub fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) fn ",
            "pub(crate) async fn ",
            "const fn ",
            "pub const fn ",
        ]
        .iter()
        .any(|prefix| words.starts_with(prefix));
        if !is_function || line.ends_with(';') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|line| *line == closing) {
            lengths.push(length + 1);
        }
    }
    lengths
}

#[test]
fn functions_stay_short() {
    let mut lengths: Vec<usize> = sources().iter().flat_map(|(_, text)| functions(text)).collect();
    assert!(lengths.len() > 100);
    assert!(percentile(&mut lengths, 90) < 40);
}
