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
    /// The file without its secrets and no shorter, when it had any.
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

/// Reads the text of a preseed file; with a mistake (no TOML, or the host name is none), that comes beside what could
/// be read.
pub fn parse(text: &str) -> (Preseed, Option<Error>) {
    let table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(found) => {
            let before = text.get(..found.span().map_or(0, |span| span.start)).unwrap_or_default();
            let problem = found.message().lines().collect::<Vec<_>>().join(" ");
            let fix = "write the card anew".to_owned();
            let line = before.matches('\n').count() + 1;
            let preseed = Preseed { without_secrets: unreadable(text), ..Preseed::default() };
            return (preseed, Some(Error { line, key: String::new(), problem, fix }));
        }
    };
    let notices = IGNORED.iter().filter(|(name, _)| is_meant(&table, name));
    let mut preseed = Preseed {
        host_name: None,
        notices: notices.map(|(_, notice)| format!("rpi-preseed.toml: {notice}")).collect(),
        without_secrets: None,
    };
    let mut mistake = None;
    match table.get("system").and_then(|system| system.get("hostname")) {
        None => {}
        Some(Value::String(name)) if super::raw::is_host_name(name) => preseed.host_name = Some(name.clone()),
        Some(_) => {
            let line = text.lines().position(|line| line.contains("hostname"));
            mistake = Some(Error {
                line: line.map_or(1, |line| line + 1),
                key: "system.hostname".to_owned(),
                problem: "this is no host name".to_owned(),
                fix: "write 1 to 63 letters, digits and hyphens".to_owned(),
            });
        }
    }
    if table.keys().any(|name| SECRET.contains(&name.as_str())) {
        preseed.without_secrets = Some(only_host_name(text, preseed.host_name.as_deref()));
    }
    (preseed, mistake)
}

/// What is left of a file: the host name, and a line that says why, as long as the file was.
fn only_host_name(text: &str, host_name: Option<&str>) -> String {
    let mut left = String::from("config_version = \"1.0\"\n");
    if let Some(name) = host_name {
        left.push_str(&format!("\n[system]\nhostname = \"{name}\"\n"));
    }
    left.push_str(STRUCK_OUT);
    left.push_str(&"\n".repeat(text.len().saturating_sub(left.len())));
    left
}

/// Of a file that cannot be read nothing is left: any line may be a secret. One that was struck out stays.
fn unreadable(text: &str) -> Option<String> {
    (!text.starts_with(STRUCK_OUT)).then(|| {
        // Still no TOML, so that the mistake is told at each start until the owner acts.
        format!(
            "{STRUCK_OUT}it was no TOML\n{}",
            "\n".repeat(text.len().saturating_sub(STRUCK_OUT.len() + 15))
        )
    })
}

const STRUCK_OUT: &str = "# Everything else was struck out after it was read.\n";

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

#[cfg(test)]
mod tests {
    use super::parse;

    const IMAGER: &str = "config_version = 1\n\n[system]\nhostname = \"attic\"\n\n[user]\nname = \"pi\"\n\
        password = \"$5$secret\"\npassword_encrypted = true\n\n[ssh]\nenabled = true\n\
        password_authentication = true\n\n[wlan]\nssid = \"home\"\npassword = \"\"\"\nhidden\nwords\"\"\"\n\n\
        [locale]\ntimezone = \"Europe/Berlin\"\n";

    #[test]
    fn the_host_name_counts_and_the_rest_is_named() {
        let (found, mistake) = parse(IMAGER);
        assert_eq!((found.host_name.as_deref(), mistake), (Some("attic"), None));
        assert_eq!(found.notices.len(), 4);
        assert!(found.notices[0].contains("SSH was asked for"));
        let (off, _) = parse("[ssh]\nenabled = false\n");
        assert_eq!((off.host_name, off.notices.len()), (None, 0));
    }

    /// Every way to write a secret that TOML knows; "secret" must be gone, the host name stay.
    #[test]
    fn secrets_are_struck_out_however_they_are_written() {
        let system = "[system]\nhostname = \"attic\"\n";
        for more in [
            "[user]\npassword = \"secret\"\n",
            "[\"user\"]\npassword = \"secret\"\n",
            "[wlan]\npassword = \"\"\"\n[system]\nsecret\"\"\"\n",
            "[ssh]\nauthorized_keys = [\n  \"secret\",\n]\n",
            "[connect.more]\ntoken = 'secret'\n",
        ] {
            for text in [
                format!("{system}{more}"),
                format!("{more}{system}"),
                format!("{system}{more}").replace('\n', "\r\n"),
            ] {
                let struck = parse(&text).0.without_secrets.unwrap();
                assert!(!struck.contains("secret") && struck.len() >= text.len(), "{text:?}: {struck:?}");
                let (again, mistake) = parse(&struck);
                assert_eq!((again.host_name.as_deref(), mistake), (Some("attic"), None), "{text:?}");
                assert_eq!(again.without_secrets, None);
            }
        }
        for top in [
            "wlan.password = \"secret\"\n",
            "user = { password = \"secret\" }\n",
            "\"wlan\".x = \"secret\"\n",
        ] {
            assert!(!parse(top).0.without_secrets.unwrap().contains("secret"), "{top}");
        }
        assert_eq!(parse(system).0.without_secrets, None);
    }

    /// Secrets are struck out of a file with a mistake, too.
    #[test]
    fn mistakes_are_told() {
        let (found, mistake) = parse("[system]\nhostname = \"my box\"\n[user]\npassword = \"secret\"\n");
        let mistake = mistake.unwrap().to_string();
        assert!(mistake.starts_with("line 2: system.hostname: this is no host name"), "{mistake}");
        assert!(!found.without_secrets.unwrap().contains("secret"));
        let text = "[user]\npassword = \"secret\"\nbroken\n";
        let (found, mistake) = parse(text);
        assert!(mistake.unwrap().to_string().starts_with("line 3: "));
        let struck = found.without_secrets.unwrap();
        assert!(!struck.contains("secret") && struck.len() >= text.len());
        assert!(matches!(parse(&struck), (found, Some(_)) if found.without_secrets.is_none()));
    }
}
