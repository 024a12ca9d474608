//! The trie of filter levels behind the router.
//!
//! ```text
//!  filters: a/b  a/#  +/b          root ──a──► (#: [2nd]) ──b──► [1st]
//!                                    └───+──► ( ) ──b──► [3rd]
//! ```
//! A node is one level; its children are sorted by text, `+` is a child of its own, and a `#` below
//! it is a list in the node itself, because it ends the filter and also matches the node's level.
//! The walk keeps its own stack: the depth of a filter is bounded by 65 535 levels, that of a
//! fiber's stack by less.

use super::{RouteId, TopicFilter};
use crate::sorted::sorted;

/// Place of a node in `Trie::nodes`.
type NodeIndex = u32;

/// Place of the root, which has no level of its own.
const ROOT: NodeIndex = 0;

/// The levels of all filters.
pub(super) struct Trie {
    /// Empty before the first insertion, then `nodes[ROOT]` is the root.
    nodes: Vec<Node>,
    /// Nodes to be used again.
    free: Vec<NodeIndex>,
    /// What the walk has still to visit: a node and the part of the topic behind its level.
    stack: Vec<(NodeIndex, Rest)>,
}

/// Where in the topic the next level begins; `None` behind the last one.
type Rest = Option<usize>;

#[derive(Default)]
struct Node {
    /// Sorted by level.
    children: Vec<(Box<str>, NodeIndex)>,
    /// The child for the level `+`.
    plus: Option<NodeIndex>,
    /// Routes of filters that end with `#` directly below this node.
    multi_level: Vec<RouteId>,
    /// Routes of filters that end at this node.
    routes: Vec<RouteId>,
}

impl Node {
    fn child(&self, level: &str) -> Option<NodeIndex> {
        match level {
            "+" => self.plus,
            _ => self.literal(level),
        }
    }

    #[inline]
    fn literal(&self, level: &str) -> Option<NodeIndex> {
        let found = self
            .children
            .binary_search_by(|(text, _)| (**text).cmp(level));
        found.ok().map(|at| self.children[at].1)
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.plus.is_none()
            && self.multi_level.is_empty()
            && self.routes.is_empty()
    }
}

impl Trie {
    pub(super) const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            stack: Vec::new(),
        }
    }

    /// Adds a route, which must be younger than all others.
    pub(super) fn insert(&mut self, filter: &TopicFilter, id: RouteId) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let (levels, multi_level) = split_multi_level(filter);
        let mut at = ROOT;
        for level in levels {
            at = match self.nodes[at as usize].child(level) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        self.list_mut(at, multi_level).push(id);
    }

    /// Takes out a route and the nodes that nothing else needs.
    pub(super) fn remove(&mut self, filter: &TopicFilter, id: RouteId) {
        let (levels, multi_level) = split_multi_level(filter);
        let mut path = vec![(ROOT, "")];
        let mut at = ROOT;
        for level in levels {
            let child = self.nodes[at as usize].child(level);
            at = child.expect("the path of an inserted filter is in the trie");
            path.push((at, level));
        }
        self.list_mut(at, multi_level).retain(|other| *other != id);
        while let [.., (parent, _), (node, level)] = path[..] {
            if !self.nodes[node as usize].is_empty() {
                break;
            }
            self.remove_child(parent, level);
            self.nodes[node as usize] = Node::default();
            self.free.push(node);
            path.pop();
        }
    }

    /// Returns how many routes have exactly this filter.
    pub(super) fn count(&self, filter: &TopicFilter) -> usize {
        if self.nodes.is_empty() {
            return 0;
        }
        let (mut levels, multi_level) = split_multi_level(filter);
        let node = levels.try_fold(ROOT, |at, level| self.nodes[at as usize].child(level));
        node.map_or(0, |at| {
            let node = &self.nodes[at as usize];
            if multi_level {
                node.multi_level.len()
            } else {
                node.routes.len()
            }
        })
    }

    /// Writes the routes whose filters match `topic` into `found`, oldest first.
    ///
    /// Each node is visited at most once, because its depth decides which level it is compared
    /// with.
    pub(super) fn find(&mut self, topic: &str, found: &mut Vec<RouteId>) {
        found.clear();
        let Self { nodes, stack, .. } = self;
        if nodes.is_empty() {
            return;
        }
        stack.clear();
        stack.push((ROOT, Some(0)));
        while let Some((at, rest)) = stack.pop() {
            let node = &nodes[at as usize];
            // A wildcard at the start of a filter does not match a topic such as $SYS/load.
            let wildcards = at != ROOT || !topic.starts_with('$');
            if wildcards {
                found.extend_from_slice(&node.multi_level);
            }
            let Some(start) = rest else {
                found.extend_from_slice(&node.routes);
                continue;
            };
            let tail = &topic[start..];
            let (level, rest) = match tail.bytes().position(|byte| byte == b'/') {
                Some(len) => (&tail[..len], Some(start + len + 1)),
                None => (tail, None),
            };
            stack.extend(node.literal(level).map(|child| (child, rest)));
            if wildcards {
                stack.extend(node.plus.map(|child| (child, rest)));
            }
        }
        *found = sorted(std::mem::take(found));
    }

    fn add_child(&mut self, parent: NodeIndex, level: &str) -> NodeIndex {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            u32::try_from(self.nodes.len() - 1).expect("memory ends before 2^32 nodes")
        });
        let node = &mut self.nodes[parent as usize];
        if level == "+" {
            node.plus = Some(child);
        } else {
            let at = node.children.partition_point(|(text, _)| **text < *level);
            node.children.insert(at, (level.into(), child));
        }
        child
    }

    fn remove_child(&mut self, parent: NodeIndex, level: &str) {
        let node = &mut self.nodes[parent as usize];
        if level == "+" {
            node.plus = None;
        } else {
            node.children.retain(|(text, _)| **text != *level);
        }
    }

    fn list_mut(&mut self, at: NodeIndex, multi_level: bool) -> &mut Vec<RouteId> {
        let node = &mut self.nodes[at as usize];
        if multi_level {
            &mut node.multi_level
        } else {
            &mut node.routes
        }
    }

    /// Returns how many nodes are in use, the root included.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}

/// Returns the levels of a filter without a closing `#`, and whether there was one.
fn split_multi_level(filter: &TopicFilter) -> (impl Iterator<Item = &str>, bool) {
    let (levels, multi_level) = match filter.as_str() {
        "#" => (None, true),
        text => match text.strip_suffix("/#") {
            Some(levels) => (Some(levels), true),
            None => (Some(text), false),
        },
    };
    (
        levels.into_iter().flat_map(|levels| levels.split('/')),
        multi_level,
    )
}
