//! Plans on the wire: our nodes are written by us, everything else by the codec underneath. One message per node, and a first
//! byte that no protobuf begins with, so that the two can never be taken for each other.

mod input;
mod predict;
mod sink;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use prost::Message;
use whimbrel_proto::{Error, ErrorCode};

use crate::error::external;
use crate::exec::PredictExec;
use crate::sink::ScoreSinkExec;

/// 0xff asks for wire type 7, which protobuf does not have. The last byte is the version of the format.
const MAGIC: [u8; 5] = *b"\xffWHB\x01";

/// One of our plan nodes.
#[derive(Clone, PartialEq, prost::Message)]
struct PlanNode {
    #[prost(oneof = "NodeKind", tags = "1, 2, 3")]
    kind: Option<NodeKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum NodeKind {
    #[prost(message, tag = "1")]
    Predict(Box<predict::PredictNode>),
    #[prost(message, tag = "2")]
    Input(Box<input::InputNode>),
    #[prost(message, tag = "3")]
    Sink(Box<sink::SinkNode>),
}

/// Reads and writes our physical nodes, and hands all others to the codec that it wraps.
#[derive(Debug)]
pub struct WhimbrelPhysicalCodec {
    inner: Arc<dyn PhysicalExtensionCodec>,
}

impl WhimbrelPhysicalCodec {
    /// `inner` is the engine's own codec.
    pub fn new(inner: Arc<dyn PhysicalExtensionCodec>) -> Self {
        Self { inner }
    }
}

/// Plans come from pools of the same version, so this is a defect or damage, not a user's mistake.
fn malformed(why: &str) -> datafusion::error::DataFusionError {
    let error = Error::new(ErrorCode::Bug, format!("a plan node cannot be read: {why}"));
    external(
        error.with_hint("run the same version of Whimbrel on the scheduler and on every executor"),
    )
}

impl PhysicalExtensionCodec for WhimbrelPhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(body) = buf.strip_prefix(&MAGIC) else {
            return self.inner.try_decode(buf, inputs, ctx, converter);
        };
        let node = PlanNode::decode(body).map_err(|error| malformed(&error.to_string()))?;
        let ctx = PhysicalPlanDecodeContext::new(ctx, self);
        match node.kind {
            Some(NodeKind::Predict(node)) => Ok(Arc::new(node.decode(inputs, &ctx, converter)?)),
            Some(NodeKind::Input(node)) => node.decode(&ctx, converter),
            Some(NodeKind::Sink(node)) => Ok(Arc::new(node.decode(inputs)?)),
            None => Err(malformed("it says of no known kind")),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = if let Some(exec) = node.downcast_ref::<PredictExec>() {
            NodeKind::Predict(Box::new(predict::PredictNode::encode_exec(
                exec, self, converter,
            )?))
        } else if let Some(exec) = node.downcast_ref::<ScoreSinkExec>() {
            NodeKind::Sink(Box::new(sink::SinkNode::encode_exec(exec)?))
        } else if let Some(scan) = input::InputNode::encode_exec(&node, self, converter)? {
            NodeKind::Input(Box::new(scan))
        } else {
            return self.inner.try_encode(node, buf, converter);
        };
        buf.extend_from_slice(&MAGIC);
        buf.extend(PlanNode { kind: Some(kind) }.encode_to_vec());
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.inner.try_decode_udf(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udf(node, buf)
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        buf: &[u8],
    ) -> Result<Arc<HigherOrderUDF>> {
        self.inner.try_decode_higher_order_function(name, buf)
    }

    fn try_encode_higher_order_function(
        &self,
        node: &HigherOrderUDF,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        self.inner.try_encode_higher_order_function(node, buf)
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        ctx: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.inner.try_decode_expr(buf, inputs, ctx)
    }

    fn try_encode_expr(
        &self,
        node: &Arc<dyn PhysicalExpr>,
        buf: &mut Vec<u8>,
        ctx: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        self.inner.try_encode_expr(node, buf, ctx)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.inner.try_decode_udaf(name, buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udaf(node, buf)
    }

    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        self.inner.try_decode_udwf(name, buf)
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udwf(node, buf)
    }
}
