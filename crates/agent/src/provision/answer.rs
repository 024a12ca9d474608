//! What clouds say, out of their JSON. Pure.

use serde_json::Value;
use zeroize::Zeroizing;

use super::error::{ProvisionError, Refusal};

/// Longest text of a cloud that is shown.
const TEXT_CHARS_MAX: usize = 200;

/// A certificate that a cloud gave.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) chain: String,
    pub(super) certificate_id: String,
    pub(super) token: Option<Secret>,
    /// The key, if the cloud made it.
    pub(super) key: Option<Secret>,
}

/// A text that never shows, and is wiped.
pub(super) struct Secret(pub(super) Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads a JSON object.
pub(super) fn object(what: &'static str, bytes: &[u8]) -> Result<Value, ProvisionError> {
    let value = serde_json::from_slice(bytes).ok().filter(Value::is_object);
    value.ok_or(ProvisionError::Answer {
        what,
        expected: "a JSON object",
    })
}

/// Returns a text of an object.
pub(super) fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Reads the answer to `create-from-csr`, or to `create`, which has a key.
pub(super) fn granted(
    what: &'static str,
    value: &Value,
    with_key: bool,
) -> Result<Granted, ProvisionError> {
    let must = |name: &'static str| {
        let expected = name;
        text(value, name).ok_or(ProvisionError::Answer { what, expected })
    };
    let secret = |text| Secret(Zeroizing::new(text));
    Ok(Granted {
        chain: must("certificatePem")?,
        certificate_id: must("certificateId")?,
        token: Some(secret(must("certificateOwnershipToken")?)),
        key: match with_key {
            true => Some(secret(must("privateKey")?)),
            false => None,
        },
    })
}

/// Reads a refusal of fleet provisioning.
pub(super) fn rejected(what: &'static str, value: &Value, sent: String) -> Refusal {
    let status = value.get("statusCode").and_then(Value::as_u64);
    Refusal {
        what,
        status: status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(0),
        code: shown(text(value, "errorCode")),
        message: shown(text(value, "errorMessage")),
        sent,
        retry_after: None,
    }
}

/// A text of a cloud as it may be shown: one line, not too long, nothing that controls a terminal.
pub(super) fn shown(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(TEXT_CHARS_MAX).collect()
}

/// Parameters as they are shown: values of what sounds like a secret are hidden.
pub(super) fn parameters_shown<'a>(
    parameters: impl Iterator<Item = (&'a String, &'a String)>,
) -> String {
    const SECRET: [&str; 5] = ["secret", "token", "password", "key", "pin"];
    let one = |(name, value): (&String, &String)| {
        let lower = name.to_ascii_lowercase();
        let is_secret = SECRET.iter().any(|word| lower.contains(word));
        let value = if is_secret {
            "***".to_owned()
        } else {
            shown(Some(value.clone()))
        };
        format!("{name}={value}")
    };
    parameters.map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_has_an_id_and_a_token_and_a_key_where_the_cloud_made_it() {
        let mut value = json!({
            "certificateId": "c0ffee",
            "certificatePem": "-----BEGIN",
            "certificateOwnershipToken": "sesame",
        });
        let found = granted("create", &value, false).unwrap();
        assert_eq!(
            (&*found.certificate_id, &*found.chain),
            ("c0ffee", "-----BEGIN")
        );
        assert!(!format!("{found:?}").contains("sesame"));
        assert!(granted("create", &value, true).is_err());
        value["privateKey"] = "open".into();
        let found = granted("create", &value, true).unwrap();
        assert!(!format!("{found:?}").contains("open"));
        for name in [
            "certificateId",
            "certificatePem",
            "certificateOwnershipToken",
        ] {
            let mut without = value.clone();
            without[name] = json!(7);
            let refused = granted("create", &without, true);
            assert!(
                matches!(refused, Err(ProvisionError::Answer { expected, .. }) if expected == name)
            );
        }
    }

    #[test]
    fn a_refusal_shows_what_the_cloud_said_and_what_was_sent_but_no_secret() {
        let sent: BTreeMap<String, String> = [
            ("SerialNumber", "meter-17"),
            ("PairingPin", "1234"),
            ("ClaimToken", "sesame"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let value = json!({
            "statusCode": 400,
            "errorCode": "InvalidParameters",
            "errorMessage": "no such\u{1b}[31m serial\n",
        });
        let refusal = rejected("registering", &value, parameters_shown(sent.iter()));
        assert_eq!(
            refusal.to_string(),
            "registering: refused with status 400 InvalidParameters no such [31m serial  \
             (sent: ClaimToken=***, PairingPin=***, SerialNumber=meter-17)"
        );
        let nothing = rejected("registering", &json!({}), String::new());
        assert_eq!(nothing.to_string(), "registering: refused with status 0");
    }
}
