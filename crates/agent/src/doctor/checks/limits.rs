//! `limits`: whether what is configured is within the limits of the profile.

use mqtt::KEEP_ALIVE_DEFAULT;

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

pub(super) fn run(case: &Case) -> Finding {
    let Some(setup) = case.setup() else {
        return Finding::skip("there is no configuration");
    };
    let filters = setup
        .config
        .subscriptions
        .iter()
        .map(|found| found.topic.as_str());
    let mut beyond = Vec::new();
    let mut is_assumed = true;
    if let Err(limited) = setup.profile().check_filters(filters) {
        is_assumed &= limited.is_assumed;
        beyond.push(format!("[[subscription]]: {limited}"));
    }
    if let Some(telemetry) = &setup.config.telemetry
        && let Err(limited) =
            setup
                .profile()
                .check_publish(telemetry.topic.as_str(), 0, telemetry.qos)
    {
        is_assumed &= limited.is_assumed;
        beyond.push(format!("[telemetry]: {limited}"));
    }
    let id = setup.device_id().map(|id| id.as_str());
    let checked = id.map(|id| setup.profile().server_limits().check_client_id(id));
    if let Some(Err(limited)) = checked {
        is_assumed &= limited.is_assumed;
        beyond.push(format!("[device]: {limited}"));
    }
    if !beyond.is_empty() {
        let provider = setup.profile().provider();
        let finding = match is_assumed {
            // Nobody has said that it is so.
            true => Finding::warn(format!(
                "the configuration asks for more than the profile {provider} assumes to be allowed"
            ))
            .code("T104"),
            false => Finding::fail_by("T104"),
        };
        return beyond.into_iter().fold(finding, Finding::evidence);
    }
    let keep_alive = setup.config.cloud.keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT);
    match setup.profile().keep_alive(keep_alive).1 {
        Some(note) => Finding::note(note.to_string()),
        None => Finding::ok(format!(
            "within those of the profile {}",
            setup.profile().provider()
        )),
    }
}
