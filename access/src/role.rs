//! What a caller may do. There are three roles, each may what the one before may, and every call asks for one of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use whimbrel_proto::{Error, ErrorCode};

/// What somebody may do in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Role {
    /// Runs queries and sees what the pool has.
    Reader,
    /// Also submits score jobs, and binds models and tables.
    Scorer,
    /// Also runs the pool: everybody's jobs, executors, links.
    Operator,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Scorer, Self::Operator];

    /// The name in settings and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Scorer => "scorer",
            Self::Operator => "operator",
        }
    }

    /// With its article, as a sentence has it.
    fn one(self) -> &'static str {
        match self {
            Self::Reader => "a reader",
            Self::Scorer => "a scorer",
            Self::Operator => "an operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| {
                Error::new(ErrorCode::Invalid, format!("'{name}' is not a role"))
                    .with_hint("the roles are reader, scorer and operator")
            })
    }
}

impl TryFrom<String> for Role {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Role> for &'static str {
    fn from(role: Role) -> Self {
        role.name()
    }
}

/// Who calls, and what that may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A name; empty where the pool does not tell its users apart.
    pub user: String,
    /// What the caller may do.
    pub role: Role,
    /// Seconds since 1970 from which the caller must show a new token.
    pub expires: Option<u64>,
}

impl Caller {
    /// The caller of a pool that asks for nothing.
    pub fn anybody() -> Self {
        Self {
            user: String::new(),
            role: Role::Operator,
            expires: None,
        }
    }

    /// Refuses what needs a higher role.
    pub fn may(&self, needed: Role) -> Result<(), Error> {
        if self.role >= needed {
            return Ok(());
        }
        let who = match self.user.as_str() {
            "" => "this user".to_owned(),
            user => format!("user {user}"),
        };
        let has = self.role.one();
        Err(Error::new(
            ErrorCode::Denied,
            format!("{who} is {has}; this needs the role {needed}"),
        )
        .with_hint(format!(
            "ask whoever runs the pool for the role {needed}, or use a token that has it"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_one_before_may() {
        for (has, role) in Role::ALL.into_iter().enumerate() {
            let caller = Caller {
                user: "ann".to_owned(),
                role,
                expires: None,
            };
            for (needs, needed) in Role::ALL.into_iter().enumerate() {
                assert_eq!(caller.may(needed).is_ok(), has >= needs, "{role} {needed}");
            }
        }
        assert!(Caller::anybody().may(Role::Operator).is_ok());
    }

    #[test]
    fn a_refusal_says_who_has_what_and_needs_what() {
        let mut caller = Caller {
            user: "ann".to_owned(),
            role: Role::Reader,
            expires: None,
        };
        let error = caller.may(Role::Scorer).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Denied);
        assert_eq!(
            error.message(),
            "user ann is a reader; this needs the role scorer"
        );
        caller.user.clear();
        let error = caller.may(Role::Scorer).unwrap_err();
        assert!(error.message().starts_with("this user is"), "{error}");
    }

    #[test]
    fn a_role_is_read_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>().unwrap(), role);
            let text = serde_json::to_string(&role).unwrap();
            assert_eq!(serde_json::from_str::<Role>(&text).unwrap(), role);
        }
        let error = "admin".parse::<Role>().unwrap_err();
        assert!(error.to_string().contains("reader, scorer and operator"));
        let error = serde_json::from_str::<Role>("\"Reader\"").unwrap_err();
        assert!(error.to_string().contains("'Reader' is not a role"));
    }
}
