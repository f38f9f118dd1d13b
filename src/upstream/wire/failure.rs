//! Error bodies: whatever texts for people are in them, the most likely one first.

use serde_json::Value;

/// Larger bodies are a proxy's page, not an error of this API.
const LARGEST: usize = 64 * 1024;
/// Enough for an array of validation messages.
const MOST: usize = 20;

/// The texts of an error body: `{error,message}`, with `message` a text or an array, `{error:{message}}`,
/// `{errors:[...]}`, problem+json, or bare text. HTML is not shown to anyone.
pub(in crate::upstream) fn texts(body: &[u8]) -> Vec<String> {
    if body.len() > LARGEST {
        return Vec::new();
    }
    let mut texts = Vec::new();
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => collect(&value, 0, &mut texts),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            if !text.is_empty() && !text.starts_with(['<', '{', '[']) {
                texts.push(text.to_owned());
            }
        }
    }
    texts
}

fn collect(value: &Value, depth: u8, texts: &mut Vec<String>) {
    if texts.len() >= MOST || depth > 3 {
        return;
    }
    match value {
        Value::String(text) if !text.trim().is_empty() => texts.push(text.trim().to_owned()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, depth + 1, texts)),
        Value::Object(object) => {
            for key in ["message", "detail", "errors", "error", "title"] {
                if let Some(value) = object.get(key) {
                    collect(value, depth + 1, texts);
                }
            }
        }
        _ => {}
    }
}
