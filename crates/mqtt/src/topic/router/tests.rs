use super::cache::{CACHE_ENTRIES, CACHED_ROUTES_MAX, CACHED_TOPIC_BYTES_MAX};
use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

/// A router whose values are the texts of their filters.
fn router(filters: &[&'static str]) -> Router<&'static str> {
    let mut router = Router::new();
    for text in filters {
        router.insert(filter(text), *text);
    }
    router
}

fn matches(router: &mut Router<&'static str>, topic: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    router.route(topic, &mut |_, value| found.push(*value));
    let ids = router.find(topic).to_vec();
    assert_eq!(
        found,
        ids.iter()
            .map(|id| *router.get(*id).unwrap())
            .collect::<Vec<_>>()
    );
    found
}

#[test]
fn all_overlapping_filters_are_called_in_order_of_insertion() {
    let all = ["a/#", "#", "a/b", "+/b", "a/b/#", "a/+", "+/+", "a/b"];
    let mut router = router(&all);
    assert_eq!(matches(&mut router, "a/b"), all);
    assert_eq!(matches(&mut router, "a"), ["a/#", "#"]);
    assert_eq!(matches(&mut router, "x/b"), ["#", "+/b", "+/+"]);
    assert_eq!(matches(&mut router, "a/b/c"), ["a/#", "#", "a/b/#"]);
    assert_eq!(matches(&mut router, "/"), ["#", "+/+"]);
}

#[test]
#[cfg(feature = "client")]
fn a_topic_is_known_from_its_first_message_to_the_next_change() {
    let mut router = router(&["a/+"]);
    assert_eq!(router.known(b"a/b"), None);
    assert_eq!(matches(&mut router, "a/b").len(), 1);
    assert_eq!(matches(&mut router, "c").len(), 0);
    for topic in ["a/b", "c", "a/b"] {
        let (text, routes) = router.known(topic.as_bytes()).unwrap();
        assert_eq!((text.as_str(), routes.is_empty()), (topic, topic == "c"));
    }
    assert_eq!(router.known(b"a/c"), None);
    assert_eq!(router.known(b""), None);
    assert_eq!(router.known(&[0xff; 70_000]), None);
    let before = router.generation();
    let id = router.insert(filter("c"), "c");
    assert_eq!(router.known(b"a/b"), None);
    assert_ne!(router.generation(), before);
    assert_eq!(matches(&mut router, "c"), ["c"]);
    // Who holds the text keeps it.
    let text = Rc::clone(router.known(b"c").unwrap().0);
    router.remove(id);
    assert_eq!(router.known(b"c"), None);
    matches(&mut router, "c");
    assert_eq!(*text, "c");
}

#[test]
fn topics_with_a_dollar_are_not_matched_by_leading_wildcards() {
    let mut router = router(&["#", "+/x", "$SYS/#", "$SYS/+", "a/#"]);
    assert_eq!(matches(&mut router, "$SYS/x"), ["$SYS/#", "$SYS/+"]);
    assert_eq!(matches(&mut router, "$SYS"), ["$SYS/#"]);
    assert_eq!(matches(&mut router, "a/$x"), ["#", "a/#"]);
    assert_eq!(matches(&mut router, "$other"), [""; 0]);
}

#[test]
fn an_empty_router_finds_nothing() {
    let mut router = router(&[]);
    assert_eq!(matches(&mut router, "a/b"), [""; 0]);
    assert!(router.is_empty());
    assert_eq!(router.count(&filter("a")), 0);
}

#[test]
fn removing_a_route_removes_this_one_alone() {
    let mut router = Router::new();
    let first = router.insert(filter("a/b"), "first");
    let second = router.insert(filter("a/b"), "second");
    let third = router.insert(filter("a/+"), "third");
    assert_eq!((router.len(), router.count(&filter("a/b"))), (3, 2));
    assert_eq!(matches(&mut router, "a/b"), ["first", "second", "third"]);

    assert_eq!(router.remove(first), Some("first"));
    assert_eq!(matches(&mut router, "a/b"), ["second", "third"]);
    assert_eq!(router.remove(first), None);
    assert_eq!((router.get(first), router.filter(first)), (None, None));
    assert_eq!((router.len(), router.count(&filter("a/b"))), (2, 1));

    // The place of the first route is used again, its name is not.
    let fourth = router.insert(filter("a/b"), "fourth");
    assert_eq!(fourth.slot, first.slot);
    assert_eq!(router.remove(first), None);
    assert_eq!(router.get_mut(first), None);
    assert_eq!(matches(&mut router, "a/b"), ["second", "third", "fourth"]);
    assert_eq!(router.filter(fourth), Some(&filter("a/b")));
    assert_eq!(router.get_mut(fourth), Some(&mut "fourth"));

    assert_eq!(router.remove(second), Some("second"));
    assert_eq!(router.remove(third), Some("third"));
    assert_eq!(router.remove(fourth), Some("fourth"));
    assert!(router.is_empty());
    assert_eq!(matches(&mut router, "a/b"), [""; 0]);
}

#[test]
fn removal_leaves_no_node_behind() {
    let mut router = Router::new();
    let kept = router.insert(filter("a/b"), ());
    let nodes = router.made.trie.nodes();
    for _ in 0..100 {
        let routes = ["a/b/c/d", "a/+/x", "#", "a/#", "+/+/+/#", "a"]
            .map(|text| router.insert(filter(text), ()));
        for id in routes {
            assert!(router.remove(id).is_some());
        }
        assert_eq!(router.made.trie.nodes(), nodes);
    }
    assert!(router.remove(kept).is_some());
    assert_eq!(router.made.trie.nodes(), 1);
}

#[test]
fn a_filter_of_the_greatest_depth_is_found_and_removed() {
    let deep = "/".repeat(65_535);
    let mut router = Router::new();
    let id = router.insert(filter(&deep), "deep");
    assert_eq!(matches(&mut router, &deep), ["deep"]);
    assert_eq!(router.remove(id), Some("deep"));
    assert_eq!(router.made.trie.nodes(), 1);
}

#[test]
fn topics_and_matches_too_large_for_the_cache_are_found_all_the_same() {
    let long = "x".repeat(CACHED_TOPIC_BYTES_MAX + 1);
    let mut router = Router::new();
    for _ in 0..=CACHED_ROUTES_MAX {
        router.insert(filter("many"), "many");
    }
    router.insert(filter("#"), "all");
    for _ in 0..3 {
        assert_eq!(matches(&mut router, &long), ["all"]);
        assert_eq!(matches(&mut router, "one"), ["all"]);
        assert_eq!(matches(&mut router, "many").len(), CACHED_ROUTES_MAX + 2);
    }
    // What is cached is the match of "one".
    assert_eq!(router.made.cache.cached_routes(), 1);
}

#[test]
fn a_change_of_routes_is_seen_by_topics_already_cached() {
    let mut router = Router::new();
    let topics: Vec<String> = (0..CACHE_ENTRIES * 2).map(|n| format!("t/{n}")).collect();
    let first = router.insert(filter("t/+"), "first");
    for topic in &topics {
        assert_eq!(matches(&mut router, topic), ["first"]);
    }
    let second = router.insert(filter("#"), "second");
    for topic in &topics {
        assert_eq!(matches(&mut router, topic), ["first", "second"]);
    }
    router.remove(first);
    for topic in &topics {
        assert_eq!(matches(&mut router, topic), ["second"]);
    }
    router.remove(second);
    for topic in &topics {
        assert_eq!(matches(&mut router, topic), [""; 0]);
    }
}

#[test]
fn a_topic_seen_before_is_found_without_the_trie() {
    let mut router = router(&["a/+", "#"]);
    for topic in ["a/b", "c"] {
        matches(&mut router, topic);
    }
    router.made.trie = Trie::new();
    for _ in 0..2 {
        assert_eq!(matches(&mut router, "a/b"), ["a/+", "#"]);
        assert_eq!(matches(&mut router, "c"), ["#"]);
    }
    assert_eq!(matches(&mut router, "new"), [""; 0]);
}

#[test]
fn routes_are_listed_for_people() {
    let router = router(&["a/+"]);
    assert_eq!(format!("{router:?}"), r#"{"a/+": "a/+"}"#);
}

/// A small generator of numbers (splitmix64), so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound as u64) as usize
    }

    /// Levels out of a small alphabet, so that topics and filters meet often.
    fn levels(&mut self, alphabet: &[&str]) -> String {
        let levels = 1 + self.below(4);
        let levels: Vec<&str> = (0..levels)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect();
        levels.join("/")
    }

    fn topic(&mut self) -> String {
        loop {
            let topic = self.levels(&["a", "b", "", "$x", "ab"]);
            if !topic.is_empty() {
                return topic;
            }
        }
    }

    fn filter(&mut self) -> TopicFilter {
        loop {
            let mut text = self.levels(&["a", "b", "", "$x", "+", "+", "ab"]);
            if self.below(3) == 0 {
                text.push_str("/#");
            } else if self.below(10) == 0 {
                text = "#".into();
            }
            if let Ok(filter) = TopicFilter::new(text) {
                return filter;
            }
        }
    }
}

#[test]
fn the_router_agrees_with_the_definition_of_matching() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut router = Router::new();
        let mut model: Vec<(RouteId, TopicFilter, usize)> = Vec::new();
        let mut hits = 0;
        for step in 0..500 {
            match random.below(8) {
                0 | 1 if model.len() < 60 => {
                    let filter = random.filter();
                    let id = router.insert(filter.clone(), step);
                    model.push((id, filter, step));
                }
                0..=2 if !model.is_empty() => {
                    let (id, _, value) = model.remove(random.below(model.len()));
                    assert_eq!(router.remove(id), Some(value), "seed {seed}");
                }
                _ => {
                    let topic = random.topic();
                    let mut found = Vec::new();
                    router.route(&topic, &mut |id, value| found.push((id, *value)));
                    let wanted = model.iter().filter(|(_, filter, _)| filter.matches(&topic));
                    let wanted: Vec<_> = wanted.map(|(id, _, value)| (*id, *value)).collect();
                    assert_eq!(found, wanted, "seed {seed}, topic {topic:?}");
                    hits += found.len();
                }
            }
            assert_eq!(router.len(), model.len());
        }
        assert!(hits > 100, "seed {seed} shows little: {hits} matches");
        for (id, filter, _) in model {
            assert!(router.count(&filter) > 0);
            router.remove(id);
        }
        assert_eq!(router.made.trie.nodes(), 1, "seed {seed}");
    }
}
