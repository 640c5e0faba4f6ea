//! The real binary as a process of its own, and what it needs to run.
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// A command without anything that this machine's environment might add.
pub fn sealane(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealane"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["SEALANE_", "OTEL_", "NO_COLOR", "RUST_LOG", "CLICOLOR"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("SIMULATED_KEY", "simulated-key").args(args).stdin(Stdio::null());
    command
}

/// A folder of its own for each test; removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sealane-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that stays up; killed when dropped.
pub struct Running {
    pub child: Child,
    /// The line with which it said that it is up.
    pub ready: Value,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::of(sealane(args))
    }

    pub fn of(mut command: Command) -> Self {
        command.args(["--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command:?} said {line:?}: {error}"));
        Self { child, ready }
    }

    /// Sends `TERM`, `STOP`, `CONT` and the like.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    pub fn terminate(mut self) -> i32 {
        self.signal("TERM");
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service over the regions that `sealane simulate --output json` tells of; `extra` are further keys of the file.
pub fn configuration(regions: &Value, extra: &str) -> String {
    let regions = regions["regions"].as_array().unwrap();
    let mut text = "drain: { delay: 0s, grace: 1s }\nresources:\n".to_owned();
    for (at, region) in regions.iter().enumerate() {
        let (name, endpoint) = (region["region"].as_str().unwrap(), region["endpoint"].as_str().unwrap());
        text += &format!(
            "  - {{ name: {name}, region: {name}, boundary: eu, endpoint: \"{endpoint}\", auth: {{ api_key: {{ env: \
             SIMULATED_KEY }} }}, chat: {{ path: {} }} }}\n",
            if at == 0 { "dated" } else { "v1" }
        );
    }
    text += "models:\n";
    for (model, kind) in [("gpt-4o", "chat"), ("text-embedding-3-large", "embedding")] {
        text += &format!("  - name: {model}\n    kind: {kind}\n    targets:\n");
        for region in regions {
            let resource = region["region"].as_str().unwrap();
            text += &format!("      - {{ resource: {resource}, deployment: {model}, sku: Standard }}\n");
        }
    }
    text + extra
}
