//! Why the API server did not do what it was asked, in words that say what to do.

use crate::objects::Resource;
use serde::Deserialize;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What was asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doing {
    /// The verb, as a Role names it: `list`.
    pub verb: &'static str,
    /// The kind of object.
    pub resource: Resource,
    /// The part of the object, as `status`; empty for all of it.
    pub part: &'static str,
}

impl Doing {
    /// As a Role names it: `nodes`, `nodes/status`.
    fn resource(&self) -> String {
        match self.part {
            "" => self.resource.plural.to_owned(),
            part => format!("{}/{part}", self.resource.plural),
        }
    }

    /// As a Role names it; the core group has an empty name there.
    fn group(&self) -> String {
        format!("\"{}\"", self.resource.group)
    }
}

/// Why the API server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(Box<Cause>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// Nothing says where it is, or who this program is.
    NoAccess(String),
    /// It does not answer, or another than it does.
    NoAnswer { server: String, why: String },
    /// It refuses.
    Refused { doing: Doing, status: Status, retry_after: Option<Duration> },
    /// Its answer is not understood.
    Unreadable { doing: Doing, why: String },
}

/// The API server's own description of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// The HTTP status.
    pub code: u16,
    /// What happened.
    pub message: String,
}

impl Fault {
    pub(crate) fn no_access(why: String) -> Fault {
        Fault(Box::new(Cause::NoAccess(why)))
    }

    pub(crate) fn no_answer(server: &str, why: String) -> Fault {
        Fault(Box::new(Cause::NoAnswer { server: server.to_owned(), why }))
    }

    pub(crate) fn refused(doing: Doing, status: Status, retry_after: Option<Duration>) -> Fault {
        Fault(Box::new(Cause::Refused { doing, status, retry_after }))
    }

    pub(crate) fn unreadable(doing: Doing, why: &dyn Error) -> Fault {
        Fault(Box::new(Cause::Unreadable { doing, why: chain(why) }))
    }

    /// The HTTP status, where the API server refused.
    pub fn code(&self) -> Option<u16> {
        match &*self.0 {
            Cause::Refused { status, .. } => Some(status.code),
            Cause::NoAccess(_) | Cause::NoAnswer { .. } | Cause::Unreadable { .. } => None,
        }
    }

    /// How long the API server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match &*self.0 {
            Cause::Refused { retry_after, .. } => *retry_after,
            Cause::NoAccess(_) | Cause::NoAnswer { .. } | Cause::Unreadable { .. } => None,
        }
    }

    /// Whether the connection failed, and not the request.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(*self.0, Cause::NoAnswer { .. })
    }

    /// Whether a watch may go on where it was, once the API server serves it again. Otherwise what it
    /// answers may be for the place itself: the place is too old (410), or newer than all that a
    /// restored etcd has (504).
    pub(crate) fn keeps_place(&self) -> bool {
        match &*self.0 {
            Cause::NoAccess(_) | Cause::NoAnswer { .. } => true,
            Cause::Refused { status, .. } => matches!(status.code, 401 | 403 | 429 | 500..=503),
            Cause::Unreadable { .. } => false,
        }
    }
}

impl Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &*self.0 {
            Cause::NoAccess(why) => f.write_str(why),
            Cause::NoAnswer { server, why } if why.contains("certificate") => write!(
                f,
                "the API server {server} is not trusted: {why}; give this program the certificate \
                 authority that signed the API server's certificate (ca.crt of the service \
                 account, or certificate-authority of the kubeconfig)"
            ),
            Cause::NoAnswer { server, why } => write!(
                f,
                "the API server {server} does not answer: {why}; see that it runs, and that this \
                 node reaches that address"
            ),
            Cause::Refused { doing, status, retry_after } => {
                refused(f, doing, status, *retry_after)
            }
            Cause::Unreadable { doing, why } => write!(
                f,
                "what the API server answers to {} {} is not understood: {why}; use a Kubernetes \
                 release that this release of Ferrule supports",
                doing.verb,
                doing.resource()
            ),
        }
    }
}

fn refused(
    f: &mut fmt::Formatter,
    doing: &Doing,
    status: &Status,
    retry_after: Option<Duration>,
) -> fmt::Result {
    let Status { code, message } = status;
    let (verb, resource, group) = (doing.verb, doing.resource(), doing.group());
    match code {
        401 => write!(
            f,
            "the API server does not accept the credentials of this program (401): see that its \
             service account exists and its token is mounted, or that the kubeconfig is valid"
        ),
        403 if message.contains("is forbidden: User ") => write!(
            f,
            "the API server does not let {} {verb} {resource}: grant it the verb {verb} on resource \
             {resource} of API group {group} in a ClusterRole",
            who(message)
        ),
        404 if doing.verb == "list" || doing.verb == "watch" => write!(
            f,
            "the API server does not know {resource} of API group {group}, version {}: install its \
             CustomResourceDefinition, or a Kubernetes release that has it",
            doing.resource.version
        ),
        429 => {
            let wait = retry_after.map_or(1, |wait| wait.as_secs().max(1));
            write!(
                f,
                "the API server is overloaded and refuses to {verb} {resource} (429): it wants \
                 {wait} s of rest; if it stays so, see its flow control (kubectl get --raw \
                 /debug/api_priority_and_fairness/dump_priority_levels)"
            )
        }
        _ => write!(
            f,
            "the API server refuses to {verb} {resource} ({code}): {message}; see the log of \
             kube-apiserver"
        ),
    }
}

/// Whom the API server names in a refusal: `nodes is forbidden: User
/// "system:serviceaccount:kube-system:route-sync" cannot list …` (apiserver,
/// endpoints/handlers/responsewriters/errors.go).
fn who(message: &str) -> String {
    let user = message.split("User \"").nth(1).and_then(|rest| rest.split("\" ").next());
    let account = user.and_then(|user| user.strip_prefix("system:serviceaccount:"));
    match (account.and_then(|account| account.split_once(':')), user) {
        (Some((namespace, name)), _) => format!("service account {name} of namespace {namespace}"),
        (None, Some("system:anonymous")) => "a program without credentials".to_owned(),
        (None, Some(user)) => format!("user {user}"),
        (None, None) => "this program".to_owned(),
    }
}

/// An error with its causes, each of which often repeats the next.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Node, Object};

    const LIST: Doing = Doing { verb: "list", resource: Node::RESOURCE, part: "" };

    fn refusal(code: u16, message: &str) -> Fault {
        Fault::refused(LIST, Status { code, message: message.to_owned() }, None)
    }

    #[test]
    fn a_missing_permission_names_verb_resource_group_and_service_account() {
        let message = "nodes is forbidden: User \"system:serviceaccount:ferrule:route-sync\" cannot \
                       list resource \"nodes\" in API group \"\" at the cluster scope";
        assert_eq!(
            refusal(403, message).to_string(),
            "the API server does not let service account route-sync of namespace ferrule list \
             nodes: grant it the verb list on resource nodes of API group \"\" in a ClusterRole"
        );
        for (user, shown) in [
            ("system:anonymous", "let a program without credentials list"),
            ("jane", "let user jane list"),
        ] {
            let message = format!("nodes is forbidden: User \"{user}\" cannot list resource");
            assert!(refusal(403, &message).to_string().contains(shown), "{user}");
        }
        let part = Doing { verb: "patch", part: "status", ..LIST };
        let status = Status { code: 403, message: message.to_owned() };
        let text = Fault::refused(part, status, None).to_string();
        assert!(
            text.contains("the verb patch on resource nodes/status of API group \"\""),
            "{text}"
        );
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for (code, words) in [
            (401, "see that its service account exists"),
            (404, "install its CustomResourceDefinition"),
            (429, "it wants 1 s of rest"),
            (500, "refuses to list nodes (500): etcd is gone; see the log of kube-apiserver"),
            (403, "refuses to list nodes (403): etcd is gone"),
        ] {
            let text = refusal(code, "etcd is gone").to_string();
            assert!(text.contains(words), "{code}: {text}");
        }
    }

    #[test]
    fn a_place_is_kept_unless_the_refusal_may_be_for_it() {
        for (code, keeps) in [(401, true), (429, true), (503, true), (410, false), (504, false)] {
            assert_eq!(refusal(code, "").keeps_place(), keeps, "{code}");
        }
        assert!(Fault::no_answer("https://x", "connection refused".into()).keeps_place());
    }
}
