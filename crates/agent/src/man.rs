//! The manual page, made from the tables of tools, options and exit codes.

use crate::args::Tool;
use crate::args::flags::{DIFFERENCES, Flag, REFUSED};
use crate::exit;

/// Returns the page `agent(1)`, as roff with the macros `man`.
#[must_use]
pub fn page() -> String {
    let mut page = format!(
        ".TH AGENT 1 \"\" \"agent {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    );
    let about = Tool::Agent.about();
    page += &format!(
        ".SH NAME\nagent \\- {}\n.SH SYNOPSIS\n",
        text(about.summary)
    );
    for tool in Tool::ALL {
        let about = tool.about();
        page += &format!(
            ".B agent {}\n{}\n.br\n",
            about.words[0],
            line(about.operands)
        );
    }
    page += &format!(".SH DESCRIPTION\n{}\n", line(about.text));
    page += ".SH COMMANDS\n";
    for tool in Tool::ALL {
        page += &of_tool(tool);
    }
    page += ".SH EXIT STATUS\n\
             The commands for a moment are\n.BR pub ,\n.B sub\nand\n.BR request .\n";
    for row in exit::TABLE {
        page += &format!(".TP\n.B {}\n", row.codes_text());
        let told = [
            ("pub, sub, request", row.moment),
            ("other commands", row.service),
            ("demo", row.demo),
        ];
        let told: Vec<String> = told
            .into_iter()
            .filter(|(_, meaning)| !meaning.is_empty())
            .map(|(who, meaning)| format!("{who}: {}", text(meaning)))
            .collect();
        page += &format!("{}.\n", told.join(".\n.br\n"));
    }
    page += ".SH OPTIONS THAT ARE NOT OFFERED\n\
             The programs of Mosquitto have these, and they are refused by name.\n";
    for refused in REFUSED {
        page += &format!(
            ".TP\n{}\n{}.\n",
            names(refused.names, ""),
            line(refused.reason)
        );
    }
    page += ".SH OTHER DIFFERENCES FROM MOSQUITTO'S PROGRAMS\n";
    for difference in DIFFERENCES {
        page += &format!(
            ".TP\n{}\n{}\n",
            names(&[difference.about], ""),
            line(difference.text)
        );
    }
    page += ".SH ENVIRONMENT\n.TP\n.B RUST_LOG\nWhat is logged, unless\n.B \\-d\nasks for all.\n\
             .TP\n.B NO_COLOR\nIf it is set and not empty, nothing is printed in colour.\n\
             .SH SEE ALSO\n.BR mosquitto_pub (1),\n.BR mosquitto_sub (1),\n.BR mosquitto_rr (1)\n";
    page
}

fn of_tool(tool: Tool) -> String {
    let about = tool.about();
    let mut part = format!(".SS {}\n{}\n", text(tool.as_str()), line(about.summary));
    if let [_, others @ ..] = about.words
        && !others.is_empty()
    {
        part += &format!(".br\nIt is called {} as well.\n", text(&others.join(", ")));
    }
    part += &format!(".PP\n{}\n", line(about.text));
    for (title, rows) in tool.sections() {
        part += &format!(".PP\n.I {}\n", text(title));
        for Flag {
            names: spellings,
            value,
            text: meaning,
            ..
        } in rows
        {
            part += &format!(".TP\n{}\n{}.\n", names(spellings, value), line(meaning));
        }
    }
    part
}

/// The spellings of an option, and its value.
fn names(names: &[&str], value: &str) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("\\fB{}\\fR", text(name)))
        .collect();
    let value = match value {
        "" => String::new(),
        value => format!(" \\fI{}\\fR", text(value)),
    };
    format!("{}{value}", names.join(", "))
}

/// A text with what roff takes for its own escaped.
fn text(text: &str) -> String {
    text.replace('\\', "\\(rs").replace('-', "\\-")
}

/// The same, as a line of its own: one that begins as a request would be taken for one.
fn line(words: &str) -> String {
    let line = text(words);
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_a_request_that_is_none() {
        assert_eq!(line(".a -b \\c"), "\\&.a \\-b \\(rsc");
        let requests = ["TH", "SH", "SS", "TP", "PP", "B", "BR", "I", "br"];
        for found in page().lines().filter(|line| line.starts_with(['.', '\''])) {
            let name = found[1..].split(' ').next().unwrap();
            assert!(requests.contains(&name), "{found}");
        }
    }
}
