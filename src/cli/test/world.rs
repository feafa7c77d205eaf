//! What tests of one file play with: scripts and their clients, by number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::app::App;
use crate::script::tester::{Guest, Stage};

/// See the module.
pub(super) struct World {
    /// Where paths begin.
    folder: PathBuf,
    /// How long a handler of a script may take.
    stop: Duration,
    apps: BTreeMap<u32, App>,
    /// Which script a client has connected to.
    clients: BTreeMap<u32, u32>,
    next: u32,
}

impl World {
    pub(super) fn new(file: &Path, stop: Duration) -> Self {
        Self {
            folder: file.parent().unwrap_or_else(|| Path::new("")).to_owned(),
            stop,
            apps: BTreeMap::new(),
            clients: BTreeMap::new(),
            next: 0,
        }
    }

    /// Ends all scripts; gives the errors that nobody has asked for.
    pub(super) fn clear(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for app in self.apps.values_mut() {
            let errors = app.reports().into_iter();
            let errors = errors.filter(|(severity, _)| severity.is_error());
            left.extend(errors.map(|(_, text)| text));
        }
        self.apps.clear();
        self.clients.clear();
        left
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn app(&mut self, script: u32) -> Result<&mut App, String> {
        // A file may keep one from an earlier test.
        let gone = "this script has ended with the test that loaded it";
        self.apps.get_mut(&script).ok_or_else(|| gone.to_owned())
    }

    fn of_client(&mut self, client: u32) -> Result<&mut App, String> {
        let script = self.clients.get(&client).copied().unwrap_or_default();
        self.app(script)
    }
}

impl Stage for World {
    fn load(&mut self, script: &str, words: Vec<String>) -> Result<u32, String> {
        let app = App::load(&self.folder.join(script), words, self.stop)?;
        let number = self.number();
        self.apps.insert(number, app);
        Ok(number)
    }

    fn script(&mut self, source: &[u8], words: Vec<String>) -> Result<u32, String> {
        let app = App::of_text(source, words, self.stop)?;
        let number = self.number();
        self.apps.insert(number, app);
        Ok(number)
    }

    fn advance(&mut self, script: u32, time: Duration) -> Result<(), String> {
        self.app(script)?.advance(time)
    }

    fn listener(&mut self, script: u32, name: &str) -> Option<(String, u16)> {
        self.app(script).ok()?.listener(name)
    }

    fn connect(&mut self, script: u32, name: &str, guest: Guest) -> Result<u32, String> {
        let number = self.number();
        self.app(script)?.connect(number, name, guest)?;
        self.clients.insert(number, script);
        Ok(number)
    }

    fn output(&mut self, script: u32) -> Vec<String> {
        self.app(script).map(|app| app.output()).unwrap_or_default()
    }

    fn errors(&mut self, script: u32) -> Vec<String> {
        let reports = self.app(script).map(App::reports).unwrap_or_default();
        reports.into_iter().map(|(_, text)| text).collect()
    }

    fn exit(&mut self, script: u32) -> Option<u8> {
        self.app(script).ok()?.exit()
    }

    fn say(&mut self, client: u32, kind: &str, text: &str) -> Result<(), String> {
        self.of_client(client)?.say(client, kind, text)
    }

    fn hear(&mut self, client: u32) -> Vec<(String, String)> {
        let app = self.of_client(client).ok();
        let client = app.and_then(|app| app.client(client));
        client.map(|client| client.hear()).unwrap_or_default()
    }

    fn closed(&mut self, client: u32) -> Option<String> {
        match self.of_client(client) {
            Ok(app) => app.client(client)?.over().map(str::to_owned),
            Err(gone) => Some(gone),
        }
    }

    fn hang_up(&mut self, client: u32) -> Result<(), String> {
        self.of_client(client)?.hang_up(client)
    }

    fn key(&mut self, client: u32) -> Option<String> {
        let client = self.of_client(client).ok()?.client(client)?;
        Some(client.public().to_string())
    }
}
