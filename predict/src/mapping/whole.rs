//! One model, two shapes of table: k columns feed an `[N,k]` input, or one column of lists of length k does. The table's types
//! say which.

use super::cast::leaf;
use super::names::same;
use super::{Argument, Form};
use crate::binding::{Binding, InputElement};
use crate::signature::TensorSpec;

/// The elements where some `[N,k]` input is fed by one column of lists; none where all are fed by columns.
pub(super) fn elements(
    binding: &Binding,
    args: &[Argument],
    form: Form,
) -> Option<Vec<InputElement>> {
    if !args.iter().any(is_list) {
        return None;
    }
    let inputs = &binding.signature.inputs;
    let wide: Vec<bool> = (0..inputs.len())
        .map(|input| lanes(binding, input).len() > 1)
        .collect();
    let whole: Vec<bool> = match form {
        Form::List => in_order(binding, &wide, args),
        Form::Star => (0..inputs.len())
            .map(|input| wide[input] && is_named(binding, &inputs[input], args, &wide))
            .collect(),
    };
    if !whole.contains(&true) {
        return None;
    }
    let mut elements = Vec::new();
    for (input, spec) in inputs.iter().enumerate() {
        if whole[input] {
            elements.push(InputElement {
                shape: spec.shape.iter().skip(1).copied().collect(),
                ..InputElement::scalar(&spec.name, true, spec.element, input)
            });
        } else {
            elements.extend(lanes(binding, input).into_iter().cloned());
        }
    }
    Some(elements)
}

fn is_list(arg: &Argument) -> bool {
    leaf(&arg.data_type).is_some()
}

fn lanes(binding: &Binding, input: usize) -> Vec<&InputElement> {
    let own = binding.elements.iter();
    own.filter(|element| element.input == input).collect()
}

/// Argument by argument: a list that stands where a wide input begins is all of it.
fn in_order(binding: &Binding, wide: &[bool], args: &[Argument]) -> Vec<bool> {
    let mut next = 0;
    let takes = |(input, wide): (usize, &bool)| {
        let whole = *wide && args.get(next).is_some_and(is_list);
        next += if whole {
            1
        } else {
            lanes(binding, input).len()
        };
        whole
    };
    wide.iter().enumerate().map(takes).collect()
}

/// A list column of the input's name, or of the name that the user gave; or the only list for the only wide input, where no
/// column has the name of one of its places.
fn is_named(binding: &Binding, spec: &TensorSpec, args: &[Argument], wide: &[bool]) -> bool {
    let given = binding
        .columns
        .iter()
        .find(|(input, _)| same(input, &spec.name));
    let name = given.map_or(&spec.name, |(_, column)| column);
    let named =
        |arg: &&Argument, name: &str| arg.name.as_deref().is_some_and(|own| same(own, name));
    let mut lists = args.iter().filter(|arg| is_list(arg));
    if lists.clone().any(|arg| named(&arg, name)) {
        return true;
    }
    let is_only = lists.next().is_some()
        && lists.next().is_none()
        && wide.iter().filter(|wide| **wide).count() == 1;
    let places = binding.elements.iter().filter(|element| element.named);
    is_only
        && given.is_none()
        && !places
            .into_iter()
            .any(|place| args.iter().any(|arg| named(&arg, &place.name)))
}
