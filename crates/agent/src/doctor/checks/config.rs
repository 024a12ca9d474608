//! `config`: everything that is wrong with the configuration, at once.

use std::io;
use std::path::Path;
#[cfg(test)]
use std::path::PathBuf;
use std::rc::Rc;

use mqtt::ClientId;
use safe_rt::Identity;

use crate::config::{Config, ConfigErrors};
use crate::doctor::Subject;
use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::identity::{self, Found, StoreError};

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

/// Adds what provisioning has made: the device's identifier and what it shows of itself. What cannot be
/// read is noted, for it is not the same as nothing.
fn complete(case: &Case, config: &mut Config) -> Option<Identity> {
    let folder = case.options.state_dir.clone();
    let folder = folder.unwrap_or_else(|| config.state.dir.clone());
    let looked = identity::look(&folder);
    let (state, loaded) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            if shows_it(config) {
                *case.no_identity.borrow_mut() = Some(unreadable(&error));
            }
            return None;
        }
    };
    let is_damaged = || {
        // One is in use, and cannot be used; or there is something, and nothing says what it is.
        state.active.is_some() || matches!(identity::found_in(&folder), Ok(Found::Lost))
    };
    if loaded.is_none() && shows_it(config) && is_damaged() {
        *case.no_identity.borrow_mut() = Some(lost(&folder));
    }
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

/// Whether the device shows the identity that is kept, if there is one.
fn shows_it(config: &Config) -> bool {
    let cloud = &config.cloud;
    let is_asked_for = config.provision.is_some() || cloud.credentials.is_none();
    cloud.endpoint.scheme().is_tls() && cloud.identity.is_none() && is_asked_for
}

fn unreadable(error: &StoreError) -> Finding {
    let is_forbidden = matches!(error, StoreError::Io { source, .. }
        if source.kind() == io::ErrorKind::PermissionDenied);
    let finding = match is_forbidden {
        true => Finding::fail("the identity of the device cannot be read by this user")
            .remedy("Run the doctor as root, or as the user of the agent."),
        false => Finding::fail("the identity of the device cannot be read")
            .remedy("Look after the disk and the folder; the agent deletes nothing of it."),
    };
    finding.evidence(error.to_string())
}

fn lost(folder: &Path) -> Finding {
    Finding::fail("the identity of the device is damaged")
        .evidence(format!(
            "what is in {} is no certificate with its key",
            folder.join("identity").display()
        ))
        .remedy(
            "Restore the folder; else `agent deprovision` and a new start get the device another one.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_user_may_not_read_is_told_from_what_the_disk_does_not_give() {
        let found = |kind: io::ErrorKind| {
            let (path, source) = (PathBuf::from("/state"), kind.into());
            unreadable(&StoreError::Io { path, source })
        };
        let forbidden = found(io::ErrorKind::PermissionDenied);
        assert!(
            forbidden.text.ends_with("by this user"),
            "{}",
            forbidden.text
        );
        assert!(forbidden.fix().is_some_and(|fix| fix.contains("as root")));
        let broken = found(io::ErrorKind::NotADirectory);
        assert!(broken.text.ends_with("be read"), "{}", broken.text);
    }
}
