//! Rights: which filter and which topic is forbidden, and what to paste.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use agent::doctor::{self, Outcome};
use mqtt::{BrokerOptions, PublishVerdict, SubscribeRefusal};

use crate::support::{Folder, examine, expect_first, expect_told, found, options, run, serve};

const REST: &str = "[telemetry]\ntopic = \"site/4/t\"\n\
                    [[subscription]]\ntopic = \"site/4/set\"\n\
                    [[subscription]]\ntopic = \"fleet/#\"\n\
                    [[subscription]]\ntopic = \"site/4/cmd/+\"\n";
const CLEAN: &str = "session = \"clean\"";
const ANONYMOUS: &str = "# above the first line `user`: for all clients without a user name";
/// What the agent takes commands by, beside what is above.
const COMMANDS: &str = "[commands]\ntopic = \"site/4/do\"\n\
                        [[command]]\nname = \"x\"\nprogram = \"/bin/true\"\n";

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
            Some(&*format!("{ANONYMOUS}\ntopic read fleet/#"))
        );
        assert_eq!(found(&report, "rights-publish").0, Outcome::Note);
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
        assert_eq!(found(&report, "rights-publish").0, Outcome::Note);
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
        // The leaf is allowed, and that is all that is said.
        assert_eq!(found(&report, "rights-publish").0, Outcome::Note);
        let text = &report.finding("rights-publish").unwrap().text;
        assert!(text.contains("was not tried"), "{text}");
        options.touch = true;
        let report = doctor::examine(options);
        expect_first(&report, "rights-publish", "T101");
        let finding = report.finding("rights-publish").unwrap();
        assert_eq!(
            finding.paste.as_deref(),
            Some(&*format!("{ANONYMOUS}\ntopic write site/4/t"))
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
        // It may as well be the right to read.
        assert_eq!(found(&report, "rights-publish").0, Outcome::Warn);
        assert_eq!(report.exit(false).code(), 0);
        let paste = report.finding("rights-publish").unwrap().paste.clone();
        assert_eq!(
            paste.unwrap(),
            format!("{ANONYMOUS}\ntopic readwrite site/4/t")
        );
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
fn a_leaf_that_is_refused_is_answered_with_the_right_for_the_topic() {
    run(|| {
        let broker = BrokerOptions::new().authorize_publish(|_, topic, _| match topic {
            "site/4/t/doctor" => PublishVerdict::HangUp,
            _ => PublishVerdict::Allow,
        });
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let report = examine(&folder.configure(&endpoint, CLEAN, REST));
        assert_eq!(
            found(&report, "rights-publish"),
            (Outcome::Warn, Some("T101"))
        );
        let paste = report.finding("rights-publish").unwrap().paste.clone();
        assert_eq!(paste.unwrap(), format!("{ANONYMOUS}\ntopic write site/4/t"));
    });
}

#[test]
fn what_commands_need_is_tried_as_well() {
    run(|| {
        let broker = BrokerOptions::new()
            .authorize_subscribe(|_, filter, _| filter != "site/4/do")
            .authorize_publish(|_, topic, _| match topic {
                "site/4/do/answer" => PublishVerdict::HangUp,
                _ => PublishVerdict::Allow,
            });
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let rest = format!("{REST}{COMMANDS}");
        let mut options = options(&folder.configure(&endpoint, CLEAN, &rest));
        options.touch = true;
        let report = doctor::examine(options);
        expect_first(&report, "rights-subscribe", "T100");
        let evidence = &report.finding("rights-subscribe").unwrap().evidence;
        assert_eq!(evidence.as_slice(), ["site/4/do: refused"]);
        assert_eq!(
            found(&report, "rights-publish"),
            (Outcome::Fail, Some("T101"))
        );
        let paste = report.finding("rights-publish").unwrap().paste.clone();
        assert!(paste.unwrap().ends_with("\ntopic write site/4/do/answer"));
    });
}

#[test]
fn what_was_refused_is_told_when_the_time_is_over_before_the_rest_is_tried() {
    run(|| {
        let broker = BrokerOptions::new()
            .authorize_subscribe(|_, _, _| false)
            .subscribe_refusal(SubscribeRefusal::HangUp);
        let (_broker, endpoint) = serve(broker);
        let folder = Folder::new();
        let filters = (0..12).map(|n| format!("[[subscription]]\ntopic = \"site/{n}\"\n"));
        let rest: String = filters.collect();
        let mut options = options(&folder.configure(&endpoint, CLEAN, &rest));
        options.only = vec!["rights-subscribe"];
        let report = doctor::examine(options);
        expect_first(&report, "rights-subscribe", "T100");
        let finding = report.finding("rights-subscribe").unwrap();
        assert!(finding.evidence.len() >= 5, "\n{}", report.text());
        let last = finding.evidence.last().unwrap();
        assert!(last.contains(" not tried: site/"), "{last}");
        assert!(
            finding
                .paste
                .as_deref()
                .unwrap()
                .contains("topic read site/0")
        );
        assert_eq!(report.exit(false).code(), 76);
    });
}

#[test]
fn a_broker_that_goes_away_meanwhile_has_refused_nothing() {
    run(|| {
        let asked = Rc::new(Cell::new(false));
        let told = Rc::clone(&asked);
        let broker = BrokerOptions::new()
            .authorize_subscribe(move |_, _, _| {
                told.set(true);
                false
            })
            .subscribe_refusal(SubscribeRefusal::HangUp);
        let (broker, endpoint) = serve(broker);
        let going = fiber::spawn(move || {
            while !asked.get() {
                fiber::sleep(Duration::from_millis(2)).unwrap();
            }
            broker.stop();
        });
        let folder = Folder::new();
        let mut options = options(&folder.configure(&endpoint, CLEAN, REST));
        options.only = vec!["rights-subscribe"];
        let report = doctor::examine(options);
        going.unwrap().join().unwrap();
        assert_eq!(
            found(&report, "rights-subscribe").0,
            Outcome::Warn,
            "\n{}",
            report.text()
        );
        expect_told(&report, "rights-subscribe", "3 not tried: site/4/set, ");
        assert_eq!(report.exit(false).code(), 0);
    });
}

#[test]
fn what_a_profile_only_assumes_is_a_warning() {
    run(|| {
        let (_broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        let cloud = "profile = \"aws\"\nkeep_alive = \"60s\"";
        let assumed = "[telemetry]\ntopic = \"a\"\nqos = 2\n";
        let mut options = options(&folder.configure(&endpoint, cloud, assumed));
        options.only = vec!["limits"];
        let report = doctor::examine(options);
        assert_eq!(
            found(&report, "limits"),
            (Outcome::Warn, Some("T104")),
            "\n{}",
            report.text()
        );
        assert!(report.finding("limits").unwrap().text.contains("assumes"));
        assert!(report.verdict().contains("assumes"), "{}", report.verdict());
        assert_eq!(report.exit(false).code(), 0);
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
