//! Numbers from decimal text, each to the value of its type that is nearest. Text that is no JSON number is none here.

use aimass_core::tensor::Element;

/// A type whose elements are JSON numbers, or `true` and `false`.
pub(super) trait Scalar: Element + serde::Serialize {
    /// Reads a whole token, whatever it holds; `None` if that is no JSON, or out of range.
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
        impl Scalar for $integer {
            fn parse(token: &str) -> Option<Self> {
                json_number(token)?.parse().ok()
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
        json_number(token)?.parse().ok().filter(|number: &Self| number.is_finite())
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
        json_number(token)?.parse().ok().filter(|number: &Self| number.is_finite())
    }
    fn quick(decimal: &Decimal) -> Option<Self> {
        // The quotient was rounded twice at most (digits, then the division), so it is within two units of FP64's last
        // place of the true one. Rounding it again gives FP32's nearest unless a halfway point between two FP32 lies
        // that near: there the 29 bits that FP64 has more are a 1 and zeros. It is far from FP32's ends (1e-22 to 2^63).
        let near_halfway = |number: f64| (number.to_bits() & 0x1fff_ffff).abs_diff(0x1000_0000) <= 2;
        decimal.quotient().filter(|number| !near_halfway(*number)).map(|number| number as f32)
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

/// The token, if it is a number as JSON has it: the standard library's parsers take more (a plus, bare points).
fn json_number(token: &str) -> Option<&str> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = token.strip_prefix('-').unwrap_or(token).as_bytes();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return None;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        rest = fraction.get(count..).filter(|_| count > 0)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        rest = exponent.get(count..).filter(|_| count > 0)?;
    }
    rest.is_empty().then_some(token)
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
    /// So many digits, leading zeros aside, fit `u64`.
    const DIGITS: usize = 19;

    /// The number at the front of `text`; `None` if it is none of these.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let negative = text.first() == Some(&b'-');
        let start = usize::from(negative);
        let mut digits = 0;
        let point = run(text, start, &mut digits);
        // JSON has no leading zeros.
        let whole = point - start;
        if whole == 0 || (whole > 1 && text[start] == b'0') {
            return None;
        }
        let significant = if text[start] == b'0' { 0 } else { whole };
        let (length, fraction, count) = match text.get(point) {
            Some(b'.') => {
                let end = run(text, point + 1, &mut digits);
                let fraction = &text[point + 1..end];
                if fraction.is_empty() {
                    return None;
                }
                let zeros = match significant {
                    0 => fraction.iter().take_while(|&&byte| byte == b'0').count(),
                    _ => 0,
                };
                (end, Some(fraction.len()), significant + fraction.len() - zeros)
            }
            _ => (point, None, significant),
        };
        let ends = matches!(text.get(length), Some(b',' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        (count <= Self::DIGITS && ends).then_some(Self { negative, digits, fraction, length })
    }

    /// The FP64 nearest to it, where digits and power of ten are exact in FP64 and so their quotient is rounded once
    /// (Clinger, "How to read floating point numbers accurately", 1990).
    fn exact(&self) -> Option<f64> {
        self.quotient().filter(|_| self.digits <= 1 << 53)
    }

    /// Its digits, rounded to FP64, over a power of ten that is exact in FP64, rounded to FP64.
    fn quotient(&self) -> Option<f64> {
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19, 1e20, 1e21, 1e22,
        ];
        let value = self.digits as f64 / POWERS.get(self.fraction.unwrap_or(0))?;
        Some(if self.negative { -value } else { value })
    }
}

/// Appends the digits from `at` to `digits`, wrapping, and says where they end.
fn run(text: &[u8], mut at: usize, digits: &mut u64) -> usize {
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let Some(value) = eight_digits(u64::from_le_bytes(*eight)) else { break };
        *digits = digits.wrapping_mul(100_000_000).wrapping_add(value);
        at += 8;
    }
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        *digits = digits.wrapping_mul(10).wrapping_add(digit.into());
        at += 1;
    }
    at
}

/// Eight bytes as one number, if each of them is a digit; the first is the lowest byte. Adds neighbours, then pairs, then
/// fours, in one register (Lemire, "Number parsing at a gigabyte per second", 2021).
fn eight_digits(text: u64) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A digit is 0x30 to 0x39: its upper half is 3, and still is when 6 is added.
    let upper = |value: u64| value & (0xf0 * ONES);
    if upper(text) != 0x30 * ONES || upper(text.wrapping_add(0x06 * ONES)) != 0x30 * ONES {
        return None;
    }
    let ones = text & (0x0f * ONES);
    let pairs = (ones.wrapping_mul(10) + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_numbers_are_numbers() {
        for token in ["0", "-0", "10", "1.5", "0.05", "1e5", "1E+05", "-1.25e-10"] {
            assert_eq!(json_number(token), Some(token));
            assert!(f64::parse(token).is_some());
        }
        for token in ["", "-", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "--1", "1_0", "inf", "nan", "0x1"] {
            assert_eq!(json_number(token), None, "{token}");
            assert!(Decimal::read(format!("{token},").as_bytes()).is_none(), "{token}");
        }
    }

    #[test]
    fn eight_digits_are_read_at_once() {
        let read = |text: &[u8; 8]| eight_digits(u64::from_le_bytes(*text));
        assert_eq!(read(b"12345678"), Some(12_345_678));
        assert_eq!(read(b"99999999"), Some(99_999_999));
        assert_eq!(read(b"00000001"), Some(1));
        for place in 0..8 {
            for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"12345678";
                text[place] = byte;
                assert_eq!(read(&text), None, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn the_quick_way_gives_what_the_long_way_gives() {
        // Steps through FP32's bits, and through digits near halfway points: every number that the quick way answers
        // is the standard library's.
        let (mut quick, mut all) = (0, 0);
        let mut state = 1u64;
        for _ in 0..300_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f32::from_bits((state >> 32) as u32);
            let halfway = (f64::from(value) + f64::from(f32::from_bits(value.to_bits() ^ 1))) / 2.0;
            for text in [
                f64::from(value).to_string(),
                value.to_string(),
                halfway.to_string(),
                format!("{}.{:018}", state & 7, state >> 5),
                format!("{}", state >> 1),
                format!("-0.0{}", state >> 7),
            ] {
                all += 1;
                let Some(decimal) = Decimal::read(format!("{text},").as_bytes()) else { continue };
                assert_eq!(decimal.length, text.len(), "{text}");
                if let Some(number) = f32::quick(&decimal) {
                    quick += 1;
                    assert_eq!(Some(number.to_bits()), text.parse().ok().map(f32::to_bits), "{text}");
                }
                if let Some(number) = f64::quick(&decimal) {
                    assert_eq!(Some(number.to_bits()), text.parse().ok().map(f64::to_bits), "{text}");
                }
                if let Some(number) = i64::quick(&decimal) {
                    assert_eq!(Some(number), text.parse().ok(), "{text}");
                }
            }
        }
        assert!(quick > all / 3, "{quick} of {all}");
    }
}
