//! Texts whose gaps are filled: what became of some of a column's texts, by what they were.

use std::collections::{HashMap, HashSet};

use super::{Planner, TextLane, Value};
use crate::error::Error;
use crate::onnx::Node;

type Covered = Result<Option<()>, Error>;

impl Planner {
    /// Texts of which some are replaced by a constant one; nothing where it is not about texts.
    pub(super) fn choose_text(&mut self, node: &Node) -> Covered {
        let (by, yes, no) = (
            self.input(node, 0)?,
            self.input(node, 1)?,
            self.input(node, 2)?,
        );
        let (Value::Lanes(by), Value::Constant(yes), Value::Texts(no)) = (by, yes, no) else {
            return Ok(None);
        };
        let ([by], [yes], [no]) = (by.as_slice(), yes.texts.as_slice(), no.as_slice()) else {
            return Err(Error::not_covered("of several texts at once"));
        };
        let foreign = || Error::not_covered("of texts by what is not the same text");
        let (places, entries) = by.picked().ok_or_else(foreign)?;
        let coded = self.coded.iter().find(|(of, ..)| *of == places).cloned();
        let (_, _, originals) = coded
            .filter(|(_, column, _)| *column == no.column)
            .ok_or_else(foreign)?;
        if !self.affords(originals.len() + no.known.len()) {
            return Err(Error::not_covered("so many keys"));
        }
        let mut before: HashMap<&str, &str> = no
            .known
            .iter()
            .map(|(from, to)| (from.as_str(), to.as_str()))
            .collect();
        let (mut known, mut seen) = (Vec::new(), HashSet::new());
        for (place, original) in originals.iter().enumerate() {
            if !seen.insert(original.as_str()) {
                continue;
            }
            let stays = before.remove(original.as_str());
            let stays = stays.or(no.other.as_deref()).unwrap_or(original);
            let text = if entries.at(place) == 0.0 { stays } else { yes };
            known.push((original.clone(), text.to_owned()));
        }
        let replaced = entries.at(originals.len()) != 0.0;
        for (from, to) in &no.known {
            if before.contains_key(from.as_str()) {
                let text = if replaced { yes } else { to };
                known.push((from.clone(), text.clone()));
            }
        }
        let other = if replaced {
            Some(yes.clone())
        } else {
            no.other.clone()
        };
        let lane = TextLane {
            column: no.column,
            known,
            other,
        };
        Ok(self.set(node, 0, Value::Texts(vec![lane])))
    }
}
