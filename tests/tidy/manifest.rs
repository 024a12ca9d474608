//! What the manifests promise: the oldest toolchain that builds the tree, and a pure half without
//! any dependency.

use std::process::Command;

use crate::tree;
use crate::{Finding, expect_findings, expect_none};

type Version = (u32, u32, u32);

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((
        parts.next()??,
        parts.next()??,
        parts.next().unwrap_or(Some(0))?,
    ))
}

/// The text after `"key":"` up to the next quote, and where it ends.
fn value<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let start = json.find(&format!("\"{key}\":\""))? + key.len() + 4;
    json[start..].split('"').next()
}

/// Name and `rust-version` of every foreign package in the output of `cargo metadata`.
///
/// A package's record begins with its name and version, and what it depends on does not.
fn foreign_rust_versions(metadata: &str) -> Vec<(String, Version)> {
    let starts: Vec<usize> = metadata
        .match_indices("{\"name\":\"")
        .map(|(at, _)| at)
        .filter(|at| {
            let record = &metadata[*at..];
            record
                .split("\",\"")
                .nth(1)
                .is_some_and(|next| next.starts_with("version\":"))
        })
        .collect();
    let ends = starts.iter().skip(1).copied().chain([metadata.len()]);
    let records = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &metadata[*start..end]);
    records
        .filter(|record| !record.contains("\"id\":\"path+"))
        .filter_map(|record| {
            Some((
                value(record, "name")?.to_owned(),
                version(value(record, "rust_version")?)?,
            ))
        })
        .collect()
}

/// The workspace's `rust-version`.
fn own_rust_version(manifest: &str) -> Option<Version> {
    let line = manifest
        .lines()
        .find(|line| line.starts_with("rust-version"))?;
    version(line.split('"').nth(1)?)
}

fn check_rust_version(manifest: &str, metadata: &str) -> Vec<Finding> {
    let own = own_rust_version(manifest);
    let highest = foreign_rust_versions(metadata)
        .into_iter()
        .max_by_key(|(_, version)| *version);
    match (own, highest) {
        (Some(own), Some((_, highest))) if own == highest => vec![],
        (own, highest) => {
            let what = format!("rust-version is {own:?}, the highest of the tree is {highest:?}");
            vec![Finding::new("Cargo.toml", 0, what)]
        }
    }
}

fn check_no_dependency(tree: &str) -> Vec<Finding> {
    let mut lines = tree.lines().filter(|line| !line.trim().is_empty());
    let mut findings = Vec::new();
    if !lines.next().is_some_and(|line| line.starts_with("mqtt ")) {
        findings.push(Finding::new("crates/mqtt/Cargo.toml", 0, "no tree of mqtt"));
    }
    findings.extend(lines.map(|line| {
        let what = format!("the pure half depends on {}", line.trim());
        Finding::new("crates/mqtt/Cargo.toml", 0, what)
    }));
    findings
}

#[track_caller]
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(tree::root())
        .output()
        .expect("cargo, which built this test, can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {} failed:\n{errors}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

#[test]
fn the_rust_version_is_the_highest_of_the_tree() {
    let version = cargo(&["version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("cargo names its host");
    let metadata = cargo(&[
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        host,
    ]);
    let manifest = tree::document("Cargo.toml");
    expect_none(&check_rust_version(&manifest, &metadata));
}

#[test]
fn the_pure_half_has_no_dependency() {
    let arguments = ["tree", "--locked", "-p", "mqtt", "--no-default-features"];
    let rest = ["--edges", "normal,build", "--prefix", "none"];
    expect_none(&check_no_dependency(&cargo(
        &[&arguments[..], &rest[..]].concat(),
    )));
}

#[test]
fn the_manifest_rules_bite() {
    let package = |name: &str, id: &str, rust: &str| {
        format!(
            "{{\"name\":\"{name}\",\"version\":\"1.0.0\",\"id\":\"{id}\",\"source\":null,\
             \"dependencies\":[{{\"name\":\"z\",\"source\":null}}],\"rust_version\":{rust}}}"
        )
    };
    let metadata = format!(
        "{{\"packages\":[{},{},{},{}]}}",
        package("own", "path+file:///x#own@1.0.0", "\"1.99\""),
        package("old", "registry+x#old@1.0.0", "null"),
        package("new", "registry+x#new@1.0.0", "\"1.88.1\""),
        package("mid", "registry+x#mid@1.0.0", "\"1.70\"")
    );
    let versions = foreign_rust_versions(&metadata);
    assert_eq!(
        versions,
        [
            ("new".to_owned(), (1, 88, 1)),
            ("mid".to_owned(), (1, 70, 0))
        ]
    );
    expect_none(&check_rust_version("rust-version = \"1.88.1\"", &metadata));
    expect_findings(
        &check_rust_version("rust-version = \"1.88\"", &metadata),
        &[(0, "highest")],
    );
    expect_findings(&check_rust_version("", &metadata), &[(0, "None")]);
    expect_none(&check_no_dependency("mqtt v0.1.0 (x)\n"));
    expect_findings(
        &check_no_dependency("mqtt v0.1.0 (x)\nlog v0.4.35\n"),
        &[(0, "log v0.4.35")],
    );
    expect_findings(&check_no_dependency(""), &[(0, "no tree")]);
}
