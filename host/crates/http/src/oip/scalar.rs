//! Numbers from decimal text, each to the value of its type that is nearest.

use aimass_core::tensor::Element;

/// A type whose elements are JSON numbers, or `true` and `false`.
pub(super) trait Scalar: Element + serde::Serialize {
    /// Reads a whole token, whatever it holds.
    fn parse(token: &str) -> Option<Self>;
    /// The same value from plain digits, which most numbers are; `None` if only [`Self::parse`] can tell.
    fn quick(_: &Decimal) -> Option<Self> {
        None
    }
    /// Appends its little-endian bytes.
    fn append(self, out: &mut Vec<u8>);
    /// Whether JSON has a form for it.
    fn expressible(self) -> bool {
        true
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        // What the standard library's parser takes beyond JSON (a plus) is not JSON and cannot come here.
        impl Scalar for $integer {
            fn parse(token: &str) -> Option<Self> {
                token.parse().ok()
            }
            fn quick(decimal: &Decimal) -> Option<Self> {
                let value = i64::try_from(decimal.digits).ok().filter(|_| decimal.fraction.is_none())?;
                if decimal.negative { -value } else { value }.try_into().ok()
            }
            fn append(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Scalar for f64 {
    fn parse(token: &str) -> Option<Self> {
        token.parse().ok().filter(|number: &Self| number.is_finite())
    }
    fn quick(decimal: &Decimal) -> Option<Self> {
        decimal.exact()
    }
    fn append(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn expressible(self) -> bool {
        self.is_finite()
    }
}

impl Scalar for f32 {
    fn parse(token: &str) -> Option<Self> {
        token.parse().ok().filter(|number: &Self| number.is_finite())
    }
    fn quick(decimal: &Decimal) -> Option<Self> {
        // Rounding twice differs from rounding once only if the first result is halfway between two of the second
        // type: then the 29 bits that FP64 has more are 1 and zeros. The value is far from FP32's ends (1e-18 to 2^53).
        decimal.exact().filter(|number| number.to_bits() & 0x1fff_ffff != 0x1000_0000).map(|number| number as f32)
    }
    fn append(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn expressible(self) -> bool {
        self.is_finite()
    }
}

impl Scalar for bool {
    fn parse(token: &str) -> Option<Self> {
        token.parse().ok()
    }
    fn append(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
}

/// A number without an exponent and with few digits.
pub(super) struct Decimal {
    negative: bool,
    /// All digits, without the point.
    digits: u64,
    /// How many of them stand behind the point, if there is one.
    fraction: Option<usize>,
    /// How many bytes it takes.
    pub(super) length: usize,
}

impl Decimal {
    /// So many digits fit `u64` and `i64`.
    const DIGITS: usize = 18;

    /// The number at the front of `text`; `None` if it is none of these.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let negative = text.first() == Some(&b'-');
        let mut digits = 0u64;
        let mut run = |from: usize| {
            let mut at = from;
            while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
                digits = digits.wrapping_mul(10).wrapping_add(digit.into());
                at += 1;
            }
            at
        };
        let start = usize::from(negative);
        let point = run(start);
        let (length, fraction) = match text.get(point) {
            Some(b'.') => {
                let end = run(point + 1);
                (end, Some(end - point - 1))
            }
            _ => (point, None),
        };
        let count = point - start + fraction.unwrap_or(0);
        let ends = matches!(text.get(length), Some(b',' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        ((1..=Self::DIGITS).contains(&count) && ends).then_some(Self { negative, digits, fraction, length })
    }

    /// The FP64 nearest to it, where digits and power of ten are exact in FP64 and so their quotient is rounded once
    /// (Clinger, "How to read floating point numbers accurately", 1990).
    fn exact(&self) -> Option<f64> {
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19, 1e20, 1e21, 1e22,
        ];
        let power = POWERS.get(self.fraction.unwrap_or(0)).filter(|_| self.digits <= 1 << 53)?;
        let value = self.digits as f64 / power;
        Some(if self.negative { -value } else { value })
    }
}
