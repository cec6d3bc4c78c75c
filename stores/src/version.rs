//! Which version of a file a plan is about. The engine's plans carry a file's size and time, and drop its tag. A time of whole
//! seconds is all that stores agree on; its fraction has room for a digest of the tag, and so travels with each file to
//! the one task that reads it.

use std::time::Duration;

use object_store::ObjectMeta;

/// Stores that tell fractions tell milliseconds: a fraction with more is a digest.
const FINE: u64 = 1_000;

/// The facts of a file in a store, with the digest of its tag, if it has one, in the fraction of its time.
#[must_use]
pub fn stamped(meta: ObjectMeta) -> ObjectMeta {
    let Some(digest) = meta.e_tag.as_deref().map(digest) else {
        return meta;
    };
    let told = Duration::from_nanos(fraction(&meta));
    ObjectMeta {
        last_modified: meta.last_modified - told + Duration::from_nanos(digest),
        ..meta
    }
}

/// Whether `now`, as the store tells it, is the version that `planned` was stamped with. A store tells the time of a listing and of
/// an answer in different fractions.
pub fn is_version(planned: &ObjectMeta, now: &ObjectMeta) -> bool {
    let known = fraction(planned);
    let tag = now.e_tag.as_deref().filter(|_| !known.is_multiple_of(FINE));
    planned.size == now.size
        && planned.last_modified.timestamp() == now.last_modified.timestamp()
        && tag.is_none_or(|tag| digest(tag) == known)
}

fn fraction(meta: &ObjectMeta) -> u64 {
    u64::from(meta.last_modified.timestamp_subsec_nanos()) % 1_000_000_000
}

/// Below a second in nanoseconds, and never whole microseconds. Azure lists tags without the quotes that its answers have.
fn digest(tag: &str) -> u64 {
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    let hash = tag.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let (high, low) = (hash >> 32, hash & 0xffff_ffff);
    high % 1_000_000 * FINE + 1 + low % (FINE - 1)
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;

    async fn meta(store: &InMemory, text: &'static str) -> ObjectMeta {
        let path = Path::from("a");
        store.put(&path, text.into()).await.unwrap();
        store.head(&path).await.unwrap()
    }

    #[tokio::test]
    async fn a_tag_travels_in_the_time() {
        let store = InMemory::new();
        let mut first = meta(&store, "one").await;
        first.e_tag = Some("0x8DD".to_owned());
        let planned = ObjectMeta {
            e_tag: None,
            ..stamped(first.clone())
        };
        let answered = ObjectMeta {
            e_tag: Some("\"0x8DD\"".to_owned()),
            ..first.clone()
        };
        assert!(is_version(&planned, &answered));
        let replaced = ObjectMeta {
            e_tag: Some("\"0x8DE\"".to_owned()),
            ..first
        };
        assert!(!is_version(&planned, &replaced), "same size, same second");
        let larger = ObjectMeta {
            size: 4,
            ..answered
        };
        assert!(!is_version(&planned, &larger));
    }

    #[tokio::test]
    async fn without_a_tag_size_and_second_decide() {
        let store = InMemory::new();
        let mut listed = meta(&store, "one").await;
        listed.last_modified -= Duration::from_nanos(fraction(&listed) % 1_000_000);
        listed.e_tag = None;
        let planned = stamped(listed.clone());
        assert_eq!(planned.last_modified, listed.last_modified);
        let answered = ObjectMeta {
            e_tag: Some("\"x\"".to_owned()),
            ..listed
        };
        assert!(is_version(&planned, &answered));
        assert_eq!(
            (0..5_000)
                .filter(|n| digest(&n.to_string()).is_multiple_of(FINE))
                .count(),
            0
        );
    }
}
