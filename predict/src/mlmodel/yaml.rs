//! YAML as far as `MLmodel` files use it, read within bounds: the text comes from wherever the model does. Aliases are never
//! followed, so that nothing can grow beyond what was read.

use saphyr_parser::{Event, Parser, ScalarStyle};
use whimbrel_proto::{Error, ErrorCode};

/// A signature of ten thousand columns takes about a tenth of this.
pub(super) const MAX_BYTES: usize = 8 << 20;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 50_000;

/// A value of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// `plain`: written without quotes, so that `null` means nothing.
    Text {
        value: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// Stands for a value elsewhere, which is not looked up.
    Alias,
}

impl Node {
    /// The value under `key`, where this is a map that has it and it is not null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let (_, value) = entries.iter().find(|(name, _)| name == key)?;
        (!value.is_null()).then_some(value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text { value, .. } => Some(value),
            Self::List(_) | Self::Map(_) | Self::Alias => None,
        }
    }

    pub(super) fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            Self::Text { .. } | Self::List(_) | Self::Alias => &[],
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Text { value, plain: true } if matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, Error> {
    if text.len() > MAX_BYTES {
        return Err(refused(&format!(
            "it has {} bytes, and more than {MAX_BYTES} are not read",
            text.len()
        )));
    }
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            refused(&format!("line {}: {}", error.marker().line(), error.info()))
        })?;
        builder
            .take(event)
            .map_err(|why| refused(&format!("line {}: {why}", span.start.line())))?;
    }
    builder.root.ok_or_else(|| refused("it is empty"))
}

pub(super) fn refused(why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("the MLmodel file cannot be read: {why}"),
    )
    .with_hint("log the model again with MLflow, or bind the model's own file")
}

/// A list or map that is not finished.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<String>,
    anchored: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_none() => Ok(()),
            Event::DocumentStart(_) => Err("it holds a second document".to_owned()),
            // An alias inside of what is itself aliased is how a few lines become gigabytes.
            Event::Alias(_) if self.open.iter().any(|open| open.anchored) => {
                Err("an alias (*) stands inside an anchor (&)".to_owned())
            }
            Event::Alias(_) => self.put(Node::Alias),
            Event::Scalar(value, style, _, _) => self.put(Node::Text {
                value: value.into_owned(),
                plain: style == ScalarStyle::Plain,
            }),
            Event::SequenceStart(anchor, _) => self.begin(Node::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.begin(Node::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.put(open.node),
                None => Err("something ends that did not begin".to_owned()),
            },
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(Open {
            node,
            key: None,
            anchored: anchor > 0,
        });
        Ok(())
    }

    fn put(&mut self, value: Node) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} values"));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        match (&mut open.node, open.key.take()) {
            (Node::List(items), _) => items.push(value),
            (Node::Map(entries), Some(key)) => entries.push((key, value)),
            (Node::Map(entries), None) => match value {
                Node::Text { value, .. } if entries.iter().any(|(key, _)| *key == value) => {
                    return Err(format!("the key '{value}' is there twice"));
                }
                Node::Text { value, .. } => open.key = Some(value),
                Node::List(_) | Node::Map(_) | Node::Alias => {
                    return Err("a key is not a text".to_owned());
                }
            },
            (Node::Text { .. } | Node::Alias, _) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lists_texts_and_nulls_are_read() {
        let node = parse("a:\n  b: 1\n  c: [x, 'null']\n  d: null\n  e:\n").unwrap();
        let a = node.get("a").unwrap();
        assert_eq!(a.get("b").unwrap().text(), Some("1"));
        let Node::List(items) = a.get("c").unwrap() else {
            panic!("{a:?}");
        };
        assert_eq!(items[1].text(), Some("null"));
        assert!(!items[1].is_null());
        assert_eq!((a.get("d"), a.get("e"), a.get("f")), (None, None, None));
        assert_eq!(a.entries().len(), 4);
    }

    #[test]
    fn an_alias_is_harmless_where_nobody_asks_for_its_value() {
        let node = parse("a: &id x\nb: *id\n").unwrap();
        assert_eq!(node.get("b"), Some(&Node::Alias));
        assert_eq!(node.get("b").unwrap().text(), None);
    }

    #[test]
    fn what_could_grow_or_mislead_is_refused_with_its_line() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        let many = format!("[{}]", "1,".repeat(MAX_NODES + 1));
        let long = " ".repeat(MAX_BYTES + 1);
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        let cases = [
            (deep.as_str(), "line 1: it is nested deeper than 32 levels"),
            (&many, "it has more than 50000 values"),
            (&long, "bytes, and more than 8388608 are not read"),
            (bomb, "line 2: an alias (*) stands inside an anchor (&)"),
            ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
            ("? [a]\n: 1\n", "line 1: a key is not a text"),
            ("a: 1\n---\nb: 1\n", "it holds a second document"),
            ("a: [1\n", "line"),
            ("a: *none\n", "line 1"),
            ("", "it is empty"),
        ];
        for (text, want) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with("the MLmodel file cannot be read: ") && error.contains(want),
                "{error}"
            );
        }
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let text = "a: &x {b: [1, 'two', \"thr\\u0065e\"], c: |\n  four\n }\nd: *x\n";
        for end in 0..text.len() {
            let _ = parse(&text[..end]);
            for damage in ['{', '[', '&', '*', '\'', '\t', '\n', ':', '\u{feff}'] {
                let _ = parse(&format!("{}{damage}{}", &text[..end], &text[end + 1..]));
            }
        }
    }
}
