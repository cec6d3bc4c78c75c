//! `PredictExec` on the wire. The binding travels whole: an executor never asks what an alias means.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalExprNode;
use whimbrel_proto::v1;

use super::malformed;
use crate::binding::Binding;
use crate::error::external;
use crate::exec::{PredictExec, RowErrors};
use crate::known::{Known, Range};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PredictNode {
    #[prost(message, optional, tag = "1")]
    binding: Option<v1::Binding>,
    #[prost(message, repeated, tag = "2")]
    args: Vec<PhysicalExprNode>,
    #[prost(message, optional, tag = "3")]
    mask: Option<PhysicalExprNode>,
    #[prost(string, tag = "4")]
    output: String,
    #[prost(oneof = "Caught", tags = "5, 6")]
    errors: Option<Caught>,
    /// By input; empty where nothing is known.
    #[prost(message, repeated, tag = "7")]
    known: Vec<KnownNode>,
}

/// What becomes of rows that cannot be scored, where they do not end the work.
#[derive(Clone, PartialEq, prost::Oneof)]
enum Caught {
    #[prost(bool, tag = "5")]
    Null(bool),
    #[prost(string, tag = "6")]
    Told(String),
}

/// Empty where nothing is known.
#[derive(Clone, PartialEq, prost::Message)]
struct KnownNode {
    #[prost(oneof = "Told", tags = "1, 3")]
    told: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Told {
    #[prost(message, tag = "1")]
    Numbers(RangeNode),
    #[prost(message, tag = "3")]
    Texts(TextsNode),
}

#[derive(Clone, PartialEq, prost::Message)]
struct TextsNode {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeNode {
    #[prost(double, tag = "1")]
    low: f64,
    #[prost(double, tag = "2")]
    high: f64,
    #[prost(bool, tag = "3")]
    nan_below: bool,
    #[prost(bool, tag = "4")]
    nan_above: bool,
}

impl From<&Known> for KnownNode {
    fn from(known: &Known) -> Self {
        let told = match known {
            Known::Anything => None,
            Known::Numbers(Range {
                low,
                high,
                nan_below,
                nan_above,
            }) => Some(Told::Numbers(RangeNode {
                low: *low,
                high: *high,
                nan_below: *nan_below,
                nan_above: *nan_above,
            })),
            Known::Texts(texts) => Some(Told::Texts(TextsNode {
                texts: texts.clone(),
            })),
        };
        Self { told }
    }
}

impl From<KnownNode> for Known {
    fn from(node: KnownNode) -> Self {
        match node.told {
            None => Self::Anything,
            Some(Told::Numbers(RangeNode {
                low,
                high,
                nan_below,
                nan_above,
            })) => Self::Numbers(Range {
                low,
                high,
                nan_below,
                nan_above,
            }),
            Some(Told::Texts(TextsNode { texts })) => Self::Texts(texts),
        }
    }
}

impl PredictNode {
    pub(super) fn encode_exec(
        exec: &PredictExec,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Self> {
        let encode = |expr: &Arc<dyn PhysicalExpr>| converter.physical_expr_to_proto(expr, codec);
        Ok(Self {
            binding: Some(v1::Binding::try_from(exec.binding().as_ref()).map_err(external)?),
            args: exec.args().iter().map(encode).collect::<Result<_>>()?,
            mask: exec.mask().map(encode).transpose()?,
            output: exec.output().to_owned(),
            errors: match exec.errors() {
                RowErrors::Fail => None,
                RowErrors::Null => Some(Caught::Null(true)),
                RowErrors::Told(name) => Some(Caught::Told(name.clone())),
            },
            known: exec.known().iter().map(KnownNode::from).collect(),
        })
    }

    pub(super) fn decode(
        self,
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<PredictExec> {
        let Self {
            binding,
            args,
            mask,
            output,
            errors,
            known,
        } = self;
        let [input] = inputs else {
            return Err(malformed("PREDICT has one input"));
        };
        let binding = binding.ok_or_else(|| malformed("field 'binding' is missing"))?;
        let binding = Binding::try_from(binding).map_err(external)?;
        let schema: Arc<Schema> = input.schema();
        let decode = |expr: &PhysicalExprNode| converter.proto_to_physical_expr(expr, &schema, ctx);
        let args = args.iter().map(decode).collect::<Result<_>>()?;
        let mask = mask.as_ref().map(decode).transpose()?;
        let errors = match errors {
            None => RowErrors::Fail,
            Some(Caught::Null(_)) => RowErrors::Null,
            Some(Caught::Told(name)) => RowErrors::Told(name),
        };
        let known = known.into_iter().map(Known::from).collect();
        let exec = PredictExec::try_new(Arc::clone(input), Arc::new(binding), args, mask, output)?;
        Ok(exec.catching(errors)?.knowing(known))
    }
}
