//! The statement of a right that is missing, as it is pasted into the broker's rights.

use crate::profile::Provider;

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Right {
    /// To subscribe to a filter and get its messages.
    Subscribe,
    /// To publish to a topic.
    Publish,
}

/// Whom a right is given to.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The client identifier of the device.
    pub client_id: &'a str,
    /// The user name that it gives, if it gives one.
    pub user_name: Option<&'a str>,
}

/// Returns the statement that gives a device these rights to each of these filters or topics: of a
/// policy document for AWS IoT, of `acl.conf` for EMQX, lines of an access list for Mosquitto, and words
/// for providers whose rights are no text.
///
/// `host` tells the region where that is a part of it; the account is left to be filled in.
#[must_use]
pub fn statement(
    provider: Provider,
    rights: &[Right],
    topics: &[&str],
    who: Who<'_>,
    host: &str,
) -> String {
    match provider {
        Provider::Aws => aws(rights, topics, host),
        Provider::Emqx => {
            let lines = rights
                .iter()
                .map(|right| emqx(*right, topics, who.client_id));
            lines.collect::<Vec<_>>().join("\n")
        }
        Provider::AzureEventGrid | Provider::HiveMq => words(rights, topics, who),
        Provider::Plain => mosquitto(rights, topics, who.user_name),
    }
}

fn words(rights: &[Right], topics: &[&str], who: Who<'_>) -> String {
    let name = who.user_name.unwrap_or(who.client_id);
    let lines = rights.iter().map(|right| {
        let what = match right {
            Right::Subscribe => "subscribe",
            Right::Publish => "publish",
        };
        format!("allow {name} to {what} to {}", topics.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn aws(rights: &[Right], topics: &[&str], host: &str) -> String {
    let region = region_of(host).unwrap_or("REGION");
    let arn = |kind: &str, topic: &str| format!("arn:aws:iot:{region}:ACCOUNT:{kind}/{topic}");
    let all = |kind: &str, spell: fn(&str) -> String| -> Vec<String> {
        topics
            .iter()
            .map(|topic| arn(kind, &spell(topic)))
            .collect()
    };
    // A resource has `*` where a filter has `#` or `+`.
    let resource = |topic: &str| topic.replace(['#', '+'], "*");
    let statements = rights.iter().flat_map(|right| match right {
        Right::Publish => vec![allow("iot:Publish", &all("topic", str::to_owned))],
        Right::Subscribe => vec![
            allow("iot:Subscribe", &all("topicfilter", str::to_owned)),
            allow("iot:Receive", &all("topic", resource)),
        ],
    });
    let statements = serde_json::Value::Array(statements.collect());
    serde_json::to_string_pretty(&statements).unwrap_or_default()
}

fn allow(action: &str, resources: &[String]) -> serde_json::Value {
    serde_json::json!({ "Effect": "Allow", "Action": action, "Resource": resources })
}

/// The part of the host name behind `iot`.
fn region_of(host: &str) -> Option<&str> {
    let mut labels = host.split('.').skip_while(|label| *label != "iot");
    labels.nth(1)
}

fn emqx(right: Right, topics: &[&str], device_id: &str) -> String {
    let action = match right {
        Right::Subscribe => "subscribe",
        Right::Publish => "publish",
    };
    let topics: Vec<String> = topics.iter().map(|topic| quoted(topic)).collect();
    let (device_id, topics) = (quoted(device_id), topics.join(", "));
    format!("{{allow, {{clientid, {device_id}}}, {action}, [{topics}]}}.")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What its access list says of a client that gives no user name: such lines stand before those of users.
const ANONYMOUS: &str = "# above the first line `user`: for all clients without a user name";

/// A line `user` is about the name that a client gives, whatever its identifier is.
fn mosquitto(rights: &[Right], topics: &[&str], user_name: Option<&str>) -> String {
    let mut lines = match user_name {
        Some(name) => format!("user {name}"),
        None => ANONYMOUS.to_owned(),
    };
    for topic in topics {
        let action = match rights {
            [Right::Subscribe] => "read",
            [Right::Publish] => "write",
            _ => "readwrite",
        };
        lines.push_str(&format!("\ntopic {action} {topic}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "a1-ats.iot.eu-west-1.amazonaws.com";
    const METER: Who<'_> = Who {
        client_id: "meter-17",
        user_name: None,
    };

    #[test]
    fn a_policy_of_aws_has_filters_and_what_is_received() {
        let topics = ["site/4/#", "site/+/set"];
        let text = statement(Provider::Aws, &[Right::Subscribe], &topics, METER, HOST);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value[0]["Action"], "iot:Subscribe");
        assert_eq!(
            value[0]["Resource"][0],
            "arn:aws:iot:eu-west-1:ACCOUNT:topicfilter/site/4/#"
        );
        assert_eq!(value[1]["Action"], "iot:Receive");
        assert_eq!(
            value[1]["Resource"][1],
            "arn:aws:iot:eu-west-1:ACCOUNT:topic/site/*/set"
        );
        let text = statement(
            Provider::Aws,
            &[Right::Publish],
            &["a"],
            METER,
            "own.example",
        );
        assert!(
            text.contains("arn:aws:iot:REGION:ACCOUNT:topic/a"),
            "{text}"
        );
    }

    #[test]
    fn access_lists_have_a_line_for_each() {
        let topics = ["a/#", "b"];
        let known = Who {
            user_name: Some("meter"),
            ..METER
        };
        let of = |provider, rights: &[Right], who| statement(provider, rights, &topics, who, "");
        assert_eq!(
            of(Provider::Plain, &[Right::Subscribe], known),
            "user meter\ntopic read a/#\ntopic read b"
        );
        // Its identifier is no name of a user.
        assert_eq!(
            of(Provider::Plain, &[Right::Publish, Right::Subscribe], METER),
            format!("{ANONYMOUS}\ntopic readwrite a/#\ntopic readwrite b")
        );
        assert_eq!(
            of(Provider::Emqx, &[Right::Publish], known),
            "{allow, {clientid, \"meter-17\"}, publish, [\"a/#\", \"b\"]}."
        );
        // What they have is no such list.
        for provider in [Provider::HiveMq, Provider::AzureEventGrid] {
            assert_eq!(
                of(provider, &[Right::Publish], METER),
                "allow meter-17 to publish to a/#, b"
            );
        }
    }
}
