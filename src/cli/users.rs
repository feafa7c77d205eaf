//! Users, by their names where this machine knows one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use keystore::Actor;

/// The users of this machine.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeMap<u32, String>);

impl Users {
    /// Those of `/etc/passwd`; nobody where that cannot be read.
    pub(super) fn of_this_machine() -> Self {
        let mut text = Vec::new();
        let read =
            File::open("/etc/passwd").and_then(|file| file.take(LONGEST).read_to_end(&mut text));
        match read {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Self::default(),
        }
    }

    /// `name:x:number:…` on each line; the first name of a number is its own.
    fn parse(text: &str) -> Self {
        let mut users = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(number)) = (fields.next(), fields.nth(1))
                && let Ok(number) = number.parse()
                && !name.is_empty()
            {
                users.entry(number).or_insert_with(|| name.to_owned());
            }
        }
        Self(users)
    }

    /// Who did something, as people call them; a number where this machine knows no name.
    pub(super) fn name(&self, actor: &Actor) -> String {
        match actor {
            Actor::User(number) => match self.0.get(number) {
                Some(name) => name.clone(),
                None => actor.to_string(),
            },
            Actor::Script(_) | Actor::Host => actor.to_string(),
        }
    }

    /// The same of one that is written as [`Actor`] shows it.
    pub(super) fn name_of(&self, actor: &str) -> String {
        let number = actor.strip_prefix("user ").and_then(|it| it.parse().ok());
        number.map_or_else(|| actor.to_owned(), |it| self.name(&Actor::User(it)))
    }
}

const LONGEST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_where_the_machine_knows_them() {
        let text = "root:x:0:0::/root:/bin/sh\n#odd\nanna:x:1000:1000:Anna\ntoor:x:0:0:::\n:x:5:\n";
        let users = Users::parse(text);
        assert_eq!(users.name(&Actor::User(0)), "root");
        assert_eq!(users.name(&Actor::User(1000)), "anna");
        assert_eq!(users.name(&Actor::User(5)), "user 5");
        assert_eq!(users.name(&Actor::Script("chat".into())), "script chat");
        assert_eq!(users.name_of("user 1000"), "anna");
        assert_eq!(users.name_of("script user 1000"), "script user 1000");
    }
}
