//! Bounds of numbers. A comparison orders NaN by its sign, below or above all numbers, as the engine's filters do; NULL, which
//! feeds a float input as NaN, counts as both.

/// `low <= x <= high`, or NaN where a flag says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
    /// NaN that sorts below all numbers may come too.
    pub nan_below: bool,
    /// NaN that sorts above all numbers may come too.
    pub nan_above: bool,
}

impl Range {
    /// Any number, and NaN.
    pub const ALL: Self = Self {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
        nan_below: true,
        nan_above: true,
    };

    /// NaN, or what counts as such.
    pub(super) const NAN: Self = Self {
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
        nan_below: true,
        nan_above: true,
    };

    /// Numbers from `low` to `high`, both included, and no NaN.
    pub fn between(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            nan_below: false,
            nan_above: false,
        }
    }

    /// Whether NaN may come.
    pub fn nan(&self) -> bool {
        self.nan_below || self.nan_above
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
            nan_below: self.nan_below && other.nan_below,
            nan_above: self.nan_above && other.nan_above,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            nan_below: self.nan_below || other.nan_below,
            nan_above: self.nan_above || other.nan_above,
        }
    }

    pub(super) fn tells(&self) -> bool {
        *self != Self::ALL
    }

    pub(super) fn shown(&self, name: &str) -> Option<String> {
        let Self { low, high, .. } = *self;
        let bounds = match (low.is_finite(), high.is_finite()) {
            _ if low > high => {
                let what = if self.nan() {
                    "is NaN"
                } else {
                    "is never there"
                };
                return Some(format!("{name} {what}"));
            }
            (true, true) if low == high => format!("{name} = {low}"),
            (true, true) => format!("{low} <= {name} <= {high}"),
            (true, false) => format!("{name} >= {low}"),
            (false, true) => format!("{name} <= {high}"),
            (false, false) if self.nan() => return None,
            (false, false) => return Some(format!("{name} is a number")),
        };
        let nan = if self.nan() { " or NaN" } else { "" };
        Some(format!("{bounds}{nan}"))
    }
}
