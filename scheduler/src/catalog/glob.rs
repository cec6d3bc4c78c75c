//! Wildcards in paths: `*` any text, `?` one character, `[abc]`, `[a-z]` and `[!a]` one of a set, all within one part of the
//! path; `**` as a part of its own stands for any number of folders.

/// Any number of folders.
const DEEP: &str = "**";

/// Whether `text` holds a wildcard.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The part of a path before its first wildcard, and the parts from there on.
pub(super) fn split(path: &str) -> (&str, Vec<&str>) {
    let mut end = 0;
    for part in path.split('/') {
        if is_pattern(part) {
            let base = path[..end].trim_end_matches('/');
            return (base, path[end..].split('/').collect());
        }
        end += part.len() + 1;
    }
    (path, Vec::new())
}

/// Whether the whole of `path` fits the pattern, part by part.
pub(super) fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], path) => path.is_empty(),
        ([DEEP, rest @ ..], path) => (0..=path.len()).any(|skip| fits(rest, &path[skip..])),
        ([first, rest @ ..], [name, more @ ..]) => matches(first, name) && fits(rest, more),
        (_, []) => false,
    }
}

/// Whether a file below this folder may fit.
pub(super) fn may_hold(pattern: &[&str], folder: &[&str]) -> bool {
    match (pattern, folder) {
        ([DEEP, ..], _) => true,
        ([_, ..], []) => true,
        ([first, rest @ ..], [name, more @ ..]) => matches(first, name) && may_hold(rest, more),
        ([], _) => false,
    }
}

/// Whether the whole of `name` fits `pattern`. A `[` without its `]` stands for itself.
fn matches(pattern: &str, name: &str) -> bool {
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

    #[test]
    fn a_wildcard_stays_within_its_part_of_the_path() {
        let parts = |path: &'static str| path.split('/').collect::<Vec<_>>();
        for (pattern, path, whole, within) in [
            ("*.csv", "a.csv", true, false),
            ("*.csv", "x/a.csv", false, false),
            ("*/a.csv", "x/a.csv", true, false),
            ("*/a.csv", "x", false, true),
            ("y=*/m=1/*", "y=1/m=1", false, true),
            ("y=*/m=1/*", "y=1/m=2", false, false),
            ("**/*.csv", "a.csv", true, true),
            ("**/*.csv", "x/y/a.csv", true, true),
            ("x/**/b", "x/b", true, true),
            ("x/**/b", "y/b", false, false),
            ("**", "x/y", true, true),
        ] {
            assert_eq!(
                fits(&parts(pattern), &parts(path)),
                whole,
                "{pattern} {path}"
            );
            assert_eq!(
                may_hold(&parts(pattern), &parts(path)),
                within,
                "{pattern} in {path}"
            );
        }
        assert_eq!(split("/d/x*/y"), ("/d", vec!["x*", "y"]));
        assert_eq!(split("x*/y"), ("", vec!["x*", "y"]));
        assert_eq!(split("/*.csv"), ("", vec!["*.csv"]));
        assert_eq!(split("/d/x"), ("/d/x", vec![]));
    }
}
