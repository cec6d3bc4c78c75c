//! One object on its way: parts of one size go out while the next one fills, and whatever ends the work early, what was staged is
//! thrown away, unless it may be in the journal already.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{Error, Result};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use whimbrel_stores::output::{DeferredOutput, Intent, MAX_PARTS, Receipt};

/// Parts that are sent at once; as many bytes lie in memory for each split, and one part more.
const AT_ONCE: usize = 3;

/// See the module. Nothing is begun before there is something to send.
#[derive(Debug)]
pub(super) struct Upload {
    output: Arc<dyn DeferredOutput>,
    path: String,
    /// Where it is written down what this attempt may leave behind.
    note: String,
    buffer: Vec<u8>,
    staged: Staged,
    kept: Option<Intent>,
    parts: Vec<String>,
    bytes: u64,
    digest: Sha256,
}

/// What must be thrown away.
#[derive(Debug, Default)]
struct Staged {
    /// An object that is being begun goes on to be begun whoever leaves meanwhile.
    beginning: Option<JoinHandle<Result<Intent>>>,
    intent: Option<Intent>,
    sending: JoinSet<Result<(usize, String)>>,
}

impl Upload {
    /// An object at `path`; both names are this attempt's alone.
    pub(super) fn new(output: Arc<dyn DeferredOutput>, note: String, path: String) -> Self {
        Self {
            output,
            path,
            note,
            buffer: Vec::new(),
            staged: Staged::default(),
            kept: None,
            parts: Vec::new(),
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// Adds bytes, and sends what makes whole parts.
    pub(super) async fn push(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        if self.buffer.is_empty() {
            mem::swap(&mut self.buffer, bytes);
        } else {
            self.buffer.append(bytes);
        }
        let part = usize::try_from(self.output.part_bytes()).unwrap_or(usize::MAX);
        while self.buffer.len() >= part {
            let rest = self.buffer.split_off(part);
            let full = mem::replace(&mut self.buffer, rest);
            self.send(full.into()).await?;
        }
        Ok(())
    }

    /// The whole object, unseen; `None` where it has no bytes.
    pub(super) async fn seal(&mut self) -> Result<Option<Receipt>> {
        if !self.buffer.is_empty() {
            let last = mem::take(&mut self.buffer);
            self.send(last.into()).await?;
        }
        while let Some(sent) = self.staged.sending.join_next().await {
            self.landed(sent)?;
        }
        let Some(intent) = self.staged.intent.clone() else {
            return Ok(None);
        };
        let parts = mem::take(&mut self.parts);
        let digest = mem::take(&mut self.digest).finalize();
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let receipt = self.output.seal(intent, parts, self.bytes).await?;
        Ok(Some(Receipt {
            sha256: Some(digest),
            ..receipt
        }))
    }

    /// From here on the object may be in the journal, and is left to the sweep.
    pub(super) fn keep(&mut self) {
        self.kept = self.staged.intent.take();
    }

    /// Throws it away after all: another attempt was first.
    pub(super) async fn lost(&mut self) {
        self.staged.intent = self.kept.take();
        self.discard().await;
    }

    /// Throws away what was staged. What cannot be, the sweep takes.
    pub(super) async fn discard(&mut self) {
        let staged = mem::take(&mut self.staged);
        discard(Arc::clone(&self.output), staged, mem::take(&mut self.note)).await;
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let index = self.parts.len();
        if index as u64 >= MAX_PARTS {
            return Err(Error::Generic {
                store: "output",
                source: format!(
                    "'{}' would be larger than {} GiB: cut the input into smaller files",
                    self.path,
                    (MAX_PARTS * self.output.part_bytes()) >> 30
                )
                .into(),
            });
        }
        let intent = self.begun().await?;
        while self.staged.sending.len() >= AT_ONCE {
            if let Some(sent) = self.staged.sending.join_next().await {
                self.landed(sent)?;
            }
        }
        self.bytes += part.len() as u64;
        self.digest.update(&part);
        self.parts.push(String::new());
        let output = Arc::clone(&self.output);
        self.staged
            .sending
            .spawn(async move { Ok((index, output.part(&intent, index, part).await?)) });
        Ok(())
    }

    /// Begins, and writes down at once what was begun, where it would not be found otherwise.
    async fn begun(&mut self) -> Result<Intent> {
        if let Some(intent) = &self.staged.intent {
            return Ok(intent.clone());
        }
        let (output, path) = (Arc::clone(&self.output), self.path.clone());
        let begin = tokio::spawn(async move { output.begin(&path).await });
        let begun = self.staged.beginning.insert(begin).await;
        self.staged.beginning = None;
        let intent = begun.map_err(|source| Error::JoinError { source })??;
        self.staged.intent = Some(intent.clone());
        if self.output.tells_all() {
            return Ok(intent);
        }
        let note = serde_json::to_vec(&[&intent]).map_err(|error| Error::Generic {
            store: "output",
            source: Box::new(error),
        })?;
        self.output.put(&self.note, note.into()).await?;
        Ok(intent)
    }

    fn landed(
        &mut self,
        sent: std::result::Result<Result<(usize, String)>, tokio::task::JoinError>,
    ) -> Result<()> {
        let (index, name) = sent.map_err(|source| Error::JoinError { source })??;
        if let Some(part) = self.parts.get_mut(index) {
            *part = name;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let staged = mem::take(&mut self.staged);
        let begun = staged.intent.is_some() || staged.beginning.is_some();
        // Without a runtime the process ends, and the sweep takes the rest.
        if let (true, Ok(runtime)) = (begun, Handle::try_current()) {
            let output = Arc::clone(&self.output);
            runtime.spawn(discard(output, staged, mem::take(&mut self.note)));
        }
    }
}

/// A part that lands after its upload was thrown away brings the upload back, so none may be under way.
async fn discard(output: Arc<dyn DeferredOutput>, mut staged: Staged, note: String) {
    staged.sending.shutdown().await;
    if let Some(beginning) = staged.beginning {
        staged.intent = beginning.await.ok().and_then(Result::ok);
    }
    let Some(intent) = staged.intent else {
        return;
    };
    let discarded = match output.discard(&intent).await {
        Ok(()) => output.delete(&note, None).await,
        Err(error) => Err(error),
    };
    if let Err(error) = discarded {
        tracing::warn!(path = intent.path, %error, "what was staged stays until the job's sweep");
    }
}
