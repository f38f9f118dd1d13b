//! The page for operators: one look, no script, new every five seconds.

use std::fmt::Write as _;

use super::status::Status;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>blubash-grpc</title><style>\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:56rem;padding:0 1rem}\
h1{font-size:1.3rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}.ok{color:#1a7f37}.bad{color:#cf222e;font-weight:600}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(12rem,1fr));gap:.75rem;margin:0}\
dl div{border:1px solid #8884;border-radius:8px;padding:.6rem .8rem}dt{opacity:.75;font-size:.85rem}\
dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}td{font-variant-numeric:tabular-nums}\
</style></head><body>";

/// The most workspaces shown; those with a circuit that is not closed first.
const MOST_ROWS: usize = 100;

pub(super) fn render(status: &Status, is_ready: bool) -> String {
    let mut page = String::from(HEAD);
    let (class, word) = if is_ready { ("ok", "serving") } else { ("bad", "draining") };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<h1>blubash-grpc {} <span class=\"{class}\">{word}</span></h1>\
         <p>IANA time zones {}, up for {}</p><dl>",
        env!("CARGO_PKG_VERSION"),
        chrono_tz::IANA_TZDB_VERSION,
        duration(status.uptime_seconds),
    );
    let open = status.workspaces.iter().filter(|workspace| workspace.circuit != "closed").count();
    let calls: u64 = status.workspaces.iter().map(|workspace| workspace.calls).sum();
    let doubt = status.in_doubt.map_or_else(|| "not counted yet".to_owned(), |items| items.to_string());
    let bad = |is_bad: bool| if is_bad { "bad" } else { "" };
    for (name, value, class) in [
        ("items in doubt", doubt, bad(status.in_doubt.is_some_and(|items| items > 0))),
        ("circuits not closed", open.to_string(), bad(open > 0)),
        ("calls on their way", calls.to_string(), ""),
        ("connections", status.connections.to_string(), ""),
        ("watchers", status.watchers.to_string(), ""),
        ("campaigns polled", status.polled_campaigns.to_string(), ""),
        ("histories kept", format!("{}, {}", status.kept_histories, bytes(status.kept_history_bytes)), ""),
        ("cached answers", format!("{}, {}", status.cache_entries, bytes(status.cache_bytes)), ""),
    ] {
        let _ = write!(page, "<div><dt>{name}</dt><dd class=\"{class}\">{value}</dd></div>");
    }
    page.push_str("</dl>");
    if status.in_doubt.is_some_and(|items| items > 0) {
        page.push_str("<p>Nobody can say of the items in doubt whether they were sent: <code>blubash-grpc ledger list</code></p>");
    }
    workspaces(&mut page, status);
    page.push_str("<p><a href=\"/metrics\">metrics</a> <a href=\"/status\">status</a> <a href=\"/buildinfo\">build</a></p></body></html>");
    page
}

fn workspaces(page: &mut String, status: &Status) {
    let mut rows: Vec<_> = status.workspaces.iter().collect();
    rows.sort_by_key(|row| (row.circuit == "closed", std::cmp::Reverse(row.calls)));
    page.push_str("<h2>Workspaces</h2>");
    if rows.is_empty() {
        page.push_str("<p>None has called yet.</p>");
        return;
    }
    page.push_str("<table><tr><th>workspace<th>circuit<th>calls on their way<th>batches among them<th>polls among them</tr>");
    for row in rows.iter().take(MOST_ROWS) {
        let class = if row.circuit == "closed" { "ok" } else { "bad" };
        let _ = write!(
            page,
            "<tr><td><code>{}</code><td class=\"{class}\">{}<td>{}<td>{}<td>{}</tr>",
            row.workspace, row.circuit, row.calls, row.batches, row.polls
        );
    }
    page.push_str("</table>");
    if rows.len() > MOST_ROWS {
        let _ = write!(page, "<p>and {} more</p>", rows.len() - MOST_ROWS);
    }
}

fn duration(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::status::Workspace, *};

    #[test]
    fn what_needs_a_person_stands_out_and_comes_first() {
        let row = |workspace: &str, circuit| Workspace {
            workspace: workspace.into(),
            circuit,
            calls: 3,
            batches: 1,
            polls: 1,
        };
        let workspaces = vec![row("aaaa", "closed"), row("bbbb", "open")];
        let page = render(&Status { in_doubt: Some(7), workspaces, ..Status::default() }, false);
        assert!(page.contains("<dd class=\"bad\">7</dd>") && page.contains("ledger list"));
        assert!(page.contains("draining"));
        assert!(page.find("bbbb") < page.find("aaaa"), "the open circuit first");
        let calm = render(&Status { in_doubt: Some(0), ..Status::default() }, true);
        assert!(!calm.contains("class=\"bad\""), "{calm}");
    }
}
