//! The order in which arguments feed elements: by the user's pairs, by name, or by position.

use whimbrel_proto::Error;

use super::{Argument, Call, Form, leaf, nearest, stand_in};

/// The column name that an element is looked up by.
struct Wanted<'a> {
    /// None where the model gives the place no name of its own.
    name: Option<&'a str>,
    /// Whether the user said so at bind time.
    given: bool,
    /// Whether the table may do without it.
    optional: bool,
}

/// Per element the argument that feeds it, none where it is absent and may be.
type Order = Vec<Option<usize>>;

/// The order of the arguments, and whether position decided.
pub(super) fn order(call: &Call<'_>) -> Result<(Order, bool), Error> {
    let wanted = wanted(call)?;
    if call.binding.options.by_position {
        if call.args.len() != wanted.len() {
            return Err(wrong_count(call, &wanted));
        }
        return Ok(((0..wanted.len()).map(Some).collect(), true));
    }
    match call.form {
        Form::Star => star(call, &wanted),
        Form::List => list(call, &wanted),
    }
}

fn wanted<'a>(call: &Call<'a>) -> Result<Vec<Wanted<'a>>, Error> {
    let binding = call.binding;
    let mut wanted: Vec<Wanted<'a>> = call
        .elements
        .iter()
        .map(|element| Wanted {
            name: element.named.then_some(element.name.as_str()),
            given: false,
            optional: stand_in(element).is_some(),
        })
        .collect();
    for (input, column) in &binding.columns {
        let named = |same: &dyn Fn(&str) -> bool| {
            call.elements.iter().position(|element| same(&element.name))
        };
        let place = named(&|name| name == input).or_else(|| named(&|name| same(name, input)));
        match place.and_then(|place| wanted.get_mut(place)) {
            Some(slot) => {
                *slot = Wanted {
                    name: Some(column),
                    given: true,
                    optional: false,
                }
            }
            // The pair speaks of the input's other shape: by columns or by lists.
            None if is_other_shape(call, input) => {}
            None => {
                let what = format!(
                    "the alias was bound with '{input}={column}', but the model has no input '{input}'"
                );
                return Err(call
                    .invalid(what)
                    .with_hint(format!("its inputs are {}", quoted(inputs(call)))));
            }
        }
    }
    Ok(wanted)
}

fn is_other_shape(call: &Call<'_>, input: &str) -> bool {
    let names = call.binding.elements.iter().map(|element| &element.name);
    let specs = call.binding.signature.inputs.iter().map(|spec| &spec.name);
    names.chain(specs).any(|name| same(name, input))
}

fn star(call: &Call<'_>, wanted: &[Wanted<'_>]) -> Result<(Order, bool), Error> {
    let mut found = wanted
        .iter()
        .map(|wanted| wanted.name.map_or(Ok(None), |name| find(call, name)))
        .collect::<Result<Vec<_>, Error>>()?;
    let by_kind = only_list(call, wanted, &mut found);
    let is_there =
        |(wanted, found): (&Wanted<'_>, &Option<usize>)| found.is_some() || wanted.optional;
    if found.iter().any(Option::is_some) && wanted.iter().zip(&found).all(is_there) {
        return Ok((found, by_kind));
    }
    let by_name = wanted
        .iter()
        .zip(&found)
        .any(|(wanted, found)| wanted.name.is_some() && !wanted.given && found.is_some());
    let given_lost = wanted
        .iter()
        .zip(&found)
        .any(|(wanted, found)| wanted.given && found.is_none());
    if by_name || given_lost {
        return Err(missing(call, wanted, &found));
    }
    by_rest(call, wanted, &found)
}

/// The only input that takes lists, whose name no column has, takes the only column of lists.
fn only_list(call: &Call<'_>, wanted: &[Wanted<'_>], found: &mut [Option<usize>]) -> bool {
    let takes_lists = |place: &usize| !call.elements[*place].shape.is_empty();
    let is_list = |place: &usize| leaf(&call.args[*place].data_type).is_some();
    let mut inputs = (0..wanted.len()).filter(takes_lists);
    let mut columns = (0..call.args.len()).filter(is_list);
    match (inputs.next(), inputs.next(), columns.next(), columns.next()) {
        (Some(input), None, Some(column), None)
            if found[input].is_none() && !wanted[input].given =>
        {
            found[input] = Some(column);
            true
        }
        _ => false,
    }
}

/// No name fits: the columns that no pair has taken feed the other elements in order, if there are as many.
fn by_rest(
    call: &Call<'_>,
    wanted: &[Wanted<'_>],
    found: &[Option<usize>],
) -> Result<(Order, bool), Error> {
    let mut rest = (0..call.args.len()).filter(|index| !found.contains(&Some(*index)));
    let open = found.iter().filter(|found| found.is_none()).count();
    let left = call.args.len()
        - found
            .iter()
            .flatten()
            .collect::<std::collections::HashSet<_>>()
            .len();
    if open != left {
        if wanted.iter().all(|wanted| wanted.name.is_some()) {
            return Err(missing(call, wanted, found));
        }
        let what = format!(
            "the model takes {open} columns by position, and there are {left}: {}",
            columns(call)
        );
        return Err(call
            .invalid(what)
            .with_hint("name the columns in the model's order instead of *"));
    }
    let order = found.iter().map(|found| found.or_else(|| rest.next()));
    Ok((order.collect(), true))
}

fn list(call: &Call<'_>, wanted: &[Wanted<'_>]) -> Result<(Order, bool), Error> {
    let args = call.args;
    if args.len() != wanted.len() {
        return Err(wrong_count(call, wanted));
    }
    let fits = |arg: &Argument, wanted: &Wanted<'_>| match (&arg.name, wanted.name) {
        (Some(name), Some(wanted)) => same(name, wanted),
        _ => false,
    };
    let in_order: Vec<bool> = args
        .iter()
        .zip(wanted)
        .map(|(arg, wanted)| fits(arg, wanted))
        .collect();
    let displaced = args
        .iter()
        .zip(&in_order)
        .enumerate()
        .filter(|(_, (_, in_place))| !**in_place)
        .find_map(|(place, (arg, _))| {
            wanted
                .iter()
                .position(|wanted| fits(arg, wanted))
                .map(|owner| (place, owner))
        });
    if let Some((place, owner)) = displaced {
        let element = |place: usize| &call.elements[place].name;
        let what = format!(
            "column {} stands where input '{}' is fed, and input '{}' has its name",
            args[place].shown,
            element(place),
            element(owner)
        );
        let right = wanted.iter().map(|wanted| wanted.name.unwrap_or("?"));
        return Err(call.invalid(what).with_hint(format!(
            "put the columns in the model's order, ({}), or write *; if that order is meant, bind with the option by_position=true",
            right.collect::<Vec<_>>().join(", ")
        )));
    }
    Ok((
        (0..args.len()).map(Some).collect(),
        !in_order.iter().all(|fits| *fits),
    ))
}

/// The argument called `name`; a name in the same case comes before one in another.
fn find(call: &Call<'_>, name: &str) -> Result<Option<usize>, Error> {
    let matching = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let named = |arg: &Argument| arg.name.as_deref().is_some_and(fits);
        (0..call.args.len())
            .filter(|index| named(&call.args[*index]))
            .collect()
    };
    let exact = matching(&|other| other == name);
    let found = if exact.is_empty() {
        matching(&|other| same(other, name))
    } else {
        exact
    };
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => {
            let shown = several
                .iter()
                .map(|index| call.args[*index].shown.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            Err(call
                .invalid(format!("input '{name}' could be fed by each of {shown}"))
                .with_hint(
                    "name the columns in the model's order, or write one table's columns as t.*",
                ))
        }
    }
}

fn missing(call: &Call<'_>, wanted: &[Wanted<'_>], found: &[Option<usize>]) -> Error {
    let lost = wanted
        .iter()
        .zip(found)
        .filter(|(wanted, found)| found.is_none() && !wanted.optional);
    let lost: Vec<&str> = lost.filter_map(|(wanted, _)| wanted.name).collect();
    let known = call.args.iter().filter_map(|arg| arg.name.as_deref());
    let guess = lost
        .iter()
        .find_map(|lost| nearest(lost, known.clone()).map(|near| (*lost, near)));
    let hint = match guess {
        Some((lost, near)) => format!(
            "did you mean '{near}'? rename it in a subquery, or bind with --map '{lost}={near}'"
        ),
        None => format!("the columns are {}", columns(call)),
    };
    let noun = if lost.len() == 1 {
        "is no column"
    } else {
        "are no columns"
    };
    call.invalid(format!("there {noun} {} for the model", quoted(lost)))
        .with_hint(hint)
}

fn wrong_count(call: &Call<'_>, wanted: &[Wanted<'_>]) -> Error {
    let args = call.args;
    let is_fed = |wanted: &Wanted<'_>| {
        let fits =
            |arg: &Argument| matches!((&arg.name, wanted.name), (Some(a), Some(b)) if same(a, b));
        args.iter().any(fits)
    };
    let mut what = format!(
        "the model takes {} inputs, and {} are given",
        wanted.len(),
        args.len()
    );
    if args.iter().all(|arg| arg.name.is_some()) && wanted.iter().any(is_fed) {
        let lost: Vec<&str> = wanted
            .iter()
            .filter(|wanted| !is_fed(wanted))
            .filter_map(|wanted| wanted.name)
            .collect();
        let is_input = |arg: &&Argument| {
            wanted
                .iter()
                .any(|wanted| matches!((&arg.name, wanted.name), (Some(a), Some(b)) if same(a, b)))
        };
        let surplus: Vec<&str> = args
            .iter()
            .filter(|arg| !is_input(arg))
            .map(|arg| arg.shown.as_str())
            .collect();
        if !lost.is_empty() {
            what.push_str(&format!("; {} missing", quoted(lost)));
        }
        if !surplus.is_empty() {
            what.push_str(&format!("; {} surplus", surplus.join(", ")));
        }
    }
    call.invalid(what).with_hint(format!(
        "its inputs are {}, in this order",
        quoted(inputs(call))
    ))
}

fn inputs<'a>(call: &Call<'a>) -> Vec<&'a str> {
    call.elements
        .iter()
        .map(|element| element.name.as_str())
        .collect()
}

/// The columns there are, as many as fit a line.
fn columns(call: &Call<'_>) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<&str> = call
        .args
        .iter()
        .take(SHOWN)
        .map(|arg| arg.shown.as_str())
        .collect();
    if call.args.len() > SHOWN {
        names.push("...");
    }
    names.join(", ")
}

fn quoted(names: Vec<&str>) -> String {
    names
        .iter()
        .map(|name| format!("'{name}'"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
