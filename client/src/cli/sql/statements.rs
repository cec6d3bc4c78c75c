//! Cuts a text into statements at each `;` that is no part of a string, a name in quotes or a comment.

/// One statement of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// Without its `;` and the space around it.
    pub(crate) text: &'a str,
    /// The line it begins on, from 1.
    pub(crate) line: usize,
}

/// A text, cut.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split<'a> {
    /// Every statement that is one; comments alone are none. The last need not end in `;`.
    pub(crate) statements: Vec<Statement<'a>>,
    /// Whether every statement ended in `;`, so that nothing more belongs to the last.
    pub(crate) complete: bool,
}

/// Cuts a text.
pub(crate) fn split(text: &str) -> Split<'_> {
    let mut statements = Vec::new();
    let mut first_word = None;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let end = at + skip(&text[at..]).unwrap_or_else(|| next.len_utf8());
        if next == ';' {
            statements.extend(first_word.take().map(|from| statement(text, from, at)));
        } else if first_word.is_none() && !next.is_whitespace() && !is_comment(&text[at..]) {
            first_word = Some(at);
        }
        at = end;
    }
    let complete = first_word.is_none();
    statements.extend(first_word.map(|from| statement(text, from, text.len())));
    Split {
        statements,
        complete,
    }
}

fn statement(text: &str, from: usize, to: usize) -> Statement<'_> {
    Statement {
        text: text[from..to].trim_end(),
        line: text[..from].matches('\n').count() + 1,
    }
}

fn is_comment(rest: &str) -> bool {
    rest.starts_with("--") || rest.starts_with("/*")
}

/// The length of what `rest` begins with, where that is a string, a name in quotes or a comment. One that does not end
/// reaches to the end of the text: the pool says what is wrong with it.
fn skip(rest: &str) -> Option<usize> {
    if rest.starts_with("--") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    match rest.chars().next()? {
        // A doubled quote inside is an end and a beginning, which comes to the same.
        quote @ ('\'' | '"' | '`') => Some(rest[1..].find(quote).map_or(rest.len(), |end| end + 2)),
        '$' => dollar_quoted(rest),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// `$$text$$` or `$tag$text$tag$`; `$1` is a parameter and no quote.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag = 1 + rest[1..].find('$')?;
    let name = &rest[1..tag];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    let fence = is_tag.then(|| &rest[..=tag])?;
    Some(
        rest[fence.len()..]
            .find(fence)
            .map_or(rest.len(), |end| end + 2 * fence.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text)
            .statements
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    #[test]
    fn only_a_semicolon_of_the_statement_itself_cuts() {
        let cases: &[(&str, &[&str])] = &[
            ("select 1", &["select 1"]),
            ("select 1; select 2 ;", &["select 1", "select 2"]),
            ("select ';' , 'it''s;' ; x", &["select ';' , 'it''s;'", "x"]),
            ("select \"a;b\", `c;d`; x", &["select \"a;b\", `c;d`", "x"]),
            ("a -- no; end\n b; c", &["a -- no; end\n b", "c"]),
            (
                "a /* x; /* y; */ z; */ b; c",
                &["a /* x; /* y; */ z; */ b", "c"],
            ),
            ("a $$x;y$$ b; c", &["a $$x;y$$ b", "c"]),
            ("a $t$x;$$;$t$ b; c", &["a $t$x;$$;$t$ b", "c"]),
            ("select $1; select $2", &["select $1", "select $2"]),
            ("-- only\n; /* words */ ;; ", &[]),
            ("select 'open; x", &["select 'open; x"]),
            ("sélect 'é;' ; ü", &["sélect 'é;'", "ü"]),
            ("a / b * c; d", &["a / b * c", "d"]),
        ];
        for (text, expected) in cases {
            assert_eq!(&texts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_statement_knows_its_line_and_whether_it_has_ended() {
        let split_text = split("-- first\nselect 1;\n\nselect\n2");
        assert_eq!(
            split_text
                .statements
                .iter()
                .map(|statement| statement.line)
                .collect::<Vec<_>>(),
            [2, 4]
        );
        assert!(!split_text.complete);
        for (text, complete) in [
            ("", true),
            ("a;", true),
            ("a; \n", true),
            ("a; -- b", true),
            ("a 'x;", false),
            ("a", false),
        ] {
            assert_eq!(split(text).complete, complete, "{text}");
        }
    }
}
