//! What is generated of the table of keys is what lies in the repository, and is right.

use std::collections::BTreeSet;
use std::fs;

use agent::config::{KEYS, Level, Section, document};

use crate::layers::source;
use crate::temp_dir::TempDir;

#[track_caller]
fn is_up_to_date(path: &str, generated: &str, command: &str) {
    let file = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    let found = fs::read_to_string(file).unwrap_or_default();
    assert!(
        found == generated,
        "{path} is out of date: run `{command} > {path}`"
    );
}

#[test]
fn the_example_and_the_reference_are_those_of_the_table() {
    is_up_to_date(
        "docs/agent.example.toml",
        &document::example(),
        "agent init",
    );
    let command = "agent config list --markdown";
    is_up_to_date(
        "docs/guide/configuration.md",
        &document::reference(),
        command,
    );
}

/// Checks a text as a whole configuration.
fn check(text: String) -> Result<(), String> {
    let root = TempDir::new();
    let file = root.write("agent.toml", text);
    let source = source(&root, &[]).file(file);
    let checked = fiber::run(move || source.check(Level::Syntax).map(drop)).unwrap();
    checked.map_err(|errors| errors.to_string())
}

#[test]
fn a_new_configuration_is_in_order_and_so_is_each_table_of_it_without_the_comments() {
    let example = document::example();
    check(example.clone()).unwrap();
    let lines: Vec<&str> = example.lines().collect();
    let is_setting = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        KEYS.iter()
            .any(|key| line.starts_with(&format!("{} = ", key.name)))
    };
    let mut seen = BTreeSet::new();
    for section in Section::ALL {
        let head = section.to_string();
        let start = lines
            .iter()
            .position(|line| line.trim_start_matches("# ") == head);
        let start = start.unwrap_or_else(|| panic!("{section} is not there"));
        let mut text = String::new();
        if section != Section::Cloud {
            text += "[cloud]\nendpoint = \"mqtts://h\"\n";
        }
        if section == Section::Command {
            text += "[commands]\ntopic = \"c\"\n";
        }
        text += &format!("{head}\n");
        let others = Section::ALL.map(|section| section.to_string());
        let of_section = lines[start + 1..]
            .iter()
            .take_while(|line| !others.contains(&line.trim_start_matches("# ").to_owned()));
        for line in of_section.filter(|line| is_setting(line)) {
            let line = line.trim_start_matches("# ");
            let name = line.split(" = ").next().unwrap();
            seen.insert(format!("{}.{name}", section.name()));
            // Of several ways to say one thing, one.
            let is_other = [
                "password_env",
                "credential",
                "password",
                "token_env",
                "token",
            ];
            let is_https = ["url", "token_file"];
            let is_authority = section == Section::Provision && name == "authority";
            if !is_other.contains(&name) && !is_https.contains(&name) && !is_authority {
                text += &format!("{line}\n");
            }
        }
        check(text.clone()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    }
    let all: BTreeSet<String> = KEYS.iter().map(|key| key.path()).collect();
    assert_eq!(seen, all);
}

#[test]
fn every_key_is_described() {
    let described = document::descriptions(None);
    let reference = document::reference();
    for key in KEYS {
        assert!(
            described.contains(&format!("{}\n  {}\n", key.path(), key.meaning)),
            "{key}"
        );
        assert!(reference.contains(&format!("| `{}` | ", key.name)), "{key}");
        let ends_well = key.meaning.ends_with('.') && !key.meaning.contains('\n');
        assert!(
            ends_well && !key.meaning.contains("  "),
            "{key}: {}",
            key.meaning
        );
    }
    let of_one = document::names(Some(Section::Metrics));
    assert_eq!(of_one, "metrics.topic\nmetrics.interval\n");
    let longest = document::example()
        .lines()
        .map(|line| line.chars().count())
        .max();
    assert!(longest <= Some(110), "{longest:?}");
}
