//! A model's files, wherever they are: one file, or a folder that MLflow wrote. The rules for reading them are the same for
//! every place.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use whimbrel_graph::Format;
use whimbrel_predict::mlmodel::MlModel;
use whimbrel_predict::onnx::{MAX_BYTES, embed, external_files};
use whimbrel_proto::{Error, ErrorCode};

use super::super::content::blocking;
use super::hex;

/// The file that makes a folder a model's.
pub(super) const MLMODEL: &str = "MLmodel";
/// No signature needs more.
pub(super) const MAX_MLMODEL: u64 = 4 << 20;
const MAX_EXAMPLE: u64 = 16 << 20;
/// How the names of models' files end.
const ENDINGS: [&str; 3] = [".onnx", ".lgb", ".ubj"];

/// A folder's files, by paths relative to it.
#[async_trait]
pub(super) trait Folder: Send + Sync + fmt::Debug {
    /// The file's bytes; `None` where there is no such file, an error where it is larger than `most`.
    async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, Error>;
    /// What lies directly in it, for messages.
    async fn names(&self) -> Result<Vec<String>, Error>;
    /// Where it is, for messages.
    fn place(&self) -> &str;
}

/// What a URI led to.
#[derive(Debug)]
pub(super) enum Found {
    Folder(Box<dyn Folder>),
    /// One file, with the folder that it is in.
    File {
        folder: Box<dyn Folder>,
        name: String,
        bytes: Bytes,
    },
}

/// The model that the files make.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) file: Bytes,
    pub(super) mlmodel: Option<MlModel>,
}

impl Found {
    /// Reads the model.
    pub(super) async fn read(self) -> Result<Model, Error> {
        match self {
            Self::Folder(folder) => {
                let mlmodel = read_mlmodel(folder.as_ref()).await?;
                let name = mlmodel
                    .model_file()
                    .map_err(|error| at(folder.place(), &error))?
                    .to_owned();
                let Some(bytes) = folder.read(&name, MAX_BYTES).await? else {
                    return Err(Error::new(
                        ErrorCode::NotFound,
                        format!(
                            "'{}': the MLmodel file names '{name}', which is not there",
                            folder.place()
                        ),
                    )
                    .with_hint("copy the whole folder; a part of it is missing"));
                };
                let file = one_file(folder.as_ref(), &name, bytes).await?;
                Ok(Model {
                    file,
                    mlmodel: Some(mlmodel),
                })
            }
            Self::File {
                folder,
                name,
                bytes,
            } => {
                let place = format!("{}/{name}", folder.place());
                let bytes = blocking(move || hex::decode(bytes, &format!("'{place}'"))).await?;
                let file = one_file(folder.as_ref(), &name, bytes).await?;
                Ok(Model {
                    file,
                    mlmodel: None,
                })
            }
        }
    }
}

/// What MLflow wrote of the model in this folder.
pub(super) async fn read_mlmodel(folder: &dyn Folder) -> Result<MlModel, Error> {
    let Some(bytes) = folder.read(MLMODEL, MAX_MLMODEL).await? else {
        return Err(no_mlmodel(folder.place(), &folder.names().await?));
    };
    let text = String::from_utf8_lossy(&bytes);
    let mlmodel = MlModel::parse(&text).map_err(|error| at(folder.place(), &error))?;
    let Some(example) = mlmodel.example_file().map(str::to_owned) else {
        return Ok(mlmodel);
    };
    // The example only helps; a model without it is as good.
    Ok(match folder.read(&example, MAX_EXAMPLE).await {
        Ok(Some(bytes)) => mlmodel.with_example(&String::from_utf8_lossy(&bytes)),
        Ok(None) => mlmodel,
        Err(error) => {
            tracing::info!(place = folder.place(), %error, "the input example of a model is left out");
            mlmodel
        }
    })
}

/// The model's file; an ONNX file with the weights in it that lie beside it.
async fn one_file(folder: &dyn Folder, name: &str, bytes: Bytes) -> Result<Bytes, Error> {
    match Format::of(&bytes) {
        Format::Onnx => {}
        Format::LightGbm | Format::XgBoost => return Ok(bytes),
    }
    // What is no ONNX file has no files beside it; the reader of the model says what it is instead.
    let names = {
        let (bytes, place) = (bytes.clone(), folder.place().to_owned());
        blocking(move || match external_files(&bytes) {
            Ok(names) => Ok(names),
            Err(error) if error.message().contains("decode") => Ok(Vec::new()),
            Err(error) => Err(at(&place, &error)),
        })
        .await?
    };
    if names.is_empty() {
        return Ok(bytes);
    }
    let beside = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut files = HashMap::new();
    let mut room = MAX_BYTES.saturating_sub(bytes.len() as u64);
    for name in names {
        let path = if beside.is_empty() {
            name.clone()
        } else {
            format!("{beside}/{name}")
        };
        if let Some(file) = folder.read(&path, room).await? {
            room = room.saturating_sub(file.len() as u64);
            files.insert(name, file);
        }
    }
    let place = folder.place().to_owned();
    blocking(move || embed(&bytes, &files).map_err(|error| at(&place, &error)))
        .await
        .map(Bytes::from)
}

fn no_mlmodel(place: &str, names: &[String]) -> Error {
    const SHOWN: usize = 5;
    let is_model = |name: &&String| ENDINGS.iter().any(|ending| name.ends_with(ending));
    let hint = match (names, names.iter().find(is_model)) {
        (_, Some(file)) => format!("give the file itself: {place}/{file}"),
        ([], None) => "the folder is empty: check the path".to_owned(),
        (names, None) => {
            let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
            format!(
                "it holds {}: give the folder that MLflow saved the model in, or the model's file",
                shown.join(", ")
            )
        }
    };
    Error::new(
        ErrorCode::NotFound,
        format!("'{place}' is a folder without an MLmodel file"),
    )
    .with_hint(hint)
}

/// Says where the error was met.
pub(super) fn at(place: &str, error: &Error) -> Error {
    let told = Error::new(error.code(), format!("'{place}': {}", error.message()));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// A file that is larger than there is room for.
pub(super) fn too_large(place: &str, most: u64) -> Error {
    let size = match most {
        MAX_BYTES => "2 GiB".to_owned(),
        most => format!("{most} bytes"),
    };
    Error::new(
        ErrorCode::Invalid,
        format!("'{place}' is larger than {size}"),
    )
    .with_hint("check that it is the right file; a model with its weights has at most 2 GiB")
}
