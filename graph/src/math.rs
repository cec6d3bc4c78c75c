//! The functions that models end with, written so that the compiler can do several numbers at once.

/// As ONNX Runtime gives it: without large arguments on the way, but small results lose their digits.
#[inline(always)]
pub(crate) fn logistic(x: f32) -> f32 {
    let positive = 1.0 / (1.0 + exp(-x.abs()));
    if x < 0.0 { 1.0 - positive } else { positive }
}

/// As LightGBM and XGBoost give it: small results keep their digits.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// e to the power of x, within two units of the last place; nothing instead of what is too small for a normal float.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LARGEST: f32 = 88.722_83;
    const SMALLEST: f32 = -87.336_54;
    // Adding and subtracting it leaves a whole number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: a whole number times the first is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(SMALLEST, LARGEST);
    let whole = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = clamped - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut sum = 1.987_569_1e-4;
    for term in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        sum = sum * rest + term;
    }
    let sum = sum * rest * rest + rest + 1.0;
    // 2^whole in two steps, since 2^128 is no float.
    let half = (whole as i32) >> 1;
    let power = |exponent: i32| f32::from_bits((exponent.wrapping_add(127) as u32) << 23);
    let scaled = sum * power(half) * power((whole as i32) - half);
    let scaled = if x > LARGEST { f32::INFINITY } else { scaled };
    let scaled = if x < SMALLEST { 0.0 } else { scaled };
    if x.is_nan() { x } else { scaled }
}

/// The probit function, in the approximation that ONNX Runtime has.
#[inline]
pub(crate) fn probit(x: f32) -> f32 {
    std::f32::consts::SQRT_2 * inverse_erf(2.0 * x - 1.0)
}

fn inverse_erf(x: f32) -> f32 {
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let first = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let second = 1.0 / 0.147 * log;
    sign * (-first + (first * first - second).sqrt()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{exp, logistic, probit, sigmoid};

    #[test]
    fn exp_is_exp() {
        let mut worst = 0.0_f64;
        for step in -17_400..17_700 {
            let x = step as f32 / 200.0;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.5e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn logistic_is_between_nothing_and_one() {
        assert_eq!(logistic(0.0), 0.5);
        assert_eq!(logistic(f32::INFINITY), 1.0);
        assert_eq!(logistic(f32::NEG_INFINITY), 0.0);
        assert!(logistic(f32::NAN).is_nan());
        assert!((logistic(-2.0) - 0.119_202_92).abs() < 1e-7);
    }

    #[test]
    fn small_probabilities_keep_their_digits() {
        for step in -8_700..2_000 {
            let x = step as f32 / 100.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let apart = (f64::from(sigmoid(x)) - exact).abs() / exact;
            assert!(apart < 5e-7, "{x}: {apart}");
        }
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn probit_is_what_onnx_runtime_says() {
        assert!((probit(0.3) + 0.524_445_9).abs() < 1e-6);
        assert_eq!(probit(0.0), f32::NEG_INFINITY);
        assert!(probit(-0.3).is_nan());
    }
}
