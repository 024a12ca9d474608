//! The little of Markdown that the rules about documents need: table rows and code spans.

/// A row of a table, without its header and its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) cells: Vec<String>,
}

/// Every row of every table.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_rule = |line: &str| {
        line.starts_with('|') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
    };
    let mut out = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let is_header = lines.get(index + 1).is_some_and(|next| is_rule(next));
        if line.starts_with('|') && !is_rule(line) && !is_header {
            out.push(Row {
                line: index + 1,
                cells: cells(line),
            });
        }
    }
    out
}

/// Splits at `|`, but not at `\|`.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let mut out = vec![String::new()];
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            '|' if !escaped => out.push(String::new()),
            _ => out.last_mut().expect("never empty").push(c),
        }
        escaped = c == '\\';
    }
    out.iter()
        .map(|cell| cell.trim().replace("\\|", "|"))
        .collect()
}

/// The texts between backticks on one line.
pub(crate) fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn rows_leave_out_header_and_rule() {
    let text = "| Id | What |\n|---|:--|\n| 1 | a \\| b |\n\ntext | with a bar\n| 2 | `c` |";
    let found: Vec<(usize, Vec<String>)> =
        rows(text).into_iter().map(|r| (r.line, r.cells)).collect();
    let expected = [(3, ["1", "a | b"]), (6, ["2", "`c`"])];
    let expected: Vec<(usize, Vec<String>)> = expected
        .into_iter()
        .map(|(line, cells)| (line, cells.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn code_spans_are_what_stands_between_backticks() {
    assert_eq!(code_spans("a `b` c `d e`"), ["b", "d e"]);
}
