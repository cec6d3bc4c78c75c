//! What is known of columns and of what a program makes of them: bounds, one value, or some of an encoder's places.

use std::rc::Rc;

use crate::column::Element;
use crate::known::Known;

/// What a filter or a file's statistics say of a column; of a column of another kind it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// Its numbers are within bounds.
    Within(Known),
    /// Each of its texts is one of these.
    OneOf(Vec<String>),
}

impl From<Known> for Fact {
    fn from(known: Known) -> Self {
        Self::Within(known)
    }
}

/// What is known of a register.
#[derive(Clone, Debug)]
pub(crate) enum Held<'a> {
    Within(Known),
    /// Bit for bit.
    Exactly(f32),
    /// The places of an encoder, ascending.
    Places(Rc<[usize]>),
    Texts(&'a [String]),
}

impl<'a> Held<'a> {
    pub(crate) const NOTHING: Self = Self::Within(Known::NOTHING);

    pub(crate) fn of_column(fact: Option<&'a Fact>, element: Option<Element>) -> Self {
        match (fact, element) {
            (Some(Fact::OneOf(texts)), Some(Element::Text)) => Self::Texts(texts),
            (Some(Fact::Within(known)), Some(Element::Float32)) => Self::of(known.cleaned()),
            (Some(Fact::Within(known)), Some(element)) if element != Element::Text => {
                Self::Within(known.cleaned())
            }
            _ => Self::NOTHING,
        }
    }

    /// Of a float; there are two zeros between zero and zero.
    pub(crate) fn of(known: Known) -> Self {
        let Known { low, high, nan } = known;
        match low == high && !nan && low.is_finite() && low != 0.0 {
            true => Self::Exactly(low),
            false => Self::Within(known),
        }
    }

    pub(crate) fn known(&self) -> Known {
        match self {
            Self::Within(known) => *known,
            Self::Exactly(value) => Known::exactly(*value),
            Self::Places(places) => match &**places {
                [first, .., last] => Known::between(*first as f32, *last as f32),
                _ => Known::NOTHING,
            },
            Self::Texts(_) => Known::NOTHING,
        }
    }
}
