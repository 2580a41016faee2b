//! The page for people: no script, no picture, nothing to load from anywhere else.

use serde_json::Value;

/// Its style sheet.
pub(super) const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:52em;margin:2em auto;padding:0 1em}\
     h1{font-size:1.4em}dt{color:#666}dd{margin:0 0 .5em}pre{background:#f4f4f4;padding:1em;overflow:auto;\
     font-size:12px}.why{font-size:1.15em}";

/// What is shown, by field of the status, in this order.
const FIELDS: [(&str, &str); 13] = [
    ("board", "Board"),
    ("version", "Version"),
    ("host_name", "Name"),
    ("addresses", "Addresses"),
    ("join", "To join its network, write in another node's configuration, below [network]: join ="),
    ("confirmed_milestone", "Newest milestone"),
    ("firewall", "Firewall"),
    ("clock", "Clock"),
    ("temperature_c", "Temperature (degrees Celsius)"),
    ("spare_hashes_per_s", "Spare computing power (hashes of proof of work a second)"),
    ("written_bytes", "Bytes written to disk since the node's start"),
    ("block_bytes", "Bytes of the blocks in them"),
    ("uptime_s", "Seconds since the start"),
];

/// The page for a status (JSON) and a log; it loads itself anew every five seconds.
pub(super) fn html(status: &str, log: &str) -> String {
    let status: Value = serde_json::from_str(status).unwrap_or_default();
    let field = |name: &str| escaped(&words(&status[name]));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Osmia</title><link rel=\"stylesheet\" href=\"style.css\">\
         <h1>Osmia: {}</h1>",
        field("state")
    );
    for (name, class) in [("why", "why"), ("what_to_do", "why")] {
        if !field(name).is_empty() {
            page.push_str(&format!("<p class=\"{class}\">{}</p>", field(name)));
        }
    }
    for kind in ["notices", "node_did"] {
        for notice in status[kind].as_array().into_iter().flatten() {
            page.push_str(&format!("<p>{}</p>", escaped(&words(notice))));
        }
    }
    page.push_str("<dl>");
    for (name, label) in FIELDS {
        if !field(name).is_empty() {
            page.push_str(&format!("<dt>{label}</dt><dd>{}</dd>", field(name)));
        }
    }
    page.push_str(&format!("</dl><h2>Log</h2><pre>{}</pre></html>\n", escaped(log)));
    page
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
