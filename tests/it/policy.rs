//! Residency as callers, operators and auditors see it: what is refused and with which words, what `sealane check` says,
//! what Azure's own word changes, and that nothing was sent where nothing may be.
mod arm;
mod check;
mod dialer;
mod evidence;
mod forbidden;
mod refusals;
mod three;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A file of its own for each test, in a folder of its own; removed at the end.
struct ConfigFile {
    folder: PathBuf,
}

impl ConfigFile {
    fn new(name: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sealane-policy-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = Self { folder };
        file.write("sealane.yaml", text);
        file
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// `sealane check` of it: exit code, standard output with single blanks, standard error.
    fn check(&self, args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealane"));
        for name in ["SEALANE_CONFIG", "AZURE_ARM_TOKEN", "AZURE_ARM_ENDPOINT", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.env("KEY", "0123456789abcdef").env("TOKEN", "a-token-of-24-characters").envs(env.iter().copied());
        command.args(["check", "--config", &self.path("sealane.yaml")]).args(args).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let stdout = text(output.stdout).lines().map(single).collect::<Vec<_>>().join("\n");
        (output.status.code().unwrap_or(-1), stdout, text(output.stderr))
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
