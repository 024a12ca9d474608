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

/// Returns the statement that gives a device a right to each of these filters or topics: of a policy
/// document for AWS IoT, of `acl.conf` for EMQX, else lines of Mosquitto's access list.
///
/// `host` tells the region where that is a part of it; the account is left to be filled in.
#[must_use]
pub fn statement(
    provider: Provider,
    right: Right,
    topics: &[&str],
    device_id: &str,
    host: &str,
) -> String {
    match provider {
        Provider::Aws => aws(right, topics, host),
        Provider::Emqx => emqx(right, topics, device_id),
        Provider::AzureEventGrid | Provider::HiveMq | Provider::Plain => {
            mosquitto(right, topics, device_id)
        }
    }
}

fn aws(right: Right, topics: &[&str], host: &str) -> String {
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
    let statements = match right {
        Right::Publish => vec![allow("iot:Publish", &all("topic", str::to_owned))],
        Right::Subscribe => vec![
            allow("iot:Subscribe", &all("topicfilter", str::to_owned)),
            allow("iot:Receive", &all("topic", resource)),
        ],
    };
    serde_json::to_string_pretty(&serde_json::Value::Array(statements)).unwrap_or_default()
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

fn mosquitto(right: Right, topics: &[&str], device_id: &str) -> String {
    let action = match right {
        Right::Subscribe => "read",
        Right::Publish => "write",
    };
    let mut lines = format!("user {device_id}");
    for topic in topics {
        lines.push_str(&format!("\ntopic {action} {topic}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "a1-ats.iot.eu-west-1.amazonaws.com";

    #[test]
    fn a_policy_of_aws_has_filters_and_what_is_received() {
        let topics = ["site/4/#", "site/+/set"];
        let text = statement(Provider::Aws, Right::Subscribe, &topics, "meter", HOST);
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
            Right::Publish,
            &["a"],
            "meter",
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
        assert_eq!(
            statement(Provider::Plain, Right::Subscribe, &topics, "meter-17", ""),
            "user meter-17\ntopic read a/#\ntopic read b"
        );
        assert_eq!(
            statement(Provider::Emqx, Right::Publish, &topics, "meter-17", ""),
            "{allow, {clientid, \"meter-17\"}, publish, [\"a/#\", \"b\"]}."
        );
    }
}
