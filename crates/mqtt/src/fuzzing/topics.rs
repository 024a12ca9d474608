//! Topic names, topic filters and the router, against the plainest definition of each.

use crate::topic::{
    RouteId, Router, TOPIC_BYTES_MAX, TopicFilter, TopicName, check_topic_filter, check_topic_name,
};

/// More filters at once make the laws slow.
const FILTERS: usize = 24;

/// Checks names, filters, what filters match and cover, and what the router finds.
///
/// The input is lines. The first byte of each says what to do with the rest: `+` inserts a filter,
/// `-` removes one, anything else routes the whole line as a topic.
pub fn topics(data: &[u8]) {
    let mut router = Router::new();
    let mut model: Vec<(RouteId, TopicFilter, usize)> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for (nth, line) in data.split(|byte| *byte == b'\n').enumerate() {
        match (line.split_first(), str::from_utf8(line)) {
            (Some((b'+', _)), Ok(line)) => {
                if let Some(filter) = filter(&line[1..])
                    && model.len() < FILTERS
                {
                    let id = router.insert(filter.clone(), nth);
                    model.push((id, filter, nth));
                }
            }
            (Some((b'-', rest)), _) if !model.is_empty() => {
                let at = rest.first().map_or(0, |byte| usize::from(*byte));
                let (id, filter, value) = model.remove(at % model.len());
                assert_eq!(router.filter(id), Some(&filter));
                assert_eq!(router.remove(id), Some(value));
                assert_eq!(router.remove(id), None);
                assert_eq!(router.get(id), None);
            }
            (_, Ok(topic)) => {
                if is_name(topic) && seen.len() < FILTERS {
                    seen.push(topic.to_owned());
                }
            }
            (_, Err(_)) => {}
        }
        assert_eq!(router.len(), model.len());
        for topic in seen.iter().rev().take(4) {
            expect_routes(&mut router, &model, topic);
        }
    }
    for topic in &seen {
        expect_routes(&mut router, &model, topic);
    }
    expect_laws(&model, &seen);
    for (_, filter, _) in &model {
        let same = model.iter().filter(|(_, other, _)| other == filter).count();
        assert_eq!(router.count(filter), same);
    }
    for (id, _, value) in model {
        assert_eq!(router.remove(id), Some(value));
    }
    assert!(router.is_empty());
}

/// Returns the filter with this text if it is one, for which the plain rules are asked as well.
fn filter(text: &str) -> Option<TopicFilter> {
    let levels: Vec<&str> = text.split('/').collect();
    let is_level = |(nth, level): (usize, &&str)| match *level {
        "#" => nth + 1 == levels.len(),
        "+" => true,
        level => !level.contains(['+', '#', '\0']),
    };
    let is_filter = is_sized(text) && levels.iter().enumerate().all(is_level);
    assert_eq!(check_topic_filter(text).is_ok(), is_filter, "{text:?}");
    let made = TopicFilter::new(text);
    assert_eq!(made.is_ok(), is_filter);
    made.ok()
}

fn is_name(text: &str) -> bool {
    let is_name = is_sized(text) && !text.contains(['+', '#', '\0']);
    assert_eq!(check_topic_name(text).is_ok(), is_name, "{text:?}");
    assert_eq!(TopicName::new(text).is_ok(), is_name);
    is_name
}

fn is_sized(text: &str) -> bool {
    (1..=TOPIC_BYTES_MAX).contains(&text.len())
}

/// Matching, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    fn rest(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => rest(filter, topic),
            ([pattern, filter @ ..], [level, topic @ ..]) => {
                pattern == level && rest(filter, topic)
            }
            ([], [_, ..]) | ([_, ..], []) => false,
        }
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    let is_hidden = topic[0].starts_with('$') && matches!(filter[0], "+" | "#");
    !is_hidden && rest(&filter, &topic)
}

fn expect_routes(router: &mut Router<usize>, model: &[(RouteId, TopicFilter, usize)], topic: &str) {
    let expected = model.iter().filter(|(_, filter, _)| matches(filter, topic));
    let expected: Vec<_> = expected.map(|(id, _, value)| (*id, *value)).collect();
    let mut found = Vec::new();
    router.route(topic, &mut |id, value| found.push((id, *value)));
    assert_eq!(found, expected, "{topic:?}");
    let ids = expected.iter().map(|(id, _)| id);
    assert!(router.find(topic).iter().eq(ids), "{topic:?}");
}

fn expect_laws(model: &[(RouteId, TopicFilter, usize)], topics: &[String]) {
    let filters: Vec<&TopicFilter> = model.iter().map(|(_, filter, _)| filter).collect();
    for filter in &filters {
        assert!(filter.covers(filter), "{filter} does not cover itself");
        for topic in topics {
            let is_match = matches(filter, topic);
            assert_eq!(filter.matches(topic), is_match, "{filter} and {topic:?}");
            // A topic is a filter without wildcards.
            let of_one = TopicFilter::new(topic.as_str()).expect("a topic is a filter");
            assert_eq!(filter.covers(&of_one), is_match, "{filter} and {topic:?}");
            assert!(filter.has_wildcard() || is_match == (filter.as_str() == topic));
        }
        for covered in filters.iter().filter(|other| filter.covers(other)) {
            for topic in topics.iter().filter(|topic| covered.matches(topic)) {
                assert!(filter.matches(topic), "{filter}, {covered} and {topic:?}");
            }
            for third in filters.iter().filter(|other| covered.covers(other)) {
                assert!(filter.covers(third), "{filter}, {covered} and {third}");
            }
        }
    }
}
