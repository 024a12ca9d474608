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
    if let Err(limited) = setup.profile().check_filters(filters) {
        beyond.push(format!("[[subscription]]: {limited}"));
    }
    if let Some(telemetry) = &setup.config.telemetry
        && let Err(limited) =
            setup
                .profile()
                .check_publish(telemetry.topic.as_str(), 0, telemetry.qos)
    {
        beyond.push(format!("[telemetry]: {limited}"));
    }
    let most = setup.profile().limits().client_id_bytes;
    let found = setup.device_id().map_or(0, |id| id.as_str().len());
    if let Some(most) = most.filter(|most| found > *most) {
        beyond.push(format!(
            "[device]: expected an id of at most {most} bytes, found {found}"
        ));
    }
    if !beyond.is_empty() {
        return beyond
            .into_iter()
            .fold(Finding::fail_by("T104"), Finding::evidence);
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
