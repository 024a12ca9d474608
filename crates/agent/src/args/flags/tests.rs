//! What holds for the table, and that everything is made from all of it.

use std::collections::BTreeSet;

use super::*;
use crate::{help, man};

fn rows() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// The names of the options of one tool.
fn names(tool: Tool) -> BTreeSet<&'static str> {
    rows()
        .filter(|row| row.tools.contains(&tool))
        .flat_map(|row| row.names)
        .copied()
        .collect()
}

#[test]
fn no_name_is_there_twice_for_a_tool() {
    for tool in Tool::ALL {
        let mut names: Vec<&str> = rows()
            .filter(|row| row.tools.contains(&tool))
            .flat_map(|row| row.names)
            .copied()
            .collect();
        if MOMENT.contains(&tool) {
            names.extend(REFUSED.iter().flat_map(|row| row.names));
        }
        let total = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), total, "{}", tool.as_str());
    }
}

#[test]
fn every_text_is_a_phrase_and_every_value_has_a_name_in_capitals() {
    for row in rows() {
        let names = row.names;
        assert!(
            !row.text.ends_with('.') && !row.text.contains("  "),
            "{names:?}"
        );
        assert!(
            row.value.bytes().all(|byte| byte.is_ascii_uppercase()),
            "{names:?}"
        );
        for name in names {
            let is_letter = name.len() == 2 && name.starts_with('-');
            assert!(is_letter || name.starts_with("--"), "{name}");
        }
    }
}

/// What Mosquitto's programs print as their help names, by program.
const THEIRS: [(Tool, &str); 3] = [
    (
        Tool::Pub,
        "-A -c -d -D -f -h -i -I -k -L -l -m -M -n -p -P -q -r -s -t -u -V -x --help --nodelay \
         --quiet --repeat --repeat-delay --unix --will-payload --will-qos --will-retain \
         --will-topic --cafile --capath --cert --key --keyform --ciphers --tls-version --insecure \
         --tls-engine --tls-engine-kpass-sha1 --tls-use-os-certs --tls-alpn --psk --psk-identity \
         --proxy --property --version",
    ),
    (
        Tool::Sub,
        "-A -c -C -d -D -E -F -h -i -I -k -L -N -p -P -q -R -t -T -u -U -v -V -W -x --help \
         --nodelay --pretty --quiet --random-filter --retained-only --remove-retained \
         --retain-as-published --unix --will-payload --will-qos --will-retain --will-topic \
         --cafile --capath --cert --key --keyform --ciphers --tls-version --insecure --tls-engine \
         --tls-engine-kpass-sha1 --tls-use-os-certs --tls-alpn --psk --psk-identity --proxy \
         --version",
    ),
    (
        Tool::Request,
        "-A -c -d -D -e -f -F -h -i -I -k -L -m -n -N -p -P -q -R -s -t -u -v -V -W -x --help \
         --nodelay --pretty --quiet --unix --will-payload --will-qos --will-retain --will-topic \
         --cafile --capath --cert --key --ciphers --tls-use-os-certs --tls-version --tls-alpn \
         --insecure --psk --psk-identity --proxy --version",
    ),
];

#[test]
fn every_option_of_mosquittos_programs_is_taken_or_refused_with_a_reason() {
    for (tool, theirs) in THEIRS {
        for name in theirs.split_whitespace() {
            let found = look_up(tool, name);
            let known = matches!(found, Ok(_) | Err(UsageError::NotOffered { .. }));
            assert!(known, "{} {name}: {found:?}", tool.as_str());
        }
    }
}

#[test]
fn the_help_names_exactly_the_options_of_its_tool() {
    for tool in Tool::ALL {
        let text = help::text(tool);
        let told: BTreeSet<&str> = text
            .lines()
            .filter(|line| line.starts_with(" -") || line.starts_with("     --"))
            .flat_map(|line| line.trim_start().split("  ").take(1))
            .flat_map(|names| names.split([' ', ',']))
            .filter(|word| word.starts_with('-'))
            .collect();
        assert_eq!(told, names(tool), "{text}");
        let too_long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_long, None);
    }
}

#[test]
fn the_manual_names_every_option() {
    let page = man::page().replace("\\-", "-");
    for tool in Tool::ALL {
        let heading = format!("\n.SS {}\n", tool.as_str());
        let (_, part) = page.split_once(&heading).expect("a part for the tool");
        let part = part.split("\n.S").next().expect("its text");
        for name in names(tool) {
            assert!(
                part.contains(&format!("\\fB{name}\\fR")),
                "{name} in the manual"
            );
        }
    }
    for name in REFUSED.iter().flat_map(|row| row.names) {
        assert!(
            page.contains(&format!("\\fB{name}\\fR")),
            "{name} in the manual"
        );
    }
}
