//! `config`: everything that is wrong with the configuration, at once.

use std::rc::Rc;

use mqtt::ClientId;
use safe_rt::Identity;

use crate::config::{Config, ConfigErrors};
use crate::doctor::Subject;
use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::identity;

pub(super) fn run(case: &Case) -> Finding {
    let mut warnings = Vec::new();
    let (config, identity) = match &case.options.subject {
        Subject::Loaded(config, identity) => (Rc::clone(config), identity.clone()),
        Subject::Layers(layers) => match layers.load() {
            Ok(found) => {
                warnings.extend(found.warnings().iter().map(|found| found.error.to_string()));
                let mut config = found.into_config();
                let identity = complete(case, &mut config);
                (Rc::new(config), identity)
            }
            Err(errors) => return faulty(&errors),
        },
    };
    if let Err(error) = case.configure(config, identity) {
        return Finding::fail(format!("what there is for TLS is not usable: {error}"));
    }
    let Some(setup) = case.setup() else {
        return Finding::fail("there is no configuration");
    };
    let (endpoint, provider) = (setup.endpoint(), setup.profile().provider());
    let text = format!("{endpoint}, profile {provider}");
    if warnings.is_empty() {
        return Finding::ok(text);
    }
    let finding =
        Finding::warn(text).remedy("Change what is found; `agent check-config` shows where.");
    warnings.into_iter().fold(finding, Finding::evidence)
}

fn faulty(errors: &ConfigErrors) -> Finding {
    let problems = errors.problems();
    let mut finding = Finding::fail(match problems.len() {
        1 => "one fault".to_owned(),
        count => format!("{count} faults"),
    });
    if let Some(first) = problems.first() {
        finding = finding.code(first.error.code());
    }
    let lines = errors.to_string();
    let lines = lines.lines().filter(|line| !line.is_empty());
    lines.fold(finding, Finding::evidence)
}

/// Adds what provisioning has made: the device's identifier and what it shows of itself.
fn complete(case: &Case, config: &mut Config) -> Option<Identity> {
    let folder = case.options.state_dir.as_deref();
    let (state, loaded) = identity::look(folder.unwrap_or(&config.state.dir)).ok()?;
    if config.device.id.is_none() {
        let about = loaded.as_ref().and_then(|loaded| loaded.about());
        let id = about.map(|about| about.client_id.clone());
        let id = id.or(state.device_id).and_then(|id| ClientId::new(id).ok());
        if let Some(id) = id {
            // A topic that is none with this identifier the agent refuses as well.
            let _ = config.set_device_id(&id);
        }
    }
    loaded.map(|loaded| loaded.identity().clone())
}
