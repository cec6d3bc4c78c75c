//! Operators that a model defines itself: ONNX Runtime puts each in the place of every call, so that a few that call each
//! other become as many nodes as their author likes.

use std::collections::HashMap;

use super::{MAX_NODES, Refusal, because, tensors::shorten};

/// An operator by domain and name.
pub(super) type Operator<'a> = (&'a str, &'a str);

/// How often each function calls what, and how many nodes it has.
#[derive(Debug, Default)]
pub(super) struct Functions<'a> {
    calls: HashMap<Operator<'a>, Vec<Operator<'a>>>,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Nodes(u64),
}

impl<'a> Functions<'a> {
    pub(super) fn add(&mut self, function: Operator<'a>, nodes: Vec<Operator<'a>>) {
        self.calls.insert(function, nodes);
    }

    /// Refuses functions that call themselves, and a graph of these nodes that would grow too large.
    pub(super) fn check(&self, nodes: &[Operator<'a>]) -> Result<(), Refusal> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let mut states = HashMap::new();
        for function in self.calls.keys() {
            self.expand(*function, &mut states)?;
        }
        let nodes = nodes.iter().map(|node| match states.get(node) {
            Some(State::Nodes(count)) => *count,
            Some(State::Open) | None => 1,
        });
        if nodes.fold(0_u64, u64::saturating_add) > MAX_NODES {
            return Err(too_many());
        }
        Ok(())
    }

    /// Depth first, without recursion: how deep calls nest is the model's choice.
    fn expand(
        &self,
        root: Operator<'a>,
        states: &mut HashMap<Operator<'a>, State>,
    ) -> Result<(), Refusal> {
        let mut path = vec![(root, 0_usize)];
        while let Some((function, at)) = path.pop() {
            if matches!(states.get(&function), Some(State::Nodes(_))) {
                continue;
            }
            states.insert(function, State::Open);
            let calls = self
                .calls
                .get(&function)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let open = calls[at..].iter().position(|call| {
                self.calls.contains_key(call) && !matches!(states.get(call), Some(State::Nodes(_)))
            });
            match open {
                Some(step) => {
                    let call = calls[at + step];
                    if matches!(states.get(&call), Some(State::Open)) {
                        return Err(because(format!(
                            "its function '{}' calls itself",
                            shorten(call.1)
                        )));
                    }
                    path.push((function, at + step));
                    path.push((call, 0));
                }
                None => {
                    let nodes = calls.iter().map(|call| match states.get(call) {
                        Some(State::Nodes(count)) => *count,
                        Some(State::Open) | None => 1,
                    });
                    // An empty function costs its call.
                    let count = nodes.fold(0_u64, u64::saturating_add).max(1);
                    if count > MAX_NODES {
                        return Err(too_many());
                    }
                    states.insert(function, State::Nodes(count));
                }
            }
        }
        Ok(())
    }
}

fn too_many() -> Refusal {
    because(format!(
        "its functions unfold to more than {MAX_NODES} nodes"
    ))
}
