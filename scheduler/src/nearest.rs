//! Offers the right name for a wrong one.

/// How alike two names must be for one to be offered for the other: 0 not at all, 1 the same.
const ALIKE: f64 = 0.6;

/// A hint for a name that is not among `known`: the nearest one, else what there is, else `none`.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let score = |other: &str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let best = known
        .iter()
        .map(|other| (score(other), *other))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        None => none.to_owned(),
        Some((alike, nearest)) if alike >= ALIKE => format!("did you mean '{nearest}'?"),
        Some(_) => format!("there is {}", some_of(&known)),
    }
}

fn some_of(known: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = known
        .iter()
        .take(SHOWN)
        .map(|name| format!("'{name}'"))
        .collect();
    match known.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_the_nearest_name_or_what_there_is() {
        assert_eq!(
            hint("trisp", ["zones", "trips"], "none"),
            "did you mean 'trips'?"
        );
        assert_eq!(hint("TRIPS", ["trips"], "none"), "did you mean 'trips'?");
        assert_eq!(
            hint("zzz", ["trips", "fares"], "none"),
            "there is 'trips', 'fares'"
        );
        assert_eq!(
            hint("x", ["aa", "bb", "cc", "dd", "ee", "ff"], "none"),
            "there is 'aa', 'bb', 'cc', 'dd', 'ee' and 1 more"
        );
        assert_eq!(
            hint("x", [], "the catalog is empty"),
            "the catalog is empty"
        );
    }
}
