//! Explanations as text: for a terminal, and for the guide.

use std::fmt;

use super::{Explanation, Kind, Note};

/// Columns of a terminal that an explanation is made for.
const COLUMNS: usize = 80;

/// Writes an explanation for a terminal.
pub(super) fn show(explanation: &Explanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}: {}", explanation.code, explanation.title)?;
    for (heading, text) in parts(explanation) {
        writeln!(f, "\n{heading}:")?;
        wrapped(f, text)?;
    }
    for Note { provider, text, .. } in explanation.shown_notes() {
        writeln!(f, "\nWith {provider}:")?;
        wrapped(f, text)?;
    }
    Ok(())
}

/// What there is to say of a code whoever the provider is, each with its heading.
const fn parts(explanation: &Explanation) -> [(&'static str, &'static str); 3] {
    let Explanation {
        cause, verify, fix, ..
    } = *explanation;
    [("Cause", cause), ("Verify", verify), ("Fix", fix)]
}

/// Writes a text in lines that are indented by two and not longer than [`COLUMNS`].
fn wrapped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if column == 0 {
            write!(f, "  {word}")?;
            column = 2 + len;
        } else if column + 1 + len <= COLUMNS {
            write!(f, " {word}")?;
            column += 1 + len;
        } else {
            write!(f, "\n  {word}")?;
            column = 2 + len;
        }
    }
    writeln!(f)
}

/// Returns a line for each code: the code and what is wrong.
#[must_use]
pub fn overview() -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        if kind.explanations().next().is_none() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{}:\n", kind.as_str());
        let width = kind.explanations().map(|entry| entry.code.len()).max();
        for Explanation { code, title, .. } in kind.explanations() {
            let width = width.unwrap_or(0);
            text += &format!("  {code:<width$}  {title}\n");
        }
    }
    text
}

/// Returns all explanations as the generated part of `docs/guide/troubleshooting.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        if kind.explanations().next().is_none() {
            continue;
        }
        text += &format!("## {}\n\n", kind.as_str());
        for explanation in kind.explanations() {
            text += &format!("### {}: {}\n\n", explanation.code, explanation.title);
            for (heading, part) in parts(explanation) {
                text += &format!("- **{heading}.** {part}\n");
            }
            for Note {
                provider,
                text: note,
                ..
            } in explanation.shown_notes()
            {
                text += &format!("- **{provider}.** {note}\n");
            }
            text.push('\n');
        }
    }
    text
}
