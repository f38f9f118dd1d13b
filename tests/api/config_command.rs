//! The layers of configuration and `blubash-grpc config`, by the real binary.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Running, command, run};

/// A folder with a file of settings; the command runs in it, without variables of others.
struct Desk {
    folder: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Desk {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("config.toml"), text).unwrap();
        Self { folder, variables: Vec::new() }
    }

    fn with(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.variables = variables.into();
        self
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Exit code, stdout, stderr.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = command(arguments);
        command.current_dir(&self.folder).env("XDG_STATE_HOME", self.folder.path());
        let output = command.envs(self.variables.clone()).stdin(Stdio::null()).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Each setting as `config print` has it: value and origin.
    async fn print(&self, arguments: &[&str]) -> BTreeMap<String, (Value, String)> {
        let (code, out, said) = self.run(&[&["config", "print", "--output=json"], arguments].concat()).await;
        assert_eq!(code, 0, "{said}");
        let lines: Vec<Value> = serde_json::from_str(&out).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        lines
            .iter()
            .map(|line| {
                let path = line.get("path").map(|path| format!(" {}", text(path))).unwrap_or_default();
                (text(&line["setting"]), (line["value"].clone(), text(&line["origin"]) + &path))
            })
            .collect()
    }
}

/// A setting of each type: its default, and what file, environment and flag say.
const TYPES: [(&str, Option<&str>, [&str; 3]); 7] = [
    ("poll-interval", Some("2s"), ["3s", "4s", "5s"]),
    ("cache-max-bytes", Some("64MiB"), ["3MiB", "4MiB", "5MiB"]),
    ("poll-rate", Some("40"), ["3", "4", "5"]),
    ("upstream-batches", Some("unproven"), ["atomic", "unproven", "atomic"]),
    ("sandbox-frozen", Some("false"), ["true", "false", "true"]),
    ("port-file", None, ["a", "b", "c"]),
    ("upstream-rate", None, ["3", "4", "5"]),
];

#[tokio::test]
async fn a_flag_outweighs_the_environment_that_the_file_and_that_the_default() {
    let variables = TYPES.map(|(name, _, [_, said, _])| {
        (&*format!("BLUBASH_{}", name.to_uppercase().replace('-', "_")).leak(), said)
    });
    let file = TYPES.map(|(name, _, [said, ..])| format!("{name} = \"{said}\"\n")).concat();
    let flags = TYPES.map(|(name, _, [.., said])| format!("--{name}={said}"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (config, desk) = (["--config=config.toml"], Desk::new(&file));
    let layers = [
        (desk.print(&[]).await, "default"),
        (desk.print(&config).await, "file config.toml"),
        (Desk::new(&file).with(&variables).print(&config).await, "environment"),
        (Desk::new(&file).with(&variables).print(&[&config, &flags[..]].concat()).await, "flag"),
    ];
    for (place, (layer, origin)) in layers.iter().enumerate() {
        for (name, default, said) in TYPES {
            let expected = if place == 0 { default } else { Some(said[place - 1]) };
            assert_eq!(layer[name], (expected.into(), (*origin).to_owned()), "{name}");
        }
    }
}

#[tokio::test]
async fn numbers_and_booleans_stand_in_the_file_as_such_and_a_variable_can_say_no() {
    let desk = Desk::new("poll-rate = 7\nsandbox = true\n");
    let print = desk.print(&["--config=config.toml"]).await;
    assert_eq!(print["poll-rate"], ("7".into(), "file config.toml".into()));
    assert_eq!(print["sandbox"], ("true".into(), "file config.toml".into()));
    let desk = desk.with(&[("BLUBASH_SANDBOX", "no"), ("BLUBASH_CONFIG", "config.toml")]);
    assert_eq!(desk.print(&[]).await["sandbox"], ("no".into(), "environment".into()));
    assert_eq!(desk.print(&["--sandbox"]).await["sandbox"], ("true".into(), "flag".into()));
}

#[tokio::test]
async fn serve_has_the_settings_that_the_file_says() {
    let desk = Desk::new("sandbox = true\nlisten = \"127.0.0.1:0\"\nadmin-listen = \"127.0.0.1:0\"\n");
    let server = Running::start(&["serve", "--config", &desk.path("config.toml")]).await;
    assert!(server.said.contains("SANDBOX") && server.said.contains("admin port"), "{}", server.said);
}

#[tokio::test]
async fn all_that_cannot_be_used_is_told_at_once_by_where_it_was_said() {
    let file = "poll-intervall = \"2s\"\ndoubt-limit = 0\nbatch-max-age = \"11s\"\nlog-format = \"xml\"\n\
                drain-delay = 3\nlisten = [1]\n";
    let variables = [
        ("BLUBASH_POLL_RATE", "canary"),
        ("BLUBASH_CACHE_MOVING_FOR", "2h"),
        ("BLUBASH_CONFIG", "config.toml"),
        ("BLUBASH_POL_INTERVAL", "canary"),
    ];
    let desk = Desk::new(file).with(&variables);
    let flags = ["--batch-max-items=0", "--resume-window=25h", "--upstream-url=ftp://x"];
    let lines = [
        ("in config.toml: poll-intervall: ", "did you mean poll-interval?"),
        ("in config.toml: doubt-limit: ", "1..=1000000000"),
        ("in config.toml: batch-max-age: ", "between 0s and 10s"),
        ("in config.toml: log-format: ", "text, json"),
        ("in config.toml: drain-delay: ", "time unit"),
        ("in config.toml: listen: ", "one value"),
        ("BLUBASH_POLL_RATE: ", "digit"),
        ("BLUBASH_CACHE_MOVING_FOR: ", "between 0s and 1h"),
        ("--batch-max-items: ", "1..=10000"),
        ("--resume-window: ", "between 0s and 24h"),
        ("--upstream-url: ", "https://"),
    ];
    for command in [&["serve"][..], &["config", "check"]] {
        let (code, out, said) = desk.run(&[command, &flags].concat()).await;
        // A wrong value on the command line is wrong usage.
        assert_eq!((code, out.as_str()), (2, ""), "{said}");
        for (place, word) in lines {
            let of_place: Vec<_> = said.lines().filter(|line| line.trim().starts_with(place)).collect();
            assert_eq!(of_place.len(), 1, "{place}: {said}");
            assert!(of_place[0].contains(word), "{word}: {said}");
        }
        assert_eq!(said.lines().filter(|line| line.starts_with("  ")).count(), lines.len(), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
    let (code, _, said) = desk.run(&["config", "check"]).await;
    assert_eq!(code, 1, "{said}");
}

#[tokio::test]
async fn what_only_follows_from_a_wrong_value_is_not_told() {
    // Below the default pace, but not below the one that was meant.
    let desk = Desk::new("poll-interval = \"1\"\npoll-interval-idle = \"1s\"\n");
    let (code, _, said) = desk.run(&["config", "check", "--config=config.toml"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("config.toml: poll-interval: ") && !said.contains("poll-interval-idle"), "{said}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_refused_with_its_line_and_without_its_words() {
    for (text, parts) in [
        ("a = 1\ncanary", ["config.toml is not TOML", "line 2"]),
        ("4ca0acanary4ca0a\n", ["config.toml is not TOML", "line 1"]),
        ("api-key = \"canary\"", ["in config.toml: api-key", "no such setting"]),
        ("config = \"canary\"", ["in config.toml: config", "no such setting"]),
        ("[upstream]\nrate = \"canary\"", ["in config.toml: upstream", "no such setting"]),
        ("[ledger]\nx = \"canary\"", ["in config.toml: ledger", "a text in quotes"]),
    ] {
        for command in [&["serve"][..], &["config", "check"], &["config", "print"], &["ledger", "list"]] {
            let (code, out, said) = Desk::new(text).run(&[command, &["--config=config.toml"]].concat()).await;
            assert_eq!((code, out.as_str()), (1, ""), "{command:?} {text}: {said}");
            assert!(parts.iter().all(|part| said.contains(part)), "{command:?} {text}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
    let desk = Desk::new("").with(&[("BLUBASH_CONFIG", "not-there.toml")]);
    let (code, _, said) = desk.run(&["serve"]).await;
    assert!(code == 1 && said.contains("BLUBASH_CONFIG: cannot read not-there.toml"), "{said}");
}

#[tokio::test]
async fn check_says_ok_binds_nothing_and_makes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = format!(
        "listen = \"{0}\"\nadmin-listen = \"{0}\"\nledger = \"file:new/ledger.redb\"\nport-file = \"port\"\n",
        taken.local_addr().unwrap()
    );
    let desk = Desk::new(&file);
    for more in [&[][..], &["--sandbox"]] {
        let (code, out, said) =
            desk.run(&[&["config", "check", "--config=config.toml"], more].concat()).await;
        assert_eq!((code, out.as_str(), said.as_str()), (0, "ok\n", ""));
    }
    let left: Vec<_> = fs::read_dir(&desk.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["config.toml"]);
}

#[tokio::test]
async fn check_reads_the_files_of_secrets_too() {
    let desk = Desk::new("ledger = \"file:ledger.redb\"\nworkspace-keys-file = \"keys\"\n");
    fs::write(desk.path("ledger.redb"), "").unwrap();
    fs::write(desk.path("keys"), "canary canary\n").unwrap();
    let check = ["config", "check", "--config=config.toml"];
    let desk = desk.with(&[("OTEL_TRACES_EXPORTER", "console")]);
    let (code, out, said) = desk.run(&check).await;
    assert_eq!((code, out.as_str()), (1, ""));
    for part in
        ["config.toml: workspace-keys-file: ", "chmod 600", "not its secret secret", "OTEL_TRACES_EXPORTER"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let desk = desk.with(&[]);
    fs::set_permissions(desk.path("keys"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(desk.path("secret"), "canary").unwrap();
    fs::set_permissions(desk.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let (code, _, said) = desk.run(&check).await;
    assert!(code == 1 && said.contains("line 1") && said.contains("64 hex digits"), "{said}");
    fs::write(desk.path("keys"), "canary other\n").unwrap();
    fs::write(desk.path("secret"), "ca".repeat(32)).unwrap();
    let (code, out, said) = desk.run(&check).await;
    assert_eq!((code, out.as_str()), (0, "ok\n"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn what_print_writes_as_toml_reads_back_to_the_same_settings() {
    let file = "ledger = \"file:/a b/\\\"c\\\\d\\\"\\u007f#.redb\"\nsandbox = true\nupstream-rate = 50\n\
                secret-file = \"7\"\nport-file = \"true\"\noperator-socket = \"007\"\n";
    let desk = Desk::new(file).with(&[("BLUBASH_POLL_RATE", "9")]);
    let arguments = ["--config=config.toml", "--poll-interval=3s"];
    let (code, text, said) =
        desk.run(&[&["config", "print", "--output=toml"], &arguments[..]].concat()).await;
    assert_eq!((code, said.as_str()), (0, ""), "{said}");
    let before = desk.print(&arguments).await;
    for part in [
        "sandbox = true  # file config.toml\n",
        "poll-rate = 9  # environment\n",
        "# admin-listen is not set\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let again = Desk::new(&text);
    let after = again.print(&["--config=config.toml"]).await;
    let values = |print: &BTreeMap<String, (Value, String)>| -> BTreeMap<String, Value> {
        print.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    };
    assert_eq!(values(&before), values(&after));
}

#[tokio::test]
async fn print_shows_each_setting_to_people_and_no_password_in_any_form() {
    let desk = Desk::new("upstream-url = \"https://user:canary@example.com/a\"\n");
    for form in ["table", "json", "toml"] {
        let (code, out, said) =
            desk.run(&["config", "print", "--config=config.toml", "--output", form]).await;
        assert!(code == 0 && out.contains("***") && !out.contains("canary"), "{out}{said}");
    }
    let (_, table, _) = desk.run(&["config", "print", "--config=config.toml"]).await;
    let line = |name| table.lines().find(|line| line.starts_with(name)).unwrap();
    let words = |name| line(name).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words("upstream-url"), "upstream-url *** file config.toml");
    assert_eq!(words("poll-share"), "poll-share 25 default");
    let (code, _, said) = desk.run(&["config", "check", "--config=config.toml"]).await;
    assert!(code == 1 && !said.contains("canary"), "{said}");
    let desk = desk.with(&[("BLUBASH_UPSTREAM_URL", "https://user:canary@example.com/a")]);
    let (code, out, said) = desk.run(&["serve", "--help"]).await;
    assert!(code == 0 && !out.contains("canary"), "{out}{said}");
}

#[tokio::test]
async fn a_variable_that_no_setting_has_is_a_warning_and_those_of_other_commands_are_none() {
    let desk = Desk::new("").with(&[
        ("BLUBASH_POL_INTERVAL", "canary"),
        ("BLUBASH_SANDBOX_LISTEN", "127.0.0.1:0"),
        ("BLUBASH_API_KEY_FILE", "x"),
    ]);
    let (code, out, said) = desk.run(&["config", "check"]).await;
    assert_eq!((code, out.as_str()), (0, "ok\n"), "{said}");
    assert!(said.contains("BLUBASH_POL_INTERVAL (did you mean BLUBASH_POLL_INTERVAL?)"), "{said}");
    assert!(!said.contains("canary") && !said.contains("LISTEN") && !said.contains("API_KEY"), "{said}");
}

#[tokio::test]
async fn ledger_finds_the_ledger_that_the_file_names_and_minds_nothing_else_in_it() {
    let desk = Desk::new("ledger = \"file:named.redb\"\npoll-rate = 0\n");
    let (code, _, said) = desk.run(&["ledger", "list", "--config=config.toml"]).await;
    assert!(code == 1 && said.contains("there is no ledger named.redb"), "{said}");
}

#[tokio::test]
async fn the_help_text_teaches_the_layers_and_begins_with_a_file_to_copy() {
    let (_, help, _) = run(&["serve", "--help"]).await;
    let first = help.lines().find(|line| line.trim().starts_with("--"));
    assert!(first.is_some_and(|line| line.contains("--config")), "{help}");
    let (code, help, _) = run(&["config", "--help"]).await;
    assert_eq!(code, 0);
    for part in ["outweighs", "poll-interval = \"2s\"", "config print --output toml", "No file is looked for"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
}
