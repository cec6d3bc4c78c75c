//! Scans of text and Arrow files on the wire: the engine's own message for the scan, and what it has no words for.

use std::sync::Arc;

use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalPlanNode;

use super::malformed;
use crate::error::external;
use crate::input::{InputSource, Reading, ReadingNode};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InputNode {
    #[prost(message, optional, tag = "1")]
    scan: Option<PhysicalPlanNode>,
    #[prost(message, optional, tag = "2")]
    reading: Option<ReadingNode>,
}

impl InputNode {
    /// `None` where the node is no scan of ours.
    pub(super) fn encode_exec(
        node: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Option<Self>> {
        let scan = node.downcast_ref::<DataSourceExec>();
        let Some((config, source)) =
            scan.and_then(DataSourceExec::downcast_to_file_source::<InputSource>)
        else {
            return Ok(None);
        };
        let engines = FileScanConfigBuilder::from(config.clone())
            .with_source(Arc::clone(source.inner()))
            .build();
        let engines: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(engines);
        Ok(Some(Self {
            scan: Some(converter.execution_plan_to_proto(&engines, codec)?),
            reading: Some(source.reading().as_ref().into()),
        }))
    }

    pub(super) fn decode(
        self,
        ctx: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Self { scan, reading } = self;
        let scan = scan.ok_or_else(|| malformed("field 'scan' is missing"))?;
        let reading = reading.ok_or_else(|| malformed("field 'reading' is missing"))?;
        let reading = Reading::try_from(reading).map_err(external)?;
        let scan = converter.proto_to_execution_plan(&scan, ctx)?;
        let config = scan
            .downcast_ref::<DataSourceExec>()
            .and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>())
            .ok_or_else(|| malformed("a scan of files is none"))?;
        let source = InputSource::new(Arc::clone(config.file_source()), Arc::new(reading));
        let config = FileScanConfigBuilder::from(config.clone())
            .with_source(Arc::new(source))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
