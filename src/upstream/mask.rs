//! The upstream's own words, made fit to be shown: short, printable, and without what could be a phone
//! number, an email address or a key. It masks too much rather than too little.

/// The most characters of an unknown text that a caller sees.
const MOST: usize = 300;
/// Fewer digits are a count, a status or a year.
const NUMBER: usize = 6;
/// The shortest run of letters and digits mixed that may be a key, and the shortest run of any kind.
const MIXED_KEY: usize = 12;
const ANY_KEY: usize = 32;

/// At most 300 printable characters of `text`, masked.
pub(super) fn mask(text: &str) -> String {
    // What is cut off must be cut off after masking: half an email address is no email address.
    let head: String = text.chars().take(MOST * 8).map(|c| if is_printable(c) { c } else { ' ' }).collect();
    let mut words = Vec::new();
    for word in head.split_whitespace() {
        let at_sign = word.contains(['@', '\u{ff20}']) || word.to_ascii_lowercase().contains("%40");
        words.push(if at_sign { "[email]".to_owned() } else { keys(word) });
    }
    numbers(&words.join(" ")).chars().take(MOST).collect()
}

/// Letters, digits and ASCII's own signs: no control, no invisible, no direction-changing character.
fn is_printable(c: char) -> bool {
    c.is_alphanumeric()
        || c.is_ascii_graphic()
        || matches!(c, '\u{2010}'..='\u{201f}' | '\u{2026}' | '\u{ff20}')
}

/// Masks each run of key characters in a word that is too long or too mixed for a word.
fn keys(word: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in word.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '=' | '%') => run.push(c),
            _ => {
                let mixed =
                    run.chars().any(|c| c.is_ascii_digit()) && run.chars().any(|c| c.is_ascii_alphabetic());
                if (mixed && run.len() >= MIXED_KEY) || run.len() >= ANY_KEY {
                    out.push_str("[key]");
                } else {
                    out.push_str(&run);
                }
                run.clear();
                out.extend(c);
            }
        }
    }
    out
}

/// Masks each run of digits, together with what people put between the digits of a phone number.
fn numbers(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().map(Some).chain([None]) {
        match c {
            Some(c)
                if c.is_numeric()
                    || matches!(c, ' ' | '-' | '+' | '(' | ')' | '.' | '/' | '\u{2010}'..='\u{2015}') =>
            {
                run.push(c);
            }
            _ => {
                if run.chars().filter(|c| c.is_numeric()).count() >= NUMBER {
                    let digits = run.trim_matches(|c: char| !c.is_numeric());
                    let begin = run.len() - run.trim_start_matches(|c: char| !c.is_numeric()).len();
                    let (before, after) = (&run[..begin], &run[begin + digits.len()..]);
                    out.push_str(before);
                    out.push_str("[number]");
                    out.push_str(after);
                } else {
                    out.push_str(&run);
                }
                run.clear();
                out.extend(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_phone_number_an_email_or_a_key_is_masked() {
        for (text, shown) in [
            ("number +55 (11) 99999-9999 is bad", "number +[number] is bad"),
            ("number 5511999999999", "number [number]"),
            ("jane@example.com is taken", "[email] is taken"),
            ("mail=<jane@example.com>", "[email]"),
            ("jane%40example.com", "[email]"),
            ("key sk_live_51abcDEF", "key [key]"),
            ("message clx1a2b3c4d5e6f7g8h9i0jkl: gone", "message [key]: gone"),
            ("\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}", "[number]"),
            ("schedule.timezone (IANA) is required", "schedule.timezone (IANA) is required"),
            ("at most 100 items", "at most 100 items"),
            ("a\u{202e}b\u{0}\nc", "a b c"),
        ] {
            assert_eq!(mask(text), shown, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_at_most_300_printable_characters(text in "\\PC{0,2000}|[\\x00-\\x7f]{0,2000}") {
            let shown = mask(&text);
            prop_assert!(shown.chars().count() <= 300);
            prop_assert!(shown.chars().all(|c| c == ' ' || is_printable(c)));
        }

        #[test]
        fn no_phone_number_survives(
            digits in "[0-9]{7,15}", before in "[a-z :,]{0,400}", after in "[a-z :,]{0,20}",
        ) {
            let shown = mask(&format!("{before}{digits}{after}"));
            prop_assert!(!shown.contains(&digits), "{shown}");
            prop_assert!(shown.chars().filter(char::is_ascii_digit).count() < NUMBER, "{shown}");
        }
    }
}
