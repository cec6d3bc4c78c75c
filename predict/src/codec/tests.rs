//! What is encoded must come back the same, and what is not ours must reach the codec underneath.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, cast, col, lit};
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, DefaultPhysicalExtensionCodec, DefaultPhysicalProtoConverter,
};
use datafusion_proto::protobuf::PhysicalPlanNode;

use super::*;
use crate::error::find;
use crate::exec::RowErrors;
use crate::signature::ElementType;
use crate::testing;

fn codec() -> WhimbrelPhysicalCodec {
    WhimbrelPhysicalCodec::new(Arc::new(DefaultPhysicalExtensionCodec {}))
}

fn plan() -> Arc<dyn ExecutionPlan> {
    let fields = vec![
        Field::new("a", DataType::Float64, true),
        Field::new("b", DataType::Int64, true),
    ];
    let schema = Schema::new(fields);
    let args = ["a", "b"]
        .map(|name| cast(col(name, &schema).unwrap(), &schema, DataType::Float32).unwrap());
    let mask = binary(
        col("b", &schema).unwrap(),
        Operator::Gt,
        lit(1_i64),
        &schema,
    )
    .unwrap();
    let mut binding = testing::binding("fare", &["a", "b"], ElementType::Float32).unwrap();
    binding.columns = vec![("a".to_owned(), "b".to_owned())];
    let input = Arc::new(EmptyExec::new(Arc::new(schema)));
    let exec = PredictExec::try_new(
        input,
        Arc::new(binding),
        args.to_vec(),
        Some(mask),
        "fare.value".to_owned(),
    );
    Arc::new(exec.unwrap())
}

fn encoded() -> Vec<u8> {
    let mut bytes = Vec::new();
    codec()
        .try_encode(plan(), &mut bytes, &DefaultPhysicalProtoConverter {})
        .unwrap();
    bytes
}

fn decode(bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs: Vec<_> = plan().children().into_iter().cloned().collect();
    codec().try_decode(
        bytes,
        &inputs,
        &TaskContext::default(),
        &DefaultPhysicalProtoConverter {},
    )
}

#[test]
fn a_plan_with_casts_and_a_mask_comes_back_the_same() {
    let sent = plan();
    let node = PhysicalPlanNode::try_from_physical_plan(Arc::clone(&sent), &codec()).unwrap();
    let node: PhysicalPlanNode = AsExecutionPlan::try_decode(&node.encode_to_vec()).unwrap();
    let got = node
        .try_into_physical_plan(&TaskContext::default(), &codec())
        .unwrap();
    let text = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    assert_eq!(text(&got), text(&sent));
    assert_eq!(
        text(&sent).lines().next().unwrap(),
        "PredictExec: model=fare, digest=abababababab, runtime=ort, inputs=[a ← CAST(a@0 AS Float32), b ← CAST(b@1 AS Float32)], \
         output=fare.value, batch_rows=4096, mask=b@1 > 1"
    );
    let [got, sent] = [&got, &sent].map(|plan| plan.downcast_ref::<PredictExec>().unwrap());
    assert_eq!(got.binding(), sent.binding());
    assert_eq!(got.schema(), sent.schema());
}

#[test]
fn what_becomes_of_rows_that_cannot_be_scored_comes_back_too() {
    let plan = plan();
    for errors in [RowErrors::Null, RowErrors::Told("why".to_owned())] {
        let exec = plan.downcast_ref::<PredictExec>().unwrap().clone();
        let sent: Arc<dyn ExecutionPlan> = Arc::new(exec.catching(errors.clone()).unwrap());
        let mut bytes = Vec::new();
        let converter = DefaultPhysicalProtoConverter {};
        codec().try_encode(sent, &mut bytes, &converter).unwrap();
        let got = decode(&bytes).unwrap();
        let got = got.downcast_ref::<PredictExec>().unwrap();
        assert_eq!(got.errors(), &errors);
        let told = usize::from(errors != RowErrors::Null);
        assert_eq!(
            got.schema().fields().len(),
            plan.schema().fields().len() + told
        );
    }
}

#[test]
fn damaged_bytes_are_an_error() {
    let bytes = encoded();
    assert!(decode(&bytes).is_ok());
    for end in MAGIC.len()..bytes.len() {
        assert!(
            decode(&bytes[..end]).is_err(),
            "{end} of {} bytes",
            bytes.len()
        );
    }
    let garbage = [&MAGIC[..], b"garbage"].concat();
    let error = decode(&garbage).unwrap_err();
    assert!(
        find(&error).is_some_and(|error| error.hint().is_some()),
        "{error}"
    );
}

#[test]
fn what_is_not_ours_goes_to_the_codec_underneath() {
    let schema = Arc::new(Schema::empty());
    let error = codec()
        .try_encode(
            Arc::new(EmptyExec::new(schema)),
            &mut Vec::new(),
            &DefaultPhysicalProtoConverter {},
        )
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("PhysicalExtensionCodec is not provided"),
        "{error}"
    );
    let error = decode(b"\x0a\x00").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("PhysicalExtensionCodec is not provided"),
        "{error}"
    );
}
