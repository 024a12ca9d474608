//! `agent cert csr`: a signing request for the key of the device.

use fiber::fs;
use zeroize::Zeroizing;

use super::error::ToolError;
use crate::config::Config;
use crate::exit::Exit;
use crate::identity::Survey;
use crate::{out, provision};

pub(super) fn run(config: &Config) -> Result<Exit, ToolError> {
    if config.cloud.identity.is_some() {
        return Err(ToolError::ConfiguredKey);
    }
    let survey = Survey::of(&config.state.dir)?;
    if let Some(active) = &survey.active {
        let path = active.key_path();
        let key = fs::read(&path).map(Zeroizing::new);
        let key = key.map_err(|error| ToolError::Key {
            reason: error.to_string(),
            path: path.clone(),
        })?;
        let facts = active.facts();
        let name = active
            .about()
            .map_or_else(|| facts.subject(), |about| &about.client_id);
        let request = provision::request_for(&key, name).map_err(|reason| ToolError::Key {
            reason: reason.to_string(),
            path,
        })?;
        out::text(&request)?;
        return Ok(Exit::Done);
    }
    let store = super::open(config)?;
    let request = provision::begin(&store, config.device.id.as_ref());
    let request = request.map_err(ToolError::Attempt)?;
    let Some(request) = request else {
        return Err(ToolError::CloudKey);
    };
    out::plain(format_args!(
        "the key for it is kept in {}; `agent provision` goes on with both",
        config.state.dir.join("identity").display()
    ));
    out::text(&request)?;
    Ok(Exit::Done)
}
