//! LightGBM text, in a moment.
