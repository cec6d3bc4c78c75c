//! PredictExec.
