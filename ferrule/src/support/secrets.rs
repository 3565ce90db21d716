//! What a bug report must not hold: passwords, tokens and keys are left out, wherever they stand.

use serde_json::Value;

/// What stands in a secret's place.
const LEFT_OUT: &str = "(left out)";
/// What the names of secrets contain.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "authorization",
    "bearer",
    "psk",
];

/// Whether a value of this name is a secret: `apiKey` is one, `key` alone says nothing.
fn is_secret(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let is_key = name.ends_with("key") && name != "key" || name.ends_with("keydata");
    is_key || name == "auth" || WORDS.iter().any(|word| name.contains(word))
}

/// A text without its secrets: values of JSON by their keys, of other texts by line, and certificates'
/// keys, tokens and passwords in URLs anywhere.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value @ (Value::Object(_) | Value::Array(_))) => {
            redact(&mut value);
            serde_json::to_string_pretty(&value).map_or_else(|_| String::new(), |text| text + "\n")
        }
        _ => lines(text),
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if is_secret(name) {
                    *value = Value::String(LEFT_OUT.to_owned());
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        Value::String(text) => *text = lines(text),
        _ => {}
    }
}

fn lines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") {
            inside = !line.contains("-----END ");
            kept.push_str(&format!("{LEFT_OUT}\n"));
        } else if inside {
            inside = !line.contains("-----END ");
        } else {
            kept.push_str(&words(&assignments(line)));
        }
    }
    kept
}

/// A line without the values of secret names: `password = "x"`, `token: x`, `"apiKey": "x", …`.
fn assignments(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        let sign = &after[..1];
        kept.push_str(sign);
        rest = &after[1..];
        if is_secret(name(before)) && !rest.starts_with("//") {
            kept.push_str(&format!(" {LEFT_OUT}"));
            rest = behind_value(rest);
        }
    }
    kept.push_str(rest);
    kept
}

/// The name right before an assignment's sign.
fn name(before: &str) -> &str {
    let trimmed = before.trim_end().trim_end_matches(['"', '\'']);
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let begin = trimmed.rfind(|c| !is_part(c)).map_or(0, |at| at + 1);
    trimmed.get(begin..).unwrap_or_default()
}

/// What follows a value: it ends with its quotes, or with the line.
fn behind_value(rest: &str) -> &str {
    let value = rest.trim_start_matches([' ', '\t']);
    let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
    let end = match quote {
        Some(quote) => value[1..].find(quote).map(|end| end + 2),
        None => None,
    };
    let end = end.or_else(|| value.find('\n')).unwrap_or(value.len());
    value.get(end..).unwrap_or_default()
}

/// Tokens (JWT) and passwords in URLs.
fn words(line: &str) -> String {
    let secret = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() > 20 && word.starts_with("eyJ") && word.matches('.').count() >= 2
    };
    let keep = |word: &str| {
        let end = word.len() - word.trim_end().len();
        let (body, blank) = word.split_at(word.len() - end);
        if secret(body) { format!("{LEFT_OUT}{blank}") } else { without_password(word) }
    };
    line.split_inclusive(char::is_whitespace).map(keep).collect()
}

/// `https://user:password@host` without the two.
fn without_password(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let host = rest.split('/').next().unwrap_or(rest);
    match host.rfind('@') {
        Some(at) => format!("{scheme}://{LEFT_OUT}{}", &rest[at..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_json_go_by_their_keys() {
        let text =
            r#"{"a":{"apiToken":"s3cret","key":"net/core"},"list":[{"Password":["s3cret"]}]}"#;
        let kept = without_secrets(text);
        assert!(!kept.contains("s3cret") && kept.contains("net/core"), "{kept}");
    }

    #[test]
    fn assignments_go_by_their_names() {
        for line in [
            "password = \"s3cret\"\n",
            "md5-password: s3cret and more\n",
            "x {\"secretKey\": \"s3cret\", \"mtu\": 1}\n",
            "Authorization: Bearer s3cret\n",
            "proxy https://me:s3cret@proxy.example/x\n",
            "API_KEY=s3cret\n",
        ] {
            let kept = without_secrets(line);
            assert!(!kept.contains("s3cret") && kept.ends_with('\n'), "{line}: {kept}");
        }
        let kept = without_secrets("x {\"secretKey\": \"s3cret\", \"mtu\": 1}\n");
        assert_eq!(kept, "x {\"secretKey\": (left out), \"mtu\": 1}\n");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in
            ["mtu = 1450\n", "listen = \"127.0.0.1:9478\"\n", "fd00::1 dev eth0\n", "no end"]
        {
            assert_eq!(without_secrets(line), line);
        }
    }

    #[test]
    fn keys_and_tokens_go_wherever_they_stand() {
        let pem = "a\n-----BEGIN RSA PRIVATE KEY-----\ns3cret\n-----END RSA PRIVATE KEY-----\nb\n";
        assert_eq!(without_secrets(pem), "a\n(left out)\nb\n");
        let token = "used eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl here";
        assert_eq!(without_secrets(token), "used (left out) here");
    }
}
