//! The pool's bindings: which alias means which exact model. Records are durable in the state store (`store::keys`), model
//! content in the [`ContentStore`]; an in-memory mirror of the records answers the planner. A re-bind makes the next
//! generation; queries that run keep the model they were planned with.

mod content;
mod inspect;
mod kernels;
mod listing;
mod request;
mod runtime;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio_util::sync::CancellationToken;
use whimbrel_graph::Format;
use whimbrel_predict::binding::{Binding, BindingSource, RuntimeKind};
use whimbrel_predict::facts::ModelFacts;
use whimbrel_predict::options::BindOptions;
use whimbrel_predict::types::parse_returns;
use whimbrel_predict::value::Value;
use whimbrel_proto::ids::{Alias, Generation};
use whimbrel_proto::{Error, ErrorCode, v1};

use self::content::blocking;
use self::inspect::inspect;
use self::runtime::Choice;
use self::source::Fetched;
use crate::clock::Clock;
use crate::nearest;
use crate::store::{Expect, Mirror, Record, Revision, StateStore, Transaction, keys};

pub use content::{ContentStore, digest_of};
pub(crate) use kernels::Kernels;
pub(crate) use listing::{as_table, returns};
pub use request::BindModel;
pub use source::Sources;
pub(crate) use source::{Cells, many_rows};

/// The layout of a binding's record, as its first byte; a protobuf `v1::Binding` follows.
const LAYOUT: u8 = 1;

/// See the module.
#[derive(Debug)]
pub struct Registry {
    mirror: Mirror<Binding>,
    content: ContentStore,
    clock: Arc<dyn Clock>,
    sources: Arc<Sources>,
}

impl Registry {
    /// The bindings that `store` keeps, of models that `sources` can read.
    pub async fn open(
        store: Arc<dyn StateStore>,
        content: ContentStore,
        clock: Arc<dyn Clock>,
        sources: Arc<Sources>,
    ) -> Result<Arc<Self>, Error> {
        let mirror = Mirror::open(store, keys::MODELS, decode).await?;
        Ok(Arc::new(Self {
            mirror,
            content,
            clock,
            sources,
        }))
    }

    /// Takes up what others write to the store, until `stop`; to be run as one task for the registry's life.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        self.mirror.follow(Arc::clone(&self.clock), stop).await;
    }

    /// Where model content is kept.
    pub fn content(&self) -> &ContentStore {
        &self.content
    }

    /// The places that models come from.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// All bindings, by alias.
    pub fn list(&self) -> Vec<Arc<Binding>> {
        self.mirror.values()
    }

    /// The binding that `alias` has now.
    pub fn get(&self, alias: &str) -> Result<Arc<Binding>, Error> {
        self.find(alias)?.value
    }

    fn find(&self, alias: &str) -> Result<Record<Binding>, Error> {
        self.mirror.get(alias).ok_or_else(|| {
            let aliases = self.mirror.names();
            let none = "no model is bound: `whimbrel model bind ALIAS --uri PATH` binds one";
            Error::new(ErrorCode::NotFound, format!("model '{alias}' is not bound")).with_hint(
                nearest::hint(alias, aliases.iter().map(String::as_str), none),
            )
        })
    }

    /// Reads the model, keeps its content, and makes `alias` mean it. Once it returns, the binding survives a restart and
    /// new queries use it.
    pub async fn bind(&self, request: BindModel) -> Result<Arc<Binding>, Error> {
        let BindModel {
            alias,
            uri,
            returns,
            runtime,
            columns,
            options,
            if_absent,
        } = request;
        if if_absent && self.mirror.get(&alias).is_some() {
            return Err(bound_already(&alias));
        }
        let mut options = BindOptions::parse(&options)?;
        let alias: Alias = alias.parse()?;
        let asked_runtime = runtime.parse()?;
        let asked = if returns.is_empty() {
            None
        } else {
            Some(parse_returns(&returns)?)
        };
        let Fetched {
            file,
            mlmodel,
            uri,
            resolved,
            version,
        } = self.sources.fetch(&uri).await?;
        let (name, bytes) = (uri.clone(), file.clone());
        let mut facts = blocking(move || inspect(&name, &bytes, mlmodel.as_ref())).await?;
        options.apply(&mut facts.signature, &mut facts.elements)?;
        // Who asks for a type may mean any output.
        let main = facts.main_output.as_deref().filter(|_| asked.is_none());
        let output = options.output.as_deref().or(main);
        let value = Value::resolve(&facts.signature, output, asked.as_ref())?;
        let columns = request::place_columns(&facts.elements, &facts.signature.inputs, columns)?;
        let Choice {
            runtime,
            note,
            unused,
        } = choose_runtime(asked_runtime, &file, &facts, &value).await?;
        facts.notes.extend(note);
        for (element, unused) in facts.elements.iter_mut().zip(unused) {
            element.unused = unused;
        }
        // They are for the comparison of our kernels with ONNX Runtime.
        if runtime == RuntimeKind::Ort || Format::of(&file) != Format::Onnx {
            let elements = facts.elements.iter_mut();
            elements.for_each(|element| element.examples.clear());
        }
        let digest = self.content.put(file).await?;
        let binding = Binding {
            alias,
            uri,
            resolved,
            version,
            digest,
            generation: Generation(0),
            runtime,
            signature: facts.signature,
            returns: value.data_type(),
            value,
            elements: facts.elements,
            columns,
            options,
            size_bytes: facts.size,
            bound_at_ms: self.clock.unix_ms(),
            recorded: facts.recorded,
            notes: facts.notes,
        };
        self.commit(binding, if_absent).await
    }

    /// Writes the binding as the generation after the one that is there.
    async fn commit(&self, mut binding: Binding, if_absent: bool) -> Result<Arc<Binding>, Error> {
        let key = keys::model(&binding.alias);
        let what = rebinding(binding.alias.as_str());
        let propose = || {
            let expect = match self.mirror.get(binding.alias.as_str()) {
                None => {
                    binding.generation = Generation(1);
                    Expect::Absent
                }
                Some(_) if if_absent => return Err(bound_already(binding.alias.as_str())),
                Some(Record { revision, value }) => {
                    binding.generation = after(revision, value);
                    Expect::At(revision)
                }
            };
            Ok(Transaction::new()
                .expect(key.clone(), expect)
                .put(key.clone(), encode(&binding)?))
        };
        self.mirror.change(&what, propose).await?;
        let (digest, generation) = (binding.digest.short(), binding.generation.0);
        tracing::info!(model = %binding.alias, digest, generation, "bound a model");
        Ok(Arc::new(binding))
    }

    /// Forgets a binding. Its content stays, for queries that run.
    pub async fn unbind(&self, alias: &str) -> Result<(), Error> {
        let propose = || {
            let record = self.find(alias)?;
            let key = keys::model(&alias.parse()?);
            Ok(Transaction::new()
                .expect(key.clone(), Expect::At(record.revision))
                .delete(key))
        };
        self.mirror.change(&rebinding(alias), propose).await
    }
}

impl BindingSource for Registry {
    fn binding(&self, alias: &str) -> Option<Arc<Binding>> {
        self.mirror.get(alias)?.value.ok()
    }

    fn aliases(&self) -> Vec<String> {
        self.mirror.names()
    }
}

/// See [`runtime`]; a large model is read for it.
async fn choose_runtime(
    asked: runtime::Asked,
    file: &Bytes,
    facts: &ModelFacts,
    value: &Value,
) -> Result<Choice, Error> {
    let (file, elements) = (file.clone(), facts.elements.clone());
    let outputs = value.outputs().into_iter();
    let outputs = outputs.filter_map(|place| facts.signature.outputs.get(place).cloned());
    let outputs: Vec<_> = outputs.collect();
    blocking(move || {
        let wanted = runtime::Use {
            elements: &elements,
            outputs: outputs.iter().collect(),
        };
        runtime::choose(asked, &file, &wanted)
    })
    .await
}

/// The next generation. Every generation takes a commit of its own, so after a record that cannot be read the commit's
/// number is still larger than the generation in it.
fn after(revision: Revision, value: Result<Arc<Binding>, Error>) -> Generation {
    match value {
        Ok(binding) => Generation(binding.generation.0 + 1),
        Err(_) => Generation(revision.0 + 1),
    }
}

fn bound_already(alias: &str) -> Error {
    Error::new(
        ErrorCode::Exists,
        format!("model '{alias}' is bound already"),
    )
    .with_hint("write CREATE OR REPLACE MODEL to bind it anew")
}

fn rebinding(alias: &str) -> String {
    format!("binding '{alias}'")
}

fn encode(binding: &Binding) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![LAYOUT];
    bytes.extend(v1::Binding::try_from(binding)?.encode_to_vec());
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Binding, Error> {
    let Some((&LAYOUT, message)) = bytes.split_first() else {
        return Err(Error::new(
            ErrorCode::Invalid,
            "not a binding: its layout is not known",
        ));
    };
    let message = v1::Binding::decode(message)
        .map_err(|error| Error::new(ErrorCode::Invalid, format!("not a binding: {error}")))?;
    message.try_into()
}
