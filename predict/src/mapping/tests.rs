//! Mapping by table: what is asked, and what comes of it.

use super::*;
use crate::signature::ElementType;
use crate::testing;

const ABSENT: usize = usize::MAX;

fn binding(inputs: &[&str]) -> Binding {
    testing::binding("m", inputs, ElementType::Float32).unwrap()
}

fn unnamed(count: usize) -> Binding {
    let names = vec!["x"; count];
    let mut binding = binding(&names);
    for element in &mut binding.elements {
        element.named = false;
    }
    binding
}

fn columns(names: &[&str]) -> Vec<Argument> {
    let column = |name: &&str| Argument {
        name: name.rsplit('.').next().map(str::to_owned),
        shown: (*name).to_owned(),
        data_type: DataType::Float32,
    };
    names.iter().map(column).collect()
}

fn order(binding: &Binding, args: &[&str], form: Form) -> Result<(Vec<usize>, bool), String> {
    let mapping = map(binding, &columns(args), form).map_err(|error| error.to_string())?;
    Ok((
        mapping
            .sources
            .iter()
            .map(|source| match source {
                Source::Argument { place, .. } => *place,
                Source::Absent(_) => ABSENT,
            })
            .collect(),
        mapping.by_position,
    ))
}

#[test]
fn a_star_feeds_by_name_whatever_the_order_and_leaves_the_rest() {
    assert_eq!(
        order(&binding(&["a", "b"]), &["B", "z", "a"], Form::Star),
        Ok((vec![2, 0], false))
    );
    assert_eq!(
        order(&binding(&["a"]), &["A", "a"], Form::Star),
        Ok((vec![1], false))
    );
}

#[test]
fn a_star_feeds_by_position_where_no_name_fits_and_the_count_does() {
    assert_eq!(
        order(&binding(&["a", "b"]), &["x", "y"], Form::Star),
        Ok((vec![0, 1], true))
    );
    assert_eq!(
        order(&unnamed(2), &["x", "y"], Form::Star),
        Ok((vec![0, 1], true))
    );
    assert!(
        order(&unnamed(2), &["x", "y", "z"], Form::Star)
            .unwrap_err()
            .contains("takes 2 columns by position, and there are 3")
    );
}

#[test]
fn a_star_never_mixes_names_and_position() {
    let error = order(
        &binding(&["dist", "fare"]),
        &["distance", "fare"],
        Form::Star,
    )
    .unwrap_err();
    assert!(
        error.contains("no column 'dist'") && error.contains("'distance'"),
        "{error}"
    );
    let error = order(&binding(&["a", "b"]), &["x", "y", "z"], Form::Star).unwrap_err();
    assert!(
        error.contains("'a', 'b'") && error.contains("x, y, z"),
        "{error}"
    );
    let error = order(&binding(&["a"]), &["s.a", "t.a"], Form::Star).unwrap_err();
    assert!(error.contains("each of s.a, t.a"), "{error}");
}

#[test]
fn a_list_feeds_in_its_order_and_refuses_a_permutation() {
    assert_eq!(
        order(&binding(&["a", "b"]), &["a", "B"], Form::List),
        Ok((vec![0, 1], false))
    );
    assert_eq!(
        order(&binding(&["a", "b"]), &["x", "y"], Form::List),
        Ok((vec![0, 1], true))
    );
    let error = order(&binding(&["a", "b"]), &["b", "a"], Form::List).unwrap_err();
    assert!(
        error.contains("column b stands where input 'a' is fed") && error.contains("(a, b)"),
        "{error}"
    );
}

#[test]
fn a_list_of_the_wrong_length_names_what_is_missing_and_surplus() {
    let error = order(&binding(&["a", "b", "c"]), &["a", "z"], Form::List).unwrap_err();
    assert!(
        error.contains("takes 3 inputs, and 2 are given; 'b', 'c' missing; z surplus"),
        "{error}"
    );
}

#[test]
fn the_users_pairs_come_first() {
    let mut binding = binding(&["a", "b"]);
    binding.columns = vec![("a".to_owned(), "price".to_owned())];
    assert_eq!(
        order(&binding, &["a", "b", "price"], Form::Star),
        Ok((vec![2, 1], false))
    );
    assert_eq!(
        order(&binding, &["x", "price"], Form::Star),
        Ok((vec![1, 0], true))
    );
    assert!(
        order(&binding, &["a", "b"], Form::Star)
            .unwrap_err()
            .contains("no column 'price'")
    );
}

#[test]
fn a_type_that_cannot_feed_names_column_type_and_input() {
    let args = [Argument {
        name: Some("zone".to_owned()),
        shown: "zone".to_owned(),
        data_type: DataType::Utf8View,
    }];
    let error = map(&binding(&["a"]), &args, Form::List)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("zone is text, and input 'a' takes float32")
            && error.contains("CAST(zone AS REAL)"),
        "{error}"
    );
}
