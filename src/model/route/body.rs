//! Finds the values at many JSON pointers in one pass over a document.
//!
//! The pointers are a tree, and the pass goes only into objects and arrays that are on the way to
//! one of them; all others are skipped. It keeps a stack as deep as the deepest pointer, so that a
//! document's own depth costs nothing.

use crate::model::request::{JsonPointer, array_index};

/// JSON pointers as a tree. The first node is the document itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PointerTree {
    nodes: Vec<Node>,
}

/// The last token of a pointer, or of a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    parent: usize,
    /// The tokens that follow, in order, each with its node.
    members: Vec<(String, usize)>,
    /// The same, if they can be an array's index.
    elements: Vec<(usize, usize)>,
}

/// A node of the tree that stands for a whole pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(usize);

/// The places of values in a document: for each node the last value that was found. Of a repeated
/// member the last one counts.
pub struct Places<'t, 'a> {
    tree: &'t PointerTree,
    document: &'a str,
    starts: Vec<Option<usize>>,
}

impl PointerTree {
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    /// Adds a pointer, unless it is there.
    pub fn add(&mut self, pointer: &JsonPointer) -> NodeId {
        let mut at = 0;
        for token in pointer.tokens() {
            let members = &self.nodes[at].members;
            at = match members.binary_search_by(|(known, _)| known.as_str().cmp(token)) {
                Ok(found) => members[found].1,
                Err(place) => self.add_child(at, place, token),
            };
        }
        NodeId(at)
    }

    fn add_child(&mut self, parent: usize, place: usize, token: &str) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node {
            parent,
            ..Node::default()
        });
        let node = &mut self.nodes[parent];
        node.members.insert(place, (token.to_owned(), child));
        if let Some(index) = array_index(token) {
            let place = node.elements.partition_point(|(known, _)| *known < index);
            node.elements.insert(place, (index, child));
        }
        child
    }

    /// Looks at all pointers. The document is valid JSON; in any other text the values found mean
    /// nothing.
    pub fn find<'t, 'a>(&'t self, document: &'a str) -> Places<'t, 'a> {
        let mut pass = Pass {
            tree: self,
            text: document.as_bytes(),
            at: 0,
            starts: vec![None; self.nodes.len()],
            open: Vec::new(),
        };
        pass.run();
        Places {
            tree: self,
            document,
            starts: pass.starts,
        }
    }
}

impl<'a> Places<'_, 'a> {
    /// The JSON of the value at a pointer, from its first byte on. None if there is no value.
    pub fn value(&self, pointer: NodeId) -> Option<&'a str> {
        let start = self.starts[pointer.0]?;
        // A value in an earlier one of repeated members begins before the last one does.
        let (mut child, mut at) = (start, pointer.0);
        while at != 0 {
            at = self.tree.nodes[at].parent;
            let parent = self.starts[at].filter(|parent| *parent < child)?;
            child = parent;
        }
        let rest = self.document.get(start..)?;
        rest.get(..end_of_value(rest.as_bytes(), 0))
    }
}

/// A pass over a document.
struct Pass<'t, 'a> {
    tree: &'t PointerTree,
    text: &'a [u8],
    at: usize,
    starts: Vec<Option<usize>>,
    /// The objects and arrays around the place, from the outermost on.
    open: Vec<Container>,
}

/// An object or an array that the pass is in.
#[derive(Clone, Copy)]
enum Container {
    Object { node: usize },
    Array { node: usize, index: usize },
}

impl Pass<'_, '_> {
    fn run(&mut self) {
        self.skip_blanks();
        self.take_value(Some(0));
        while let Some(container) = self.open.last().copied() {
            self.skip_blanks();
            match self.text.get(self.at) {
                None => return,
                Some(b'}' | b']') => {
                    self.at += 1;
                    self.open.pop();
                }
                Some(b',') => self.at += 1,
                Some(_) => match container {
                    Container::Object { node } => self.take_member(node),
                    Container::Array { node, index } => self.take_element(node, index),
                },
            }
        }
    }

    /// Takes a member: its name, the colon and its value.
    fn take_member(&mut self, node: usize) {
        let begin = self.at;
        self.at = end_of_value(self.text, begin);
        let child = self.member(node, &self.text[begin..self.at]);
        self.skip_blanks();
        self.at += 1;
        self.skip_blanks();
        self.take_value(child);
    }

    /// The node of a member, given its name in quotes.
    fn member(&self, node: usize, quoted: &[u8]) -> Option<usize> {
        let members = &self.tree.nodes[node].members;
        let find = |name: &[u8]| {
            let found = members.binary_search_by(|(known, _)| known.as_bytes().cmp(name));
            found.ok().map(|found| members[found].1)
        };
        let name = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if name.contains(&b'\\') {
            let decoded: String = serde_json::from_slice(quoted).ok()?;
            find(decoded.as_bytes())
        } else {
            find(name)
        }
    }

    fn take_element(&mut self, node: usize, index: usize) {
        if let Some(Container::Array { index, .. }) = self.open.last_mut() {
            *index += 1;
        }
        let elements = &self.tree.nodes[node].elements;
        let child = elements.binary_search_by_key(&index, |(known, _)| *known);
        let child = child.ok().map(|found| elements[found].1);
        self.take_value(child);
    }

    /// Records a value, if it is on the way to a pointer. Goes into it if a pointer goes on, and
    /// skips it otherwise.
    fn take_value(&mut self, node: Option<usize>) {
        if let Some(node) = node {
            self.starts[node] = Some(self.at);
            let tokens = &self.tree.nodes[node];
            let container = match self.text.get(self.at) {
                Some(b'{') if !tokens.members.is_empty() => Some(Container::Object { node }),
                Some(b'[') if !tokens.elements.is_empty() => {
                    Some(Container::Array { node, index: 0 })
                }
                _ => None,
            };
            if let Some(container) = container {
                self.open.push(container);
                self.at += 1;
                return;
            }
        }
        // Never stands still, so that the pass ends whatever the text is.
        self.at = end_of_value(self.text, self.at).max(self.at + 1);
    }

    fn skip_blanks(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| is_blank(**byte));
        self.at += blanks.count();
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The place after the value that begins at a place.
fn end_of_value(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        None => at,
        Some(b'"') => end_of_string(text, at + 1),
        Some(b'{' | b'[') => end_of_container(text, at),
        Some(_) => {
            let rest = &text[at..];
            let is_end = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b'}' | b']' | b':');
            let length = rest.iter().position(is_end);
            at + length.unwrap_or(rest.len())
        }
    }
}

/// The place after the quote that ends a string, given the place after the one that begins it.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// The place after an object or an array. Counts the brackets, instead of recursion.
fn end_of_container(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(text, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}
