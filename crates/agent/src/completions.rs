//! What shells need to complete the commands and their options, made from the tables of both.

use crate::args::flags::{Fill, Flag};
use crate::args::{Shell, Tool};
use crate::explain;

/// Returns the completions for a shell.
#[must_use]
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

/// The options of a tool.
fn rows(tool: Tool) -> impl Iterator<Item = &'static Flag> {
    tool.sections().flat_map(|(_, rows)| rows)
}

/// The words that call a command.
fn commands() -> Vec<&'static str> {
    Tool::ALL
        .iter()
        .flat_map(|tool| tool.about().words)
        .copied()
        .collect()
}

/// The words that are no options and may follow.
fn operands(tool: Tool) -> Vec<&'static str> {
    match tool {
        Tool::Explain => explain::all().map(|entry| entry.code).collect(),
        Tool::Completions => vec!["bash", "zsh", "fish"],
        Tool::Cert => vec!["show", "needs-renewal", "renew", "csr"],
        Tool::Config => vec!["show", "get", "list"],
        Tool::Queue => vec!["ls", "export", "drop"],
        _ => Vec::new(),
    }
}

fn bash() -> String {
    let mut values = String::new();
    let mut words = String::new();
    for tool in Tool::ALL {
        let calls = tool.about().words;
        let mut names = Vec::new();
        for row in rows(tool) {
            names.extend(row.names);
            if row.value.is_empty() {
                continue;
            }
            let keys: Vec<String> = calls
                .iter()
                .flat_map(|call| row.names.iter().map(move |name| format!("{call}:{name}")))
                .collect();
            let reply = match row.fill() {
                Fill::Nothing => "COMPREPLY=()".to_owned(),
                Fill::Files => "COMPREPLY=($(compgen -f -- \"$current\"))".to_owned(),
                Fill::Folders => "COMPREPLY=($(compgen -d -- \"$current\"))".to_owned(),
                Fill::Words(words) => {
                    format!(
                        "COMPREPLY=($(compgen -W \"{}\" -- \"$current\"))",
                        words.join(" ")
                    )
                }
            };
            values += &format!("    {}) {reply}; return ;;\n", keys.join("|"));
        }
        let all = [names, operands(tool)].concat().join(" ");
        words += &format!("    {}) words=\"{all}\" ;;\n", calls.join("|"));
    }
    format!(
        "# Completions of agent for bash; `agent completions bash` makes them.\n\
         _agent() {{\n  \
         local current=\"${{COMP_WORDS[COMP_CWORD]}}\" previous=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n  \
         local command=\"${{COMP_WORDS[1]}}\" words\n  \
         if [ \"$COMP_CWORD\" -eq 1 ]; then\n    \
         COMPREPLY=($(compgen -W \"{} --help --version\" -- \"$current\"))\n    return\n  fi\n  \
         case \"$command:$previous\" in\n{values}  esac\n  \
         case \"$command\" in\n{words}    *) words=\"\" ;;\n  esac\n  \
         COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}}\n\
         complete -F _agent agent\n",
        commands().join(" ")
    )
}

/// A text between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn zsh() -> String {
    let mut script = "#compdef agent\n\
                      # Completions of agent for zsh; `agent completions zsh` makes them.\n"
        .to_owned();
    let mut calls = String::new();
    let mut list = String::new();
    for tool in Tool::ALL {
        let about = tool.about();
        let function = format!("_agent_{}", about.words[0]);
        script += &format!("{function}() {{\n  _arguments -s");
        for row in rows(tool) {
            script += &zsh_row(row);
        }
        let operands = operands(tool);
        if !operands.is_empty() {
            script += &format!(
                " \\\n    {}",
                quoted(&format!("*:word:({})", operands.join(" ")))
            );
        }
        script += "\n}\n";
        calls += &format!("    {}) {function} ;;\n", about.words.join("|"));
        for word in about.words {
            list += &format!("    {}\n", quoted(&format!("{word}:{}", about.summary)));
        }
    }
    script += &format!(
        "_agent() {{\n  local -a commands\n  commands=(\n{list}  )\n  \
         if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  \
         local command=\"$words[2]\"\n  shift words\n  (( CURRENT-- ))\n  \
         case \"$command\" in\n{calls}  esac\n}}\n_agent \"$@\"\n"
    );
    script
}

fn zsh_row(row: &Flag) -> String {
    // What zsh takes for its own in a description.
    let text = row
        .text
        .replace('\\', "\\\\")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:");
    let value = match (row.value, row.fill()) {
        ("", _) => String::new(),
        (value, Fill::Nothing) => format!(":{value}:"),
        (value, Fill::Files) => format!(":{value}:_files"),
        (value, Fill::Folders) => format!(":{value}:_files -/"),
        (value, Fill::Words(words)) => format!(":{value}:({})", words.join(" ")),
    };
    row.names
        .iter()
        .map(|name| format!(" \\\n    {}", quoted(&format!("*{name}[{text}]{value}"))))
        .collect()
}

fn fish() -> String {
    let mut script = format!(
        "# Completions of agent for fish; `agent completions fish` makes them.\n\
         complete -c agent -f\n\
         set -l none 'not __fish_seen_subcommand_from {}'\n",
        commands().join(" ")
    );
    for tool in Tool::ALL {
        let about = tool.about();
        for word in about.words {
            script += &format!(
                "complete -c agent -n \"$none\" -a {word} -d {}\n",
                fish_quoted(about.summary)
            );
        }
    }
    for tool in Tool::ALL {
        let seen = format!(
            "-n '__fish_seen_subcommand_from {}'",
            tool.about().words.join(" ")
        );
        for row in rows(tool) {
            let names: Vec<String> = row
                .names
                .iter()
                .map(|name| match name.strip_prefix("--") {
                    Some(word) => format!("-l {word}"),
                    None => format!("-s {}", &name[1..]),
                })
                .collect();
            let value = match (row.value, row.fill()) {
                ("", _) => String::new(),
                (_, Fill::Nothing) => " -x".to_owned(),
                (_, Fill::Files) => " -r -F".to_owned(),
                (_, Fill::Folders) => " -x -a '(__fish_complete_directories)'".to_owned(),
                (_, Fill::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
            };
            script += &format!(
                "complete -c agent {seen} {}{value} -d {}\n",
                names.join(" "),
                fish_quoted(row.text)
            );
        }
        let operands = operands(tool);
        if !operands.is_empty() {
            script += &format!("complete -c agent {seen} -a '{}'\n", operands.join(" "));
        }
    }
    script
}

/// A text between single quotes, in which fish takes a backslash for its own.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_every_command_is_completed_in_every_shell() {
        let (bash, zsh, fish) = (bash(), zsh(), fish());
        for tool in Tool::ALL {
            let calls = tool.about().words;
            let start = format!("    {}) words=\"", calls.join("|"));
            let line = bash.lines().find(|line| line.starts_with(&start)).unwrap();
            let offered: Vec<&str> = line[start.len()..].split(['"', ' ']).collect();
            let (_, function) = zsh
                .split_once(&format!("_agent_{}() {{\n", calls[0]))
                .unwrap();
            let (function, _) = function.split_once("\n}\n").unwrap();
            let seen = format!("-n '__fish_seen_subcommand_from {}'", calls.join(" "));
            for name in rows(tool).flat_map(|row| row.names) {
                let who = tool.as_str();
                assert!(offered.contains(name), "{name} of {who} in bash");
                assert!(
                    function.contains(&format!("'*{name}[")),
                    "{name} of {who} in zsh"
                );
                let word = match name.strip_prefix("--") {
                    Some(word) => format!(" -l {word} "),
                    None => format!(" -s {} ", &name[1..]),
                };
                let found = fish
                    .lines()
                    .any(|line| line.contains(&seen) && line.contains(&word));
                assert!(found, "{name} of {who} in fish");
            }
        }
    }
}
