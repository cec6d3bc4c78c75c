//! Wildcards in a file's name: `*` any text, `?` one character, `[abc]`, `[a-z]` and `[!a]` one of a set.

/// Whether `text` holds a wildcard.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether the whole of `name` fits `pattern`. A `[` without its `]` stands for itself.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0, 0);
    // Where to go on from when what follows the last `*` did not fit: one character more for the star.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, from));
            at += 1;
        } else if let Some(width) = fits_one(&pattern[at..], name[from]) {
            at += width;
            from += 1;
        } else if let Some((after, begin)) = star {
            at = after;
            from = begin + 1;
            star = Some((after, from));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// How many pattern characters fit this one character of a name.
fn fits_one(pattern: &[char], character: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match pattern.iter().skip(2).position(|end| *end == ']') {
            Some(end) => {
                let (set, width) = (&pattern[1..end + 2], end + 3);
                in_set(set, character).then_some(width)
            }
            None => (character == '[').then_some(1),
        },
        literal => (*literal == character).then_some(1),
    }
}

fn in_set(set: &[char], character: char) -> bool {
    let (set, inverted) = match set {
        ['!', rest @ ..] => (rest, true),
        set => (set, false),
    };
    let mut rest = set;
    let mut found = false;
    while let Some((first, more)) = rest.split_first() {
        if let ['-', last, after @ ..] = more {
            found |= (*first..=*last).contains(&character);
            rest = after;
        } else {
            found |= *first == character;
            rest = more;
        }
    }
    found != inverted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_whole_names() {
        let fits = [
            ("*", "a.csv"),
            ("*.csv", ".csv"),
            ("a*b*c", "a-b-b-c"),
            ("part-??.csv", "part-07.csv"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]x", "]x"),
            ("[x", "[x"),
            ("é?", "éü"),
        ];
        for (pattern, name) in fits {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.csv", "a.csv2"),
            ("a?", "a"),
            ("[a-c]x", "dx"),
            ("a*b", "ab-"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
