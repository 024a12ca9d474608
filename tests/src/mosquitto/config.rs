//! The configuration files of a test's Mosquitto.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Access, Listener, Options, write_password_file};
use crate::temp_dir::TempDir;

/// Writes what the configuration refers to into the folder, and returns its text.
pub(super) fn file(options: &Options, folder: &TempDir, ports: &[(Listener, u16)]) -> String {
    let mut lines = vec![
        format!("user {}", current_user()),
        "log_dest stderr".to_owned(),
        "log_type all".to_owned(),
        "connection_messages true".to_owned(),
        "per_listener_settings false".to_owned(),
        "set_tcp_nodelay true".to_owned(),
    ];
    lines.extend(access(options, folder));
    lines.extend(options.lines.iter().cloned());
    for (listener, port) in ports {
        lines.push(format!("listener {port} 127.0.0.1"));
        lines.extend(transport(options, folder, *listener));
    }
    lines.join("\n") + "\n"
}

fn access(options: &Options, folder: &TempDir) -> Vec<String> {
    match &options.access {
        Access::Anybody => vec!["allow_anonymous true".to_owned()],
        Access::Password { user, password } => {
            let path = folder.path().join("passwords");
            write_password_file(&options.peers, &path, user, password);
            vec![
                "allow_anonymous false".to_owned(),
                setting("password_file", &path),
            ]
        }
        Access::DeniedFilter(filter) => {
            let path = folder.write("dynamic-security.json", denying(filter));
            vec![
                "allow_anonymous true".to_owned(),
                setting("plugin", &options.peers.dynamic_security),
                setting("plugin_opt_config_file", &path),
            ]
        }
    }
}

fn transport(options: &Options, folder: &TempDir, listener: Listener) -> Vec<String> {
    let identity = |identity: &crate::pki::Identity, name: &str| {
        let (certificate, key) = identity.write(folder, name);
        vec![setting("certfile", &certificate), setting("keyfile", &key)]
    };
    let mut lines = match (listener, &options.tls, &options.mutual_tls) {
        (Listener::Tls, Some(server), _) => identity(server, "server"),
        (Listener::MutualTls, _, Some((server, client_authority))) => {
            let authority = folder.write("client-authority.crt", client_authority);
            let mut lines = identity(server, "mutual-server");
            lines.push(setting("cafile", &authority));
            lines.push("require_certificate true".to_owned());
            if let Some(list) = &options.revoked {
                lines.push(setting("crlfile", &folder.write("revoked.crl", list)));
            }
            lines
        }
        _ => return vec![],
    };
    if let Some(version) = &options.tls_version {
        lines.push(format!("tls_version {version}"));
    }
    lines
}

fn setting(name: &str, path: &Path) -> String {
    format!("{name} {}", path.display())
}

/// Allows everything to clients without a name, but for one filter.
fn denying(filter: &str) -> String {
    format!(
        r#"{{
  "defaultACLAccess": {{
    "publishClientSend": true, "publishClientReceive": true, "subscribe": true, "unsubscribe": true
  }},
  "anonymousGroup": "anonymous",
  "groups": [{{ "groupname": "anonymous", "roles": [{{ "rolename": "limited" }}] }}],
  "roles": [{{
    "rolename": "limited",
    "acls": [{{ "acltype": "subscribeLiteral", "topic": {}, "priority": 0, "allow": false }}]
  }}]
}}
"#,
        json_string(filter)
    )
}

fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes all"),
            c => out.push(c),
        }
    }
    out + "\""
}

/// The name of the user this process runs as.
fn current_user() -> String {
    let output = Command::new("id")
        .arg("-un")
        .output()
        .expect("`id` can be started");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_for_json() {
        assert_eq!(json_string("a/+\"\\\n"), r#""a/+\"\\\u000a""#);
    }
}
