//! The build date of the clock floor is not older than the newest release.

use safe_rt::{ClockFloor, Utc};

use crate::{Finding, expect_none, tree};

const CHANGELOG: &str = "CHANGELOG.md";

/// Headings of releases, `## [1.2.3] - 2027-01-31`, that are later than `built`.
fn later_than(built: &str, changelog: &str) -> Vec<Finding> {
    let headings = (1..).zip(changelog.lines());
    headings
        .filter(|(_, line)| line.starts_with("## "))
        .filter_map(|(line, text)| Some((line, text.rsplit_once(" - ")?.1.trim())))
        .filter(|&(_, date)| date > built)
        .map(|(line, date)| {
            let what = format!("released on {date}: `RELEASE_SECONDS` of safe-rt says {built}");
            Finding::new(CHANGELOG, line, what)
        })
        .collect()
}

#[test]
fn a_release_after_the_build_date_is_found() {
    let changelog =
        "# Changelog\n## Unreleased\n## [0.2.0] - 2027-01-31\n## [0.1.0] - 2026-02-01\n";
    let found = later_than("2026-11-01", changelog);
    assert_eq!(
        found.iter().map(|found| found.line).collect::<Vec<_>>(),
        [3]
    );
    assert!(later_than("2027-01-31", changelog).is_empty());
}

#[test]
fn the_build_date_is_that_of_the_newest_release_or_later() {
    let built = Utc(ClockFloor::new().earliest()).to_string();
    let date = built.split(' ').next().expect("a date");
    expect_none(&later_than(date, &tree::document(CHANGELOG)));
}
