//! SASL: what a server makes of clients that prove who they are with DIGEST-MD5.
//!
//! Users and passwords stand in a section of the JAAS file that Java's `java.security.auth.login.config` names. The
//! exchange takes two steps, and ends with an identity of scheme `sasl`. Sources: ZooKeeper `ZooKeeperSaslServer`,
//! `SASLAuthenticationProvider`.

use std::collections::BTreeMap;

use protocol::peer::ClientRequest;
use sasl::Exchange;
use spec::ErrorCode;
use tree::{Identity, Text, Tree};

/// What an operator has set up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sasl {
    /// The users and their passwords; none where SASL is not set up.
    pub users: BTreeMap<String, String>,
    /// Users who may do everything.
    pub superusers: Vec<String>,
    /// Whether who fails keeps the connection, without an identity.
    pub keeps_failed: bool,
    /// Whether an identity of this scheme is demanded: who fails is told so.
    pub demanded: bool,
    /// Whether lists know users of this scheme; an identity that none knows is none.
    pub listed: bool,
}

impl Sasl {
    /// What a client says, what the peer is to make of it, and why it failed, if it did. `exchange` is the one under way
    /// on its connection, which begins with this where there is none.
    pub fn step(
        &self,
        exchange: &mut Option<Exchange>,
        token: &[u8],
    ) -> (ClientRequest<Tree>, Option<String>) {
        if self.users.is_empty() {
            // As a server of ZooKeeper's says it: there is nothing to talk about.
            return (ClientRequest::Exchange { answer: None, proves: Vec::new() }, None);
        }
        let said = match exchange {
            None => Exchange::begin(&sasl::nonce(), token).map(|(begun, challenge)| {
                *exchange = Some(begun);
                (challenge, None)
            }),
            Some(begun) => begun.finish(token, &self.users).map(|(answer, user)| (answer, Some(user))),
        };
        match said {
            Ok((answer, user)) => {
                let proves = user.map(|user| self.identities(&user)).unwrap_or_default();
                (ClientRequest::Exchange { answer: Some(answer), proves }, None)
            }
            Err(reason) => {
                let request = if self.keeps_failed && !self.demanded {
                    ClientRequest::Exchange { answer: None, proves: Vec::new() }
                } else if self.demanded {
                    ClientRequest::Refused { code: ErrorCode::SessionClosedRequireAuth, close: true }
                } else {
                    ClientRequest::Refused { code: ErrorCode::AuthFailed, close: true }
                };
                (request, Some(reason))
            }
        }
    }

    fn identities(&self, user: &str) -> Vec<Identity> {
        let id = Identity { scheme: Text::from_static("sasl"), id: Text::from(user) };
        let mut identities: Vec<_> = self.listed.then_some(id).into_iter().collect();
        if self.superusers.iter().any(|known| known == user) {
            identities.push(Identity { scheme: Text::from_static("super"), id: Text::default() });
        }
        identities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sasl() -> Sasl {
        let users = BTreeMap::from([("bob".to_owned(), "secret".to_owned())]);
        Sasl { users, superusers: vec!["bob".to_owned()], ..Sasl::default() }
    }

    #[test]
    fn nobody_is_somebody_without_users() {
        let mut exchange = None;
        let (said, failed) = Sasl::default().step(&mut exchange, b"");
        assert_eq!(failed, None);
        assert_eq!(said, ClientRequest::Exchange { answer: None, proves: Vec::new() });
        assert!(exchange.is_none());
    }

    #[test]
    fn a_failure_ends_the_connection_unless_it_may_stay() {
        let failed = |sasl: &Sasl| {
            let mut exchange = None;
            let (ClientRequest::Exchange { answer: Some(_), .. }, None) = sasl.step(&mut exchange, b"")
            else {
                panic!("a challenge comes first");
            };
            let (request, failed) = sasl.step(&mut exchange, b"username=\"bob\"");
            assert!(failed.is_some());
            request
        };
        let refused = |code| ClientRequest::Refused { code, close: true };
        assert_eq!(failed(&sasl()), refused(ErrorCode::AuthFailed));
        let demands = Sasl { demanded: true, keeps_failed: true, ..sasl() };
        assert_eq!(failed(&demands), refused(ErrorCode::SessionClosedRequireAuth));
        let keeps = Sasl { keeps_failed: true, ..sasl() };
        assert_eq!(failed(&keeps), ClientRequest::Exchange { answer: None, proves: Vec::new() });
    }

    #[test]
    fn without_its_provider_nobody_is_in_lists() {
        let schemes = |listed| {
            let identities = Sasl { listed, ..sasl() }.identities("bob");
            identities.iter().map(|identity| identity.scheme.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(schemes(true), ["sasl", "super"]);
        assert_eq!(schemes(false), ["super"]);
    }
}
