//! Rights: which filter and which topic is forbidden, and what to paste.

use agent::doctor::{self, Outcome};
use mqtt::{BrokerOptions, PublishVerdict, SubscribeRefusal};

use crate::support::{Folder, examine, expect_first, expect_told, found, options, run, serve};

const REST: &str = "[telemetry]\ntopic = \"site/4/t\"\n\
                    [[subscription]]\ntopic = \"site/4/set\"\n\
                    [[subscription]]\ntopic = \"fleet/#\"\n\
                    [[subscription]]\ntopic = \"site/4/cmd/+\"\n";
const CLEAN: &str = "session = \"clean\"";

#[test]
fn a_filter_that_is_refused_is_named_with_the_line_to_paste() {
    run(|| {
        let broker = BrokerOptions::new().authorize_subscribe(|_, filter, _| filter != "fleet/#");
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let report = examine(&folder.configure(&endpoint, CLEAN, REST));
        expect_first(&report, "rights-subscribe", "T100");
        let finding = report.finding("rights-subscribe").unwrap();
        assert_eq!(finding.evidence, ["fleet/#: refused"]);
        assert_eq!(
            finding.paste.as_deref(),
            Some("user meter-17\ntopic read fleet/#")
        );
        assert_eq!(found(&report, "rights-publish").0, Outcome::Ok);
        assert_eq!(report.exit(false).code(), 76);
    });
}

#[test]
fn filters_that_cost_the_connection_are_each_found_on_a_fresh_one() {
    run(|| {
        let broker = BrokerOptions::new()
            .authorize_subscribe(|_, filter, _| filter == "site/4/set")
            .subscribe_refusal(SubscribeRefusal::HangUp);
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let cloud = format!("{CLEAN}\nprofile = \"aws\"\nkeep_alive = \"60s\"");
        let mut options = options(&folder.configure(&endpoint, &cloud, REST));
        // The profile tries ports and names of the public network as well.
        options.ports = Some(Vec::new());
        let report = doctor::examine(options);
        let finding = report.finding("rights-subscribe").unwrap();
        assert_eq!(finding.code, Some("T100"), "\n{}", report.text());
        assert_eq!(finding.evidence.len(), 2, "\n{}", report.text());
        let paste = finding.paste.as_deref().unwrap();
        assert!(paste.contains("topicfilter/fleet/#"), "{paste}");
        assert!(paste.contains("topic/site/4/cmd/*"), "{paste}");
        assert!(paste.contains("iot:Receive"), "{paste}");
        assert_eq!(found(&report, "rights-publish").0, Outcome::Ok);
    });
}

#[test]
fn a_topic_that_is_hung_up_on_is_a_right_that_is_missing() {
    run(|| {
        let broker = BrokerOptions::new().authorize_publish(|_, topic, _| match topic {
            "site/4/t" => PublishVerdict::HangUp,
            _ => PublishVerdict::Allow,
        });
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let mut options = options(&folder.configure(&endpoint, CLEAN, REST));
        let report = doctor::examine(options.clone());
        assert_eq!(
            found(&report, "rights-publish").0,
            Outcome::Ok,
            "the leaf is allowed"
        );
        options.touch = true;
        let report = doctor::examine(options);
        expect_first(&report, "rights-publish", "T101");
        let finding = report.finding("rights-publish").unwrap();
        assert_eq!(
            finding.paste.as_deref(),
            Some("user meter-17\ntopic write site/4/t")
        );
        assert_eq!(report.exit(false).code(), 76);
    });
}

#[test]
fn a_message_that_is_acknowledged_and_dropped_is_found_by_its_echo() {
    run(|| {
        let broker = BrokerOptions::new().authorize_publish(|_, _, _| PublishVerdict::Drop);
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let mut options = options(&folder.configure(&endpoint, CLEAN, REST));
        options.touch = true;
        let report = doctor::examine(options.clone());
        expect_first(&report, "rights-publish", "T102");
        expect_told(&report, "rights-publish", "acknowledged, and not seen back");
        // A leaf that is dropped does not prove that the topic above is.
        options.touch = false;
        let report = doctor::examine(options);
        assert_eq!(
            found(&report, "rights-publish"),
            (Outcome::Warn, Some("T102"))
        );
        expect_told(&report, "rights-publish", "--touch");
    });
}

#[test]
fn what_is_beyond_a_limit_of_the_profile_is_told_before_the_broker_does() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        let rest = "[[subscription]]\ntopic = \"1/2/3/4/5/6/7/8/9\"\n";
        let cloud = "profile = \"aws\"\nkeep_alive = \"60s\"";
        let mut options = options(&folder.configure(&endpoint, cloud, rest));
        options.only = vec!["limits"];
        let report = doctor::examine(options);
        expect_first(&report, "limits", "T104");
        expect_told(
            &report,
            "limits",
            "at most 8 levels of a topic, as the profile aws says",
        );
    });
}
