//! `whimbrel model`: bind, list, show, check, unbind.

use serde_json::{Value, json};
use whimbrel::Client;
use whimbrel_proto::v1::{self, BindModelRequest, Binding, InputColumn, InputElement, TensorSpec};

use crate::cli::args::{BindArgs, ModelCommand};
use crate::cli::console::{Console, aligned};
use crate::cli::context::{Context, End};
use crate::cli::failure::Failure;
use crate::cli::format;
use crate::cli::model_report;
use crate::cli::table::absolute_uri;
use crate::cli::versions;

/// Runs the command.
pub(crate) async fn run(context: &Context, command: ModelCommand) -> Result<(), Failure> {
    let console = context.console;
    context
        .with_pool(End::AnySignal, async |client| match &command {
            ModelCommand::Bind(args) => bind(console, &client, args).await,
            ModelCommand::List { loaded: false } => list(console, &client).await,
            ModelCommand::List { loaded: true } => {
                model_report::loaded(console, &client.pool_status().await?)
            }
            ModelCommand::Check(args) => model_report::check(console, &client, args).await,
            ModelCommand::Show { alias } => show(console, &client.get_model(alias).await?),
            ModelCommand::Versions { uri, link } => {
                versions::list(console, &client, &with_link(uri.clone(), link.as_deref())).await
            }
            ModelCommand::Unbind { alias } => {
                client.unbind_model(alias).await?;
                console.note(&format!("{alias} is no longer bound"));
                Ok(())
            }
        })
        .await
}

async fn bind(console: Console, client: &Client, args: &BindArgs) -> Result<(), Failure> {
    let column = |(input, column): &(String, String)| InputColumn {
        input: input.clone(),
        column: column.clone(),
    };
    let option = |(key, value): &(String, String)| v1::Option {
        key: key.clone(),
        value: value.clone(),
    };
    let binding = client
        .bind_model(BindModelRequest {
            alias: args.alias.clone(),
            uri: model_uri(args)?,
            returns: args.returns.clone().unwrap_or_default(),
            runtime: args.runtime.clone().unwrap_or_default(),
            columns: args.map.iter().map(column).collect(),
            options: args.option.iter().map(option).collect(),
        })
        .await?;
    if console.json {
        return console.print_json(&as_json(&binding));
    }
    console.note(&format!(
        "{} is bound to {} ({}), returns {}",
        binding.alias,
        short(&binding.digest),
        binding.runtime,
        binding.returns
    ));
    for note in &binding.notes {
        console.note(&format!("note: {note}"));
    }
    Ok(())
}

/// The URI that the flags mean. A path means the same to the scheduler as to the user.
fn model_uri(args: &BindArgs) -> Result<String, Failure> {
    if let Some(query) = &args.query {
        return Ok(format!("sql:{query}"));
    }
    let uri = args.uri.clone().unwrap_or_default();
    let is_path = !["models:", "runs:", "azureml:", "sql:"]
        .iter()
        .any(|scheme| {
            uri.get(..scheme.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        });
    let uri = if is_path { absolute_uri(&uri)? } else { uri };
    Ok(with_link(uri, args.link.as_deref()))
}

fn with_link(uri: String, link: Option<&str>) -> String {
    match link {
        Some(link) => format!("{uri}?link={link}"),
        None => uri,
    }
}

/// Lists the bindings.
pub(crate) async fn list(console: Console, client: &Client) -> Result<(), Failure> {
    let bindings = client.list_models().await?;
    if console.json {
        return bindings
            .iter()
            .try_for_each(|binding| console.print_json(&as_json(binding)));
    }
    let row = |binding: &Binding| {
        vec![
            binding.alias.clone(),
            short(&binding.digest).to_owned(),
            binding.runtime.clone(),
            binding.returns.clone(),
            format::bytes(binding.size_bytes),
            binding.uri.clone(),
        ]
    };
    let rows: Vec<_> = bindings.iter().map(row).collect();
    console.print(&aligned(
        &["alias", "digest", "runtime", "returns", "size", "uri"],
        &rows,
    ))
}

fn show(console: Console, binding: &Binding) -> Result<(), Failure> {
    if console.json {
        return console.print_json(&as_json(binding));
    }
    let facts = [
        ("alias", binding.alias.clone()),
        ("uri", binding.uri.clone()),
        ("resolved", binding.resolved.clone()),
        ("version", binding.version.clone()),
        ("digest", binding.digest.clone()),
        ("generation", binding.generation.to_string()),
        ("runtime", binding.runtime.clone()),
        ("returns", binding.returns.clone()),
        ("size", format::bytes(binding.size_bytes)),
    ];
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        console.print(&format!("{name:<12}{value}"))?;
    }
    if !binding.feature_names.is_empty() {
        console.print(&format!(
            "{:<12}{}",
            "features",
            binding.feature_names.join(", ")
        ))?;
    }
    for InputColumn { input, column } in &binding.columns {
        console.print(&format!("{:<12}{input} <- {column}", "map"))?;
    }
    for v1::Option { key, value } in &binding.options {
        console.print(&format!("{:<12}{key} = {value}", "option"))?;
    }
    for v1::RecordedVersion { library, version } in &binding.recorded {
        console.print(&format!("{:<12}{library} {version}", "made with"))?;
    }
    for note in &binding.notes {
        console.print(&format!("{:<12}{note}", "note"))?;
    }
    let signature = binding.signature.as_ref();
    let tensors = |what: &str, specs: &[TensorSpec]| {
        specs.iter().try_for_each(|spec| {
            console.print(&format!(
                "{what:<12}{} {}{}",
                spec.name,
                spec.element,
                shape(spec)
            ))
        })
    };
    tensors(
        "input",
        signature.map_or(&[], |signature| &signature.inputs),
    )?;
    tensors(
        "output",
        signature.map_or(&[], |signature| &signature.outputs),
    )
}

/// A dimension that a model leaves open is a `?`.
fn shape(spec: &TensorSpec) -> String {
    let dimensions = spec.shape.iter().map(|size| {
        if *size < 0 {
            "?".to_owned()
        } else {
            size.to_string()
        }
    });
    format!("[{}]", dimensions.collect::<Vec<_>>().join(","))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn as_json(binding: &Binding) -> Value {
    let Binding {
        alias,
        uri,
        digest,
        generation,
        runtime,
        signature,
        returns,
        feature_names,
        columns,
        size_bytes,
        bound_at_ms,
        options,
        elements,
        value: _,
        recorded,
        notes,
        resolved,
        version,
    } = binding;
    let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
        let tensor = |spec: &TensorSpec| json!({"name": spec.name, "element": spec.element, "shape": spec.shape});
        specs.iter().map(tensor).collect()
    };
    let column = |pair: &InputColumn| json!({"input": pair.input, "column": pair.column});
    let element = |element: &InputElement| {
        json!({
            "name": element.name, "named": element.named, "element": element.element, "shape": element.shape,
            "optional": element.optional, "default": element.default_value, "unused": element.unused,
        })
    };
    let library =
        |pair: &v1::RecordedVersion| (pair.library.clone(), Value::from(pair.version.clone()));
    let options = options
        .iter()
        .map(|option| (option.key.clone(), Value::from(option.value.clone())));
    json!({
        "alias": alias, "uri": uri, "resolved": resolved,
        "version": Some(version).filter(|version| !version.is_empty()), "digest": digest, "generation": generation, "runtime": runtime, "returns": returns,
        "inputs": tensors(signature.as_ref().map_or(&[], |signature| &signature.inputs)),
        "outputs": tensors(signature.as_ref().map_or(&[], |signature| &signature.outputs)),
        "feature_names": feature_names,
        "columns": columns.iter().map(column).collect::<Vec<_>>(),
        "elements": elements.iter().map(element).collect::<Vec<_>>(),
        "options": Value::Object(options.collect()),
        "size_bytes": size_bytes, "bound_at_ms": bound_at_ms,
        "recorded": Value::Object(recorded.iter().map(library).collect()), "notes": notes,
    })
}
