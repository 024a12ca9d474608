//! What the doctor tells: text for people, JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::case::Case;
use super::finding::{Finding, Outcome};
use crate::exit::Exit;

/// The number of the form of the JSON; a change that a reader could notice raises it.
pub const REPORT_SCHEMA: u32 = 1;

/// Columns of a line of text.
const WIDTH: usize = 80;
/// Columns before what is expanded under a line.
const INDENT: &str = "        ";

/// What all checks found.
#[derive(Clone, Debug)]
pub struct Report {
    endpoint: Option<String>,
    profile: Option<String>,
    device_id: Option<String>,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(case: &Case, findings: Vec<Finding>) -> Self {
        let setup = case.setup();
        let setup = setup.as_deref();
        let device_id = setup.and_then(|setup| setup.device_id());
        Self {
            endpoint: setup.map(|setup| setup.endpoint().to_string()),
            profile: setup.map(|setup| setup.profile().provider().to_string()),
            device_id: device_id.map(|id| id.as_str().to_owned()),
            findings,
        }
    }

    /// Returns what each check found, in their order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns what a check found, if it was to be made.
    #[must_use]
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.id == id)
    }

    /// Returns the first thing to fix: the first check that failed, else the first that warns.
    #[must_use]
    pub fn first(&self) -> Option<&Finding> {
        let first = |outcome| {
            self.findings
                .iter()
                .find(move |found| found.outcome == outcome)
        };
        first(Outcome::Fail).or_else(|| first(Outcome::Warn))
    }

    /// Returns the exit code: of the first check that failed, else of warnings where those count.
    #[must_use]
    pub fn exit(&self, deny_warnings: bool) -> Exit {
        match self.first() {
            None => Exit::Done,
            Some(first) if first.outcome == Outcome::Warn => {
                if deny_warnings {
                    Exit::TryAgain
                } else {
                    Exit::Done
                }
            }
            Some(first) if first.id == "config" => Exit::Config,
            // The link may have failed meanwhile: only what was refused is a right that is missing.
            Some(first) if matches!(first.code, Some("T100" | "T101")) => Exit::Denied,
            Some(_) => Exit::Unavailable,
        }
    }

    /// Returns the verdict, in one line.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(first) = self.first() else {
            return "nothing is to be fixed".to_owned();
        };
        let what = match first.outcome {
            Outcome::Fail => "the first thing to fix is",
            _ => "nothing fails; the first thing to look at is",
        };
        match first.code {
            Some(code) => format!("{what} {}: {} [{code}]", first.id, first.text),
            None => format!("{what} {}: {}", first.id, first.text),
        }
    }

    /// Returns the text, for a terminal of 80 columns.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_from(Outcome::Warn)
    }

    /// As [`text`](Self::text), with what shows it also where all is well.
    #[must_use]
    pub fn text_with_evidence(&self) -> String {
        self.text_from(Outcome::Skip)
    }

    /// What is that grave is told with what shows it.
    fn text_from(&self, expanded: Outcome) -> String {
        let mut text = String::new();
        if let Some(endpoint) = &self.endpoint {
            let profile = self.profile.as_deref().unwrap_or_default();
            let device = self.device_id.as_deref().unwrap_or("without an id");
            let _ = writeln!(text, "{endpoint}, profile {profile}, device {device}\n");
        }
        let width = self.findings.iter().map(|found| found.id.len()).max();
        for finding in &self.findings {
            show(&mut text, finding, width.unwrap_or_default(), expanded);
        }
        let mut verdict = self.verdict();
        if let Some(first) = verdict.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text.push('\n');
        wrap(&mut text, "", &verdict);
        text
    }

    /// What the checks found, as in the JSON.
    pub(super) fn checks(&self) -> Value {
        self.findings.iter().map(of_finding).collect()
    }

    /// Returns the JSON: one object, whose form has a number, [`REPORT_SCHEMA`].
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "schema": REPORT_SCHEMA,
            "endpoint": self.endpoint,
            "profile": self.profile,
            "device_id": self.device_id,
            "checks": self.checks(),
            "first": self.first().map(|first| json!({ "id": first.id, "code": first.code })),
            "verdict": self.verdict(),
        })
    }
}

fn of_finding(finding: &Finding) -> Value {
    let explanation = finding.explanation();
    json!({
        "id": finding.id,
        "outcome": finding.outcome.as_str(),
        "text": finding.text,
        "evidence": finding.evidence,
        "code": finding.code,
        "cause": explanation.map(|found| found.cause),
        "fix": finding.fix(),
        "paste": finding.paste,
        "because_of": finding.because_of,
        "millis": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
    })
}

/// One line, and under it what there is to say of what is not well.
fn show(text: &mut String, finding: &Finding, width: usize, expanded: Outcome) {
    let code = finding
        .code
        .map_or(String::new(), |code| format!(" [{code}]"));
    let (outcome, id) = (finding.outcome.as_str(), finding.id);
    let _ = writeln!(text, "{outcome:<5} {id:<width$}  {}{code}", finding.text);
    if finding.outcome < expanded {
        return;
    }
    for line in &finding.evidence {
        let _ = writeln!(text, "{INDENT}found: {line}");
    }
    if finding.outcome < Outcome::Warn {
        return;
    }
    if let Some(explanation) = finding.explanation() {
        wrap(text, &format!("{INDENT}cause: "), explanation.cause);
    }
    if let Some(fix) = finding.fix() {
        wrap(text, &format!("{INDENT}fix:   "), &fix);
    }
    if let Some(paste) = &finding.paste {
        for line in paste.lines() {
            let _ = writeln!(text, "{INDENT}       {line}");
        }
    }
}

/// Writes a text in lines that fit, the first behind `head` and the others below its end.
fn wrap(text: &mut String, head: &str, body: &str) {
    let indent = " ".repeat(head.len());
    let mut line = head.to_owned();
    let mut is_empty = true;
    for word in body.split_whitespace() {
        if !is_empty && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report {
            endpoint: None,
            profile: None,
            device_id: None,
            findings,
        }
    }

    fn named(id: &'static str, mut finding: Finding) -> Finding {
        finding.id = id;
        finding
    }

    #[test]
    fn the_first_failure_decides_what_is_told_and_the_exit_code() {
        let ok = named("tcp", Finding::ok("fine"));
        let warn = named("clock", Finding::warn("odd"));
        let rights = named("rights-publish", Finding::fail_by("T101"));
        let tls = named("tls", Finding::fail_by("T050"));
        let config = named("config", Finding::fail("two faults"));
        for (findings, exit, strict, verdict) in [
            (vec![ok.clone()], 0, 0, "nothing is to be fixed"),
            (vec![ok, warn.clone()], 0, 75, "nothing fails"),
            (vec![warn.clone(), rights.clone()], 76, 76, "T101"),
            (vec![warn, tls, rights], 69, 69, "T050"),
            (vec![config], 78, 78, "the first thing to fix is config"),
        ] {
            let report = report(findings);
            assert_eq!(report.exit(false).code(), exit, "{verdict}");
            assert_eq!(report.exit(true).code(), strict, "{verdict}");
            assert!(report.verdict().contains(verdict), "{}", report.verdict());
        }
    }

    #[test]
    fn what_is_not_well_is_expanded_and_what_can_be_pasted_stays_as_it_is() {
        let fail = Finding::fail_by("T100")
            .evidence("a/#: refused")
            .paste("user meter\ntopic read a/#");
        let report = report(vec![
            named("tcp", Finding::ok("fine").evidence("not shown")),
            named("rights-subscribe", fail),
            named("ping", Finding::because_of("stays-up")),
        ]);
        let text = report.text();
        assert!(!text.contains("not shown"), "{text}");
        assert!(report.text_with_evidence().contains("found: not shown\n"));
        assert!(text.contains("\n               topic read a/#\n"), "{text}");
        assert!(
            text.contains("skip  ping              because of stays-up"),
            "{text}"
        );
        assert!(text.ends_with("[T100]\n"), "{text}");
        let json = report.json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["checks"][1]["code"], "T100");
        assert_eq!(json["checks"][2]["because_of"], "stays-up");
        assert_eq!(json["first"]["id"], "rights-subscribe");
    }
}
