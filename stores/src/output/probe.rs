//! Whether a store keeps the one promise that a score job stands on: of several that create the same object at once, exactly one
//! does. A store that ignores the condition lets all of them, one that looks before it writes lets some.

use bytes::Bytes;
use futures::future::join_all;
use object_store::{Error as StoreError, Result as StoreResult};
use whimbrel_proto::{Error, ErrorCode};

use super::{DeferredOutput, explain};

/// Few are not enough: a store that looks and then writes gets it right most of the time.
const WRITERS: usize = 16;
/// A race that nobody won may be run again; a store may refuse all that came at once.
const RACES: usize = 3;

/// Races writers in the output at `uri`, below the folder `records`, and refuses a store where not exactly one wins.
pub async fn probe(output: &dyn DeferredOutput, uri: &str, records: &str) -> Result<(), Error> {
    for _ in 0..RACES {
        let path = format!("{records}/probe-{}", crate::chance::name());
        let raced = race(output, &path).await;
        let cleaned = output.delete(&path, None).await;
        match raced.map_err(|error| explain(uri, &error))? {
            0 => {}
            1 => return cleaned.map_err(|error| explain(uri, &error)),
            winners => {
                let text = format!(
                    "'{uri}' cannot hold the output of a score job: {winners} of {WRITERS} writers created the same object at once"
                );
                return Err(refused(text));
            }
        }
    }
    let text = format!(
        "'{uri}' cannot hold the output of a score job: none of {WRITERS} writers could create an object only where there is none"
    );
    Err(refused(text))
}

fn refused(text: String) -> Error {
    Error::new(ErrorCode::Invalid, text).with_hint(
        "use a store whose conditional writes (If-None-Match: *) are atomic, as those of Amazon S3, Azure storage and MinIO are",
    )
}

/// How many believe that they created the object.
async fn race(output: &dyn DeferredOutput, path: &str) -> StoreResult<usize> {
    let writers = (0..WRITERS).map(|own| async move {
        let bytes = Bytes::from(format!("{path} {own}"));
        let created = output.create(path, bytes.clone()).await;
        (bytes, created)
    });
    let (mut winners, mut refused) = (0, Vec::new());
    for (bytes, created) in join_all(writers).await {
        match created {
            Ok(()) => winners += 1,
            Err(error) => refused.push((bytes, error)),
        }
    }
    // Whoever created it and had no answer tries again, and is told that it is there already.
    let found = output.get(path).await?;
    if refused
        .iter()
        .any(|(bytes, _)| found.as_ref() == Some(bytes))
    {
        winners += 1;
    }
    refused.retain(|(_, error)| {
        !matches!(
            error,
            StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }
        )
    });
    match refused.pop() {
        // Nothing is there because nothing can be written at all.
        Some((_, error)) if winners == 0 => Err(error),
        Some(_) | None => Ok(winners),
    }
}
