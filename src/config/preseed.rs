//! `rpi-preseed.toml`, which the Raspberry Pi Imager writes from what its user filled in.
//!
//! Only the host name means anything to a board without users and shells; everything else is named as ignored, and
//! what is secret is struck out of the file.

use toml::{Table, Value};

use super::Error;

/// What a preseed file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preseed {
    /// `system.hostname`.
    pub host_name: Option<String>,
    /// What the owner should know.
    pub notices: Vec<String>,
    /// The file without its secrets and just as long, when it had any.
    pub without_secrets: Option<String>,
}

/// Tables with what a board has no use for, and what is said about them.
const IGNORED: [(&str, &str); 5] = [
    ("ssh", "SSH was asked for: this board has none, and no shell either"),
    ("user", "a user was asked for: this board has no users and nothing to log in to"),
    ("wlan", "wireless network settings were given: this board uses its Ethernet link only"),
    ("locale", "time zone and keyboard were given: this board needs neither"),
    ("connect", "Raspberry Pi Connect was asked for: this board does not have it"),
];

/// Tables whose values may be secret.
const SECRET: [&str; 4] = ["ssh", "user", "wlan", "connect"];

/// Reads the text of a preseed file.
///
/// # Errors
/// It is no TOML, or the host name is none.
pub fn parse(text: &str) -> Result<Preseed, Error> {
    let error = |line: usize, key: &str, problem: String, fix: &str| {
        Err(Error { line, key: key.to_owned(), problem, fix: fix.to_owned() })
    };
    let table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(found) => {
            let before = text.get(..found.span().map_or(0, |span| span.start)).unwrap_or_default();
            let problem = found.message().lines().collect::<Vec<_>>().join(" ");
            return error(
                before.matches('\n').count() + 1,
                "",
                problem,
                "write the card anew, or mend the line",
            );
        }
    };
    let host_name = table.get("system").and_then(|system| system.get("hostname"));
    let host_name = match host_name {
        None => None,
        Some(Value::String(name)) if super::raw::is_host_name(name) => Some(name.clone()),
        Some(_) => {
            let line = text.lines().position(|line| line.trim_start().starts_with("hostname"));
            let fix = "write 1 to 63 letters, digits and hyphens";
            let problem = "this is no host name".to_owned();
            return error(line.map_or(1, |line| line + 1), "system.hostname", problem, fix);
        }
    };
    let notices = IGNORED.iter().filter(|(name, _)| is_meant(&table, name));
    let notices = notices.map(|(_, notice)| format!("rpi-preseed.toml: {notice}")).collect();
    Ok(Preseed { host_name, notices, without_secrets: without_secrets(text) })
}

/// A table that says nothing but "off" is not meant.
fn is_meant(table: &Table, name: &str) -> bool {
    match table.get(name) {
        None => false,
        Some(Value::Table(inner)) => {
            !inner.is_empty() && inner.get("enabled").and_then(Value::as_bool) != Some(false)
        }
        Some(_) => true,
    }
}

/// Every line of the secret tables, made a comment of the same length; `None` when there is none.
fn without_secrets(text: &str) -> Option<String> {
    let mut secret = false;
    let mut found = false;
    let line = |line: &str| {
        let body = line.trim_end_matches(['\r', '\n']);
        if let Some(name) = body.trim_start().strip_prefix('[') {
            let name = name.trim_start_matches('[').split([']', '.']).next().unwrap_or_default().trim();
            secret = SECRET.contains(&name);
        }
        let top = body.split(['.', '=']).next().unwrap_or_default().trim();
        let dotted = body.contains('=') && SECRET.contains(&top);
        // What follows `#` may be a secret that was commented out.
        let struck_out = body.trim_start_matches('#').is_empty();
        if !(secret || dotted) || struck_out {
            return line.to_owned();
        }
        found = true;
        "#".repeat(body.len()) + &line[body.len()..]
    };
    let text = text.split_inclusive('\n').map(line).collect();
    found.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::parse;

    const IMAGER: &str = "config_version = 1\n\n[system]\nhostname = \"attic\"\n\n[user]\nname = \"pi\"\n\
        password = \"$5$secret\"\npassword_encrypted = true\n\n[ssh]\nenabled = true\n\
        password_authentication = true\n\n[wlan]\nssid = \"home\"\npassword = \"\"\"\nhidden\nwords\"\"\"\n\n\
        [locale]\ntimezone = \"Europe/Berlin\"\n";

    #[test]
    fn the_host_name_counts_and_the_rest_is_named() {
        let found = parse(IMAGER).unwrap();
        assert_eq!(found.host_name.as_deref(), Some("attic"));
        assert_eq!(found.notices.len(), 4);
        assert!(found.notices[0].contains("SSH was asked for"));
        let off = parse("[ssh]\nenabled = false\n").unwrap();
        assert_eq!((off.host_name, off.notices.len()), (None, 0));
    }

    #[test]
    fn secrets_are_struck_out_in_place() {
        let struck = parse(IMAGER).unwrap().without_secrets.unwrap();
        assert_eq!(struck.len(), IMAGER.len());
        for secret in ["$5$secret", "home", "hidden", "words"] {
            assert!(IMAGER.contains(secret) && !struck.contains(secret), "{struck}");
        }
        // What is left still says the same, and has nothing more to strike out.
        let again = parse(&struck).unwrap();
        assert_eq!(again.host_name.as_deref(), Some("attic"));
        assert_eq!(again.without_secrets, None);
        let crlf = IMAGER.replace('\n', "\r\n");
        assert_eq!(parse(&crlf).unwrap().without_secrets.unwrap().len(), crlf.len());
        let dotted = parse("wlan.password = \"secret\"\n").unwrap().without_secrets.unwrap();
        assert!(!dotted.contains("secret"));
        let inline = parse("user = { password = \"secret\" }\n").unwrap().without_secrets.unwrap();
        assert!(!inline.contains("secret"));
    }

    #[test]
    fn mistakes_are_told() {
        let error = parse("config_version = 1\n[system]\nhostname = \"my box\"\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: system.hostname: this is no host name"), "{error}");
        assert!(parse("a = \n").unwrap_err().to_string().starts_with("line 1: "));
    }
}
