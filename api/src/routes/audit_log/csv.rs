//! CSV as of RFC 4180, in which no cell is a formula.

/// The names of the columns.
pub(super) const HEADING: &str =
    "id,seq,occurred_at,action,outcome,actor_type,actor_id,targets,changes,request_id,address,agent\r\n";

/// A line with its end.
pub(super) fn line(columns: &[String]) -> String {
    let cells: Vec<String> = columns.iter().map(|column| cell(column)).collect();
    format!("{}\r\n", cells.join(","))
}

/// A spreadsheet runs what begins like a formula, also where it is quoted; an apostrophe before it makes it text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let mark = if is_formula { "'" } else { "" };
    if is_formula || text.contains([',', '"', '\r', '\n']) {
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_none_breaks_out() {
        for (text, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"\n", "\"say \"\"hi\"\"\n\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-2", "\"'-2\""),
            ("\t=1", "\"'\t=1\""),
            ("+\"x\"", "\"'+\"\"x\"\"\""),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
        assert_eq!(line(&["a".into(), "=b".into()]), "a,\"'=b\"\r\n");
    }
}
