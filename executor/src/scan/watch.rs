//! Passes a range's bytes on to its reader, and raises an error where the border at its end is not that of a record.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, Result};
use whimbrel_proto::{Error, ErrorCode};

use super::borders::{Border, Verdict};

/// How much is read at once where the bytes that were asked for leave the border open.
const STEP: u64 = 64 << 10;

/// The file behind the bytes that were asked for.
pub(super) struct Rest {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) location: Path,
    pub(super) from: u64,
    pub(super) size: u64,
}

/// The same bytes; the last one is given once the border is known to be sound.
pub(super) fn watch(
    body: BoxStream<'static, Result<Bytes>>,
    border: Border,
    rest: Rest,
) -> BoxStream<'static, Result<Bytes>> {
    let state = (body, border, rest);
    let watched = stream::try_unfold(state, |(mut body, mut border, rest)| async move {
        match body.try_next().await? {
            Some(bytes) => {
                judge(border.look(&bytes), &rest.location)?;
                Ok(Some((bytes, (body, border, rest))))
            }
            None => {
                settle(&mut border, &rest).await?;
                Ok(None)
            }
        }
    });
    watched.boxed()
}

/// Reads on until the border is known.
async fn settle(border: &mut Border, rest: &Rest) -> Result<()> {
    let mut from = rest.from;
    while border.look(&[]) == Verdict::Open && from < rest.size {
        let step = from..rest.size.min(from + STEP);
        from = step.end;
        let bytes = rest.store.get_range(&rest.location, step).await?;
        judge(border.look(&bytes), &rest.location)?;
    }
    Ok(())
}

fn judge(verdict: Verdict, location: &Path) -> Result<()> {
    match verdict {
        Verdict::Open | Verdict::Sound => Ok(()),
        Verdict::Broken(at) => {
            let text = format!(
                "csv file '{location}' has a quoted value with a line break at byte {at}, where it was cut into splits"
            );
            let hint = "add the table again with --multiline, so that its files are read in one piece each";
            Err(object_store::Error::Generic {
                store: "csv",
                source: Box::new(Error::new(ErrorCode::Data, text).with_hint(hint)),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::borders::Quoting;
    use super::*;

    async fn read(text: &str, start: u64, end: u64, asked: u64) -> Result<Vec<u8>> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let location = Path::from("a.csv");
        store.put(&location, text.to_owned().into()).await?;
        let size = text.len() as u64;
        let quoting = Quoting {
            delimiter: b',',
            quote: b'"',
            escape: None,
        };
        let border = Border::new(quoting, start, end, size);
        let range = start.saturating_sub(1)..asked.min(size);
        let body = store.get_range(&location, range.clone()).await?;
        let body = stream::iter(
            body.chunks(3)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect::<Vec<_>>(),
        );
        let rest = Rest {
            store,
            location,
            from: range.end,
            size,
        };
        let pieces: Vec<Bytes> = watch(body.boxed(), border, rest).try_collect().await?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn a_cut_through_a_quoted_line_break_is_an_error_and_others_pass() {
        let text = "a,b\n1,\"x\ny\"\n2,z\n";
        assert_eq!(read(text, 0, 4, 17).await.unwrap(), text.as_bytes());
        for asked in [7, 17] {
            let broken = read(text, 0, 6, asked).await.unwrap_err().to_string();
            assert!(
                broken.contains("'a.csv' has a quoted value with a line break at byte 8"),
                "{broken}"
            );
        }
        assert_eq!(
            read(text, 12, 17, 17).await.unwrap(),
            &text.as_bytes()[11..]
        );
    }
}
