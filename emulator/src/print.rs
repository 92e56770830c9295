//! `printf`'s formats, as CUDA takes them: `%[flags][width][.precision][size]type`.

/// What a format's arguments are read from.
pub(crate) trait Arguments {
    type Error;
    /// The next argument, of 4 or 8 bytes.
    fn word(&mut self) -> Result<u32, Self::Error>;
    fn long(&mut self) -> Result<u64, Self::Error>;
    /// The text at an address.
    fn text(&mut self, address: u64) -> Result<Vec<u8>, Self::Error>;
}

/// The arguments that one call may have. Conversions after them are printed as they stand.
const MAX_ARGUMENTS: i32 = 32;
/// The widest that a field may be made, to bound what a format can ask for.
const MAX_WIDTH: usize = 1 << 15;

/// A conversion, without its type.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    /// The bytes of an integer: 1, 2, 4 or 8.
    size: u32,
}

/// The text that a format makes of arguments, and how many of them it took.
pub(crate) fn print<A: Arguments>(format: &[u8], mut arguments: A) -> Result<(Vec<u8>, i32), A::Error> {
    let (mut out, mut taken, mut rest) = (Vec::new(), 0, format);
    while let Some(start) = rest.iter().position(|&byte| byte == b'%') {
        out.extend_from_slice(&rest[..start]);
        rest = &rest[start..];
        let (spec, stars, length, kind) = parse(rest);
        let conversion = &rest[..length];
        rest = &rest[length..];
        let Some(kind) = kind else {
            // Not a conversion: it stands for itself.
            out.extend_from_slice(conversion);
            continue;
        };
        if kind == b'%' {
            out.push(b'%');
            continue;
        }
        if taken + 1 + stars.count() > MAX_ARGUMENTS {
            out.extend_from_slice(conversion);
            continue;
        }
        let mut spec = spec;
        if stars.width {
            let width = arguments.word()? as i32;
            spec.left |= width < 0;
            spec.width = width.unsigned_abs() as usize;
        }
        if stars.precision {
            spec.precision = usize::try_from(arguments.word()? as i32).ok();
        }
        spec.width = spec.width.min(MAX_WIDTH);
        spec.precision = spec.precision.map(|precision| precision.min(MAX_WIDTH));
        taken += 1 + stars.count();
        convert(&mut out, spec, kind, &mut arguments)?;
    }
    out.extend_from_slice(rest);
    Ok((out, taken))
}

/// Which of width and precision are arguments.
#[derive(Debug, Default, Clone, Copy)]
struct Stars {
    width: bool,
    precision: bool,
}

impl Stars {
    fn count(self) -> i32 {
        i32::from(self.width) + i32::from(self.precision)
    }
}

/// Reads a conversion that starts with `%`: what it says, its length, and its type if it has a known one.
fn parse(text: &[u8]) -> (Spec, Stars, usize, Option<u8>) {
    let (mut spec, mut stars, mut at) = (Spec { size: 4, ..Spec::default() }, Stars::default(), 1);
    let number = |at: &mut usize| {
        let mut value = 0usize;
        while let Some(digit) = text.get(*at).filter(|byte| byte.is_ascii_digit()) {
            value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            *at += 1;
        }
        value
    };
    while let Some(flag) = text.get(at) {
        match flag {
            b'-' => spec.left = true,
            b'+' => spec.plus = true,
            b' ' => spec.space = true,
            b'#' => spec.alternate = true,
            b'0' => spec.zero = true,
            _ => break,
        }
        at += 1;
    }
    if text.get(at) == Some(&b'*') {
        stars.width = true;
        at += 1;
    } else {
        spec.width = number(&mut at);
    }
    if text.get(at) == Some(&b'.') {
        at += 1;
        if text.get(at) == Some(&b'*') {
            stars.precision = true;
            at += 1;
        } else {
            spec.precision = Some(number(&mut at));
        }
    }
    let start = at;
    while let Some(b'h' | b'l' | b'z' | b'j' | b't') = text.get(at) {
        at += 1;
    }
    spec.size = match &text[start..at] {
        b"" => 4,
        b"h" => 2,
        b"hh" => 1,
        _ => 8,
    };
    let kind = text.get(at).copied().filter(|kind| b"%diuoxXcspfFeEgGaA".contains(kind));
    (spec, stars, at + usize::from(kind.is_some()), kind)
}

fn convert<A: Arguments>(out: &mut Vec<u8>, spec: Spec, kind: u8, arguments: &mut A) -> Result<(), A::Error> {
    match kind {
        b'd' | b'i' => {
            let value = if spec.size == 8 { arguments.long()? as i64 } else { i64::from(arguments.word()? as i32) };
            let value = match spec.size {
                1 => i64::from(value as i8),
                2 => i64::from(value as i16),
                _ => value,
            };
            let sign = sign(spec, value < 0);
            integer(out, spec, sign, &value.unsigned_abs().to_string(), value == 0);
        }
        b'u' | b'o' | b'x' | b'X' => {
            let value = if spec.size == 8 { arguments.long()? } else { u64::from(arguments.word()?) };
            let value = match spec.size {
                1 => value & 0xff,
                2 => value & 0xffff,
                _ => value,
            };
            let (prefix, mut digits) = match kind {
                b'u' => ("", value.to_string()),
                b'o' => ("", format!("{value:o}")),
                b'x' => (if spec.alternate && value != 0 { "0x" } else { "" }, format!("{value:x}")),
                _ => (if spec.alternate && value != 0 { "0X" } else { "" }, format!("{value:X}")),
            };
            if kind == b'o' && spec.alternate && spec.precision.unwrap_or(0) <= digits.len() && value != 0 {
                digits.insert(0, '0');
            }
            // `%#.0o` of 0 is "0"
            let empty = value == 0 && !(kind == b'o' && spec.alternate);
            integer(out, spec, prefix, &digits, empty);
        }
        b'c' => {
            let character = arguments.word()? as u8;
            pad(out, spec, "", &[character], false);
        }
        b's' => {
            let address = arguments.long()?;
            let mut text = if address == 0 { b"(null)".to_vec() } else { arguments.text(address)? };
            text.truncate(spec.precision.unwrap_or(usize::MAX));
            pad(out, spec, "", &text, false);
        }
        b'p' => {
            let address = arguments.long()?;
            if address == 0 {
                pad(out, spec, "", b"(nil)", false);
            } else {
                integer(out, spec, "0x", &format!("{address:x}"), false);
            }
        }
        _ => {
            let value = f64::from_bits(arguments.long()?);
            floating(out, spec, kind, value);
        }
    }
    Ok(())
}

fn sign(spec: Spec, negative: bool) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

/// Digits with at least as many as the precision says. `zero` says that they are a zero, of which a precision of 0
/// leaves nothing.
fn integer(out: &mut Vec<u8>, spec: Spec, prefix: &str, digits: &str, zero: bool) {
    let digits = match spec.precision {
        Some(0) if zero => String::new(),
        Some(precision) => format!("{digits:0>precision$}"),
        None => digits.to_owned(),
    };
    // A precision makes the flag `0` mean nothing.
    pad(out, spec, prefix, digits.as_bytes(), spec.zero && spec.precision.is_none());
}

/// Makes a field as wide as it has to be, with zeros after the prefix or spaces on one side.
fn pad(out: &mut Vec<u8>, spec: Spec, prefix: &str, text: &[u8], zeros: bool) {
    let missing = spec.width.saturating_sub(prefix.len() + text.len());
    let spaces = |out: &mut Vec<u8>| out.extend(std::iter::repeat_n(b' ', missing));
    if !spec.left && !zeros {
        spaces(out);
    }
    out.extend_from_slice(prefix.as_bytes());
    if !spec.left && zeros {
        out.extend(std::iter::repeat_n(b'0', missing));
    }
    out.extend_from_slice(text);
    if spec.left {
        spaces(out);
    }
}

fn floating(out: &mut Vec<u8>, spec: Spec, kind: u8, value: f64) {
    let sign = sign(spec, value.is_sign_negative());
    let magnitude = value.abs();
    let (prefix, mut text) = match kind.to_ascii_lowercase() {
        _ if !value.is_finite() => ("", if value.is_nan() { "nan".to_owned() } else { "inf".to_owned() }),
        b'f' => ("", fixed(magnitude, spec.precision.unwrap_or(6), spec.alternate)),
        b'e' => ("", exponential(magnitude, spec.precision.unwrap_or(6), spec.alternate)),
        b'a' => ("0x", hexadecimal(magnitude, spec.precision, spec.alternate)),
        _ => ("", general(magnitude, spec)),
    };
    let mut prefix = format!("{sign}{prefix}");
    if kind.is_ascii_uppercase() {
        prefix.make_ascii_uppercase();
        text.make_ascii_uppercase();
    }
    pad(out, spec, &prefix, text.as_bytes(), spec.zero && value.is_finite());
}

fn fixed(value: f64, precision: usize, point: bool) -> String {
    let text = format!("{value:.precision$}");
    if precision == 0 && point { text + "." } else { text }
}

/// `d.ddde±dd`
fn exponential(value: f64, precision: usize, point: bool) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let point = if precision == 0 && point { "." } else { "" };
    format!("{digits}{point}e{sign}{exponent:0>2}")
}

/// `%g`: the shorter of the two others, with as many significant digits as the precision says.
fn general(value: f64, spec: Spec) -> String {
    let precision = spec.precision.unwrap_or(6).max(1);
    let rounded = format!("{value:.*e}", precision - 1);
    let exponent: i64 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let fixed_point = (-4..precision as i64).contains(&exponent);
    let text = if fixed_point {
        fixed(value, (precision as i64 - 1 - exponent) as usize, spec.alternate)
    } else {
        exponential(value, precision - 1, spec.alternate)
    };
    if spec.alternate || !text.contains('.') {
        return text;
    }
    let (digits, exponent) = text.find('e').map_or((&text[..], ""), |at| text.split_at(at));
    format!("{}{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// `h.hhhp±d`, after `0x`. Without a precision, as many digits as are needed.
fn hexadecimal(value: f64, precision: Option<usize>, point: bool) -> String {
    const FRACTION: u32 = 52;
    let bits = value.to_bits();
    let (mut fraction, biased) = (bits & ((1 << FRACTION) - 1), (bits >> FRACTION) as i64);
    let exponent = match (biased, fraction) {
        (0, 0) => 0,
        (0, _) => -1022,
        _ => biased - 1023,
    };
    let mut whole = u64::from(biased != 0);
    let digits = match precision {
        Some(precision) if precision < 13 => {
            // Rounded to even at the last digit that is kept.
            let dropped = FRACTION - 4 * precision as u32;
            let all = whole << FRACTION | fraction;
            let (kept, rest, half) = (all >> dropped, all & ((1 << dropped) - 1), 1u64 << (dropped - 1));
            let rounded = (kept + u64::from(rest > half || rest == half && kept & 1 == 1)) << dropped;
            (whole, fraction) = (rounded >> FRACTION, rounded & ((1 << FRACTION) - 1));
            format!("{fraction:013x}")[..precision].to_owned()
        }
        Some(precision) => format!("{:0<precision$}", format!("{fraction:013x}")),
        None => format!("{fraction:013x}").trim_end_matches('0').to_owned(),
    };
    let point = if digits.is_empty() && !point { "" } else { "." };
    format!("{whole}{point}{digits}p{exponent:+}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments from a list, of which each is one word or one long.
    struct List<'l>(std::slice::Iter<'l, u64>);

    impl Arguments for List<'_> {
        type Error = &'static str;
        fn word(&mut self) -> Result<u32, Self::Error> {
            self.0.next().map(|value| *value as u32).ok_or("too few arguments")
        }
        fn long(&mut self) -> Result<u64, Self::Error> {
            self.0.next().copied().ok_or("too few arguments")
        }
        fn text(&mut self, address: u64) -> Result<Vec<u8>, Self::Error> {
            if address == 77 { Ok(b"seventy-seven".to_vec()) } else { Err("a bad address") }
        }
    }

    fn printed(format: &str, arguments: &[u64]) -> (String, i32) {
        let (text, count) = print(format.as_bytes(), List(arguments.iter())).unwrap();
        (String::from_utf8(text).unwrap(), count)
    }

    /// What the C library makes of one argument.
    #[cfg(target_env = "gnu")]
    fn of_c_library(format: &str, argument: impl FnOnce(*mut u8, usize, *const u8) -> i32) -> String {
        let format = format!("{format}\0");
        let mut text = vec![0; 4096];
        let length = argument(text.as_mut_ptr(), text.len(), format.as_ptr());
        text.truncate(length as usize);
        String::from_utf8(text).unwrap()
    }

    /// Every combination of flags with some widths and precisions.
    #[cfg(target_env = "gnu")]
    fn specs() -> impl Iterator<Item = String> {
        let flags = (0..32).map(|bits| {
            let flags = "-+ #0".chars().enumerate().filter(move |(n, _)| bits >> n & 1 == 1);
            flags.map(|(_, flag)| flag).collect::<String>()
        });
        flags.flat_map(|flags| {
            ["", "1", "8", "30"].into_iter().flat_map(move |width| {
                let flags = flags.clone();
                ["", ".", ".0", ".1", ".3", ".10", ".25"].map(|precision| format!("%{flags}{width}{precision}"))
            })
        })
    }

    /// Whether rounding makes a number have one digit more, after which the C library leaves out the zeros of `%#g`.
    #[cfg(target_env = "gnu")]
    fn carries(spec: &str, real: f64) -> bool {
        let precision = spec.split_once('.').map_or(6, |(_, digits)| digits.parse().unwrap_or(0)).max(1);
        let exponent = |text: String| text.split_once('e').map(|(_, exponent)| exponent.to_owned());
        exponent(format!("{:.*e}", precision - 1, real)) != exponent(format!("{real:e}"))
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn numbers_are_as_the_c_library_prints_them() {
        unsafe extern "C" {
            fn snprintf(text: *mut u8, length: usize, format: *const u8, ...) -> i32;
        }
        let reals =
            [0.0, -0.0, 1.0, -1.5, 0.1, 2.5, 3.5, 1e-5, 123_456.789, 999_999.5, 1e6, 1e15, 1e100, -1e-100, 5e-324];
        let reals =
            reals.into_iter().chain([f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.000_099_999_999, 9.5]);
        let reals: Vec<f64> = reals.chain([1.0 / 3.0, 2.0f64.next_down(), 2.0f64.powi(-1074) * 3.0]).collect();
        let integers = [0, 1, 7, 8, 255, 256, 65535, 70_000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 40, u64::MAX];
        for spec in specs() {
            for kind in ["f", "e", "g", "a", "F", "E", "G", "A"] {
                let format = format!("{spec}{kind}|");
                for &real in &reals {
                    if spec.contains('#') && kind.eq_ignore_ascii_case("g") && carries(&spec, real) {
                        continue;
                    }
                    // SAFETY: the text has room, and the format takes one number.
                    let call = |text, length, format| unsafe { snprintf(text, length, format, real) };
                    assert_eq!(printed(&format, &[real.to_bits()]).0, of_c_library(&format, call), "{format} {real:e}");
                }
            }
            for kind in ["d", "i", "u", "x", "X", "o", "hd", "hu", "hhd", "hhx", "ld", "lu", "llx", "lo", "zu"] {
                let format = format!("{spec}{kind}|");
                for &value in &integers {
                    // SAFETY: as above; a short number is the low half of a long one.
                    let call = |text, length, format| unsafe { snprintf(text, length, format, value) };
                    assert_eq!(printed(&format, &[value]).0, of_c_library(&format, call), "{format} {value}");
                }
            }
        }
    }

    #[test]
    fn text_characters_and_stars() {
        assert_eq!(
            printed("%s|%15s|%-15s|%.4s", &[77, 77, 77, 77]).0,
            "seventy-seven|  seventy-seven|seventy-seven  |seve"
        );
        assert_eq!(printed("%c%3c%-3c.", &[65, 66, 67]), ("A  BC  .".to_owned(), 3));
        assert_eq!(printed("%*d|%-*d|%.*f|%*.*e", &[5, 1, 4, 2, 1, 2.55f64.to_bits(), 9, 1, 10.0f64.to_bits()]).1, 9);
        assert_eq!(printed("%*d|", &[(-4i32) as u64, 9]).0, "9   |");
        assert_eq!(printed("%.*f", &[(-1i32) as u64, 1.0f64.to_bits()]).0, "1.000000");
        assert_eq!(printed("%p %p %10s.", &[0xabc, 0, 0]), ("0xabc (nil)     (null).".to_owned(), 3));
        assert_eq!(print(b"%s", List([5].iter())), Err("a bad address"));
        assert_eq!(print(b"%d %d", List([5].iter())), Err("too few arguments"));
    }

    #[test]
    fn what_is_no_conversion_stands_for_itself() {
        for text in ["", "100%", "%", "%y", "%-5", "%5.", "%ll", "%#q %!"] {
            assert_eq!(printed(text, &[]), (text.to_owned(), 0));
        }
        assert_eq!(printed("%%%d%%", &[3]), ("%3%".to_owned(), 1));
        // More than 32 arguments are not looked at.
        let (text, count) = printed(&"%d".repeat(40), &[1; 40]);
        assert_eq!((text, count), ("1".repeat(32) + &"%d".repeat(8), 32));
        // A width that nobody means is not taken at its word.
        assert_eq!(printed("%99999999999999999999999d", &[1]).0.len(), MAX_WIDTH);
        assert_eq!(printed("%.2147483647f", &[0]).0.len(), MAX_WIDTH + 2);
    }
}
