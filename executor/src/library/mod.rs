//! Where the ONNX Runtime library comes from: found among the usual places, or fetched once into the user's cache. It is
//! loaded at run time, when the first model that needs it is opened; nothing is linked and no build ever downloads.

mod fetch;
mod find;
mod places;

pub use fetch::fetch;
pub use find::find;
pub use places::cache_dir;

pub use crate::runtime::telemetry::disable as disable_telemetry;

/// The version that [`fetch`] gets.
pub const VERSION: &str = "1.28.0";

/// The oldest minor version whose C API has what `ort` asks for.
const OLDEST_MINOR: u32 = 20;

/// From this minor version on, official Linux builds upload telemetry unless `ORT_DISABLE_TELEMETRY` is set: an installed
/// Python package of these is not taken by itself.
pub(crate) const FIRST_MINOR_WITH_UPLOADER: u32 = 29;
