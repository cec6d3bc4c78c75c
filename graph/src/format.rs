//! What kind of file a model is, told by its first bytes: whoever binds a model and whoever scores it ask here, so that
//! they cannot come to different answers.

use crate::error::Error;
use crate::kernel::Level;
use crate::model::Model;
use crate::trees::xgboost;

/// The files that models are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Whatever is none of the others; the reader says if it is no ONNX either.
    Onnx,
    /// LightGBM's text.
    LightGbm,
    /// XGBoost's JSON or UBJSON.
    XgBoost,
}

impl Format {
    /// How many bytes are looked at.
    pub const HEAD: usize = 64;

    /// ONNX files begin with the number of a field, which is neither a brace nor a letter.
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(Self::HEAD)];
        let text = bytes.trim_ascii_start();
        match bytes.strip_prefix(b"tree") {
            Some([b'\n' | b'\r', ..]) => Self::LightGbm,
            _ if text.starts_with(b"{") => Self::XgBoost,
            _ => Self::Onnx,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "ONNX",
            Self::LightGbm => "LightGBM",
            Self::XgBoost => "XGBoost",
        }
    }
}

impl Model {
    /// The model of a file of any format. A file that an estimator of XGBoost's scikit-learn interface saved says so,
    /// and predicts what that estimator does; any other file of XGBoost predicts what `Booster.predict` does.
    pub fn from_file(bytes: &[u8]) -> Result<Self, Error> {
        match Format::of(bytes) {
            Format::Onnx => Self::from_onnx(bytes, None),
            Format::LightGbm => Self::from_lightgbm(bytes, None),
            Format::XgBoost => {
                let level = Level::detect();
                let plan = xgboost::plan(bytes, None, level, xgboost::Predicts::AsSaved)?;
                Ok(Self::new(plan, level))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_how_it_begins() {
        for (bytes, format) in [
            (&b"tree\nversion=v4\n"[..], Format::LightGbm),
            (b"tree\r\nversion=v4\r\n", Format::LightGbm),
            (b"{\"learner\": {}}", Format::XgBoost),
            (b"\n {\"learner\"", Format::XgBoost),
            (b"{L\0\0\0\0\0\0\0\x07learner", Format::XgBoost),
            (b"\x08\x08\x12\x08skl2onnx", Format::Onnx),
            (b"trees\n", Format::Onnx),
            (b"tree", Format::Onnx),
            (b"", Format::Onnx),
        ] {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(Format::of(bytes), format, "{shown:?}");
        }
    }
}
