//! SQL about models: bindings are made, dropped, shown and checked by statements as they are by the command line.

mod check;
mod parse;
mod report;
mod show;

use whimbrel_proto::{Error, ErrorCode};

use super::{Effect, Planned};
use crate::models::{BindModel, Registry};

pub(crate) use check::CheckModel;
pub(crate) use parse::CreateModel;
use parse::{IfBound, ModelStatement};

/// The statement understood, if it is one about models.
pub(super) fn planned(sql: &str, models: &Registry) -> Option<Result<Planned, Error>> {
    Some(parse::parse(sql)?.and_then(|statement| {
        match statement {
            ModelStatement::Create(create) => Ok(Planned::Effect(Effect::CreateModel(create))),
            ModelStatement::Drop { alias, if_exists } => {
                Ok(Planned::Effect(Effect::DropModel { alias, if_exists }))
            }
            ModelStatement::Show => show::list(&models.list()),
            ModelStatement::Describe { alias } => models
                .get(&alias)
                .and_then(|binding| show::describe(&binding)),
            ModelStatement::Check {
                alias,
                table,
                sample,
            } => CheckModel::new(alias, table, sample).map(Planned::Check),
        }
    }))
}

impl CreateModel {
    /// Binds the model. `map.INPUT` and `runtime` are what the command line has flags for; the other options are the
    /// binding's own.
    pub(super) async fn apply(self, models: &Registry) -> Result<(), Error> {
        let Self {
            alias,
            uri,
            returns,
            options,
            if_bound,
        } = self;
        let mut request = BindModel {
            alias,
            uri,
            returns,
            if_absent: if_bound != IfBound::Replace,
            ..BindModel::default()
        };
        for (key, value) in options {
            match key.split_once('.') {
                Some((group, input)) if group.eq_ignore_ascii_case("map") => {
                    request.columns.push((input.to_owned(), value));
                }
                _ if key.eq_ignore_ascii_case("runtime") => request.runtime = value,
                _ => request.options.push((key, value)),
            }
        }
        match models.bind(request).await {
            Err(error) if if_bound == IfBound::Keep && error.code() == ErrorCode::Exists => Ok(()),
            bound => bound.map(drop),
        }
    }
}

/// Drops a binding.
pub(super) async fn drop_model(
    models: &Registry,
    alias: &str,
    if_exists: bool,
) -> Result<(), Error> {
    match models.unbind(alias).await {
        Err(error) if if_exists && error.code() == ErrorCode::NotFound => Ok(()),
        dropped => dropped,
    }
}
