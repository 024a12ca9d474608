//! What is written of the table of keys: the commented configuration of `agent init`, the reference in
//! the guide, and what `agent config list` prints.

use super::table::{KEYS, Section};

/// The longest line of what is generated, in characters.
const WIDTH: usize = 96;

/// What stands before the tables of the reference.
const REFERENCE: &str = include_str!("document/reference.md");

/// What stands at the top of a new configuration.
const HEAD: &str = "\
# The configuration of the agent. What is commented out shows its default, or an example where
# there is none. Files are looked for beside this one. `agent check-config` tells what is wrong,
# `agent config show --origin` what holds and where it comes from.
";

/// Returns a configuration with every key, all but what must be set commented out.
#[must_use]
pub fn example() -> String {
    let mut out = HEAD.to_owned();
    for section in Section::ALL {
        out.push('\n');
        comment(&mut out, section.meaning());
        let is_commented = !section.has_defaults();
        out.push_str(if is_commented { "# " } else { "" });
        out.push_str(&format!("{section}\n"));
        for key in section.keys() {
            out.push('\n');
            comment(&mut out, key.meaning);
            let note = match key.default {
                Some(_) => "",
                None => "; no default",
            };
            comment(&mut out, &format!("Value: {}{note}.", key.allowed()));
            let is_needed = section == Section::Cloud && key.name == "endpoint";
            out.push_str(if is_needed { "" } else { "# " });
            let value = key.default.unwrap_or(key.value);
            out.push_str(&format!("{} = {value}\n", key.name));
        }
    }
    out
}

/// Writes a text as comments.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

/// Returns the reference of the guide, Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = REFERENCE.to_owned();
    for section in Section::ALL {
        out.push_str(&format!("\n## `{section}`\n\n{}\n\n", section.meaning()));
        out.push_str("| Key | Value | Default | A change takes effect | Meaning |\n");
        out.push_str("|---|---|---|---|---|\n");
        for key in section.keys() {
            let default = key
                .default
                .map_or_else(String::new, |default| format!("`{default}`"));
            out.push_str(&format!(
                "| `{}` | {} | {default} | {} | {} |\n",
                key.name,
                key.allowed().replace('|', "\\|"),
                key.applies,
                key.meaning.replace('|', "\\|"),
            ));
        }
    }
    out
}

/// Returns the names of all keys, a line each; of one table alone, where that is given.
#[must_use]
pub fn names(section: Option<Section>) -> String {
    let keys = KEYS
        .iter()
        .filter(|key| section.is_none_or(|section| key.section == section));
    keys.map(|key| key.path() + "\n").collect()
}

/// Returns what there is to know of every key, some lines each; of one table alone, where that is
/// given.
#[must_use]
pub fn descriptions(section: Option<Section>) -> String {
    let keys = KEYS
        .iter()
        .filter(|key| section.is_none_or(|section| key.section == section));
    let described = keys.map(|key| {
        let default = key.default.unwrap_or("none");
        format!(
            "{}\n  {}\n  Value:    {}\n  Default:  {default}\n  Example:  {}\n  A change: {}\n",
            key.path(),
            key.meaning,
            key.allowed(),
            key.example(),
            key.applies,
        )
    });
    described.collect::<Vec<_>>().join("\n")
}
