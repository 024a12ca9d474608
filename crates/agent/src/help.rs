//! The texts of `--help` and `--version`, made from the tables of tools, options and exit codes.

use crate::args::Tool;
use crate::args::flags::Flag;
use crate::exit;

/// What `--version` prints.
pub const VERSION: &str = concat!("agent ", env!("CARGO_PKG_VERSION"), "\n");

/// Columns that the texts are made for.
const COLUMNS: usize = 80;
/// Where what is said of an option begins.
const INDENT: usize = 26;

/// Returns what `--help` prints.
#[must_use]
pub fn text(tool: Tool) -> String {
    match tool {
        Tool::Agent => overview(),
        tool => of_tool(tool),
    }
}

fn overview() -> String {
    let mut text = String::new();
    for (n, tool) in Tool::ALL.into_iter().enumerate() {
        let about = tool.about();
        let left = match n {
            0 => format!("Usage: agent {} ...", about.words[0]),
            _ => format!("       agent {} ...", about.words[0]),
        };
        text += &two_columns(&left, about.summary, INDENT + 4);
    }
    text += "\nagent COMMAND --help tells the options of a command, agent --version the version.\n";
    text
}

fn of_tool(tool: Tool) -> String {
    let about = tool.about();
    let usage = format!("{} {}", tool.as_str(), about.operands);
    let mut text = format!("Usage: {}\n\n", usage.trim_end());
    text += &wrapped(about.text, 0);
    for (title, rows) in tool.sections() {
        text += &format!("\n{title}:\n");
        for row in rows {
            text += &two_columns(&left(row), row.text, INDENT);
        }
    }
    text += "\nExit codes:\n";
    for row in exit::TABLE {
        if let Some(meaning) = row.text(about.exits) {
            text += &two_columns(&format!(" {}", row.codes_text()), meaning, 9);
        }
    }
    text
}

/// The spellings of an option and its value: letters in their column, words in theirs.
fn left(row: &Flag) -> String {
    let names = row.names.join(", ");
    let start = if row.names[0].starts_with("--") {
        "     "
    } else {
        " "
    };
    format!("{start}{names} {}", row.value)
        .trim_end()
        .to_owned()
}

/// What stands on the left, and beside it, or below if there is no room, what stands on the right.
fn two_columns(left: &str, right: &str, indent: usize) -> String {
    let right = wrapped(right, indent);
    let len = left.chars().count();
    if len + 2 > indent {
        return format!("{left}\n{right}");
    }
    format!("{left}{}", &right[len..])
}

/// A text in lines that are not longer than [`COLUMNS`], each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let room = indent + line.chars().count() + 1 + word.chars().count() <= COLUMNS;
        if !line.is_empty() && !room {
            lines += &format!("{margin}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines += &format!("{margin}{line}\n");
    lines
}
