//! `ScoreSinkExec` on the wire. The spec is the JSON that the job's record has too.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use super::malformed;
use crate::error::external;
use crate::sink::{ScoreSinkExec, SinkSpec};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SinkNode {
    #[prost(string, tag = "1")]
    spec: String,
    #[prost(string, optional, tag = "2")]
    split: Option<String>,
}

impl SinkNode {
    pub(super) fn encode_exec(exec: &ScoreSinkExec) -> Result<Self> {
        let spec = serde_json::to_string(exec.spec().as_ref())
            .map_err(|error| malformed(&error.to_string()))?;
        Ok(Self {
            spec,
            split: exec.split().map(ToString::to_string),
        })
    }

    pub(super) fn decode(self, inputs: &[Arc<dyn ExecutionPlan>]) -> Result<ScoreSinkExec> {
        let [input] = inputs else {
            return Err(malformed("a score job's sink has one input"));
        };
        let spec: SinkSpec =
            serde_json::from_str(&self.spec).map_err(|error| malformed(&error.to_string()))?;
        let split = self.split.map(|split| split.parse()).transpose();
        let sink = ScoreSinkExec::new(Arc::clone(input), Arc::new(spec));
        Ok(sink.with_split(split.map_err(external)?))
    }
}
