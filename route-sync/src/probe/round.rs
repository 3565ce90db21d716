//! One round of echo requests.

use super::targets::{Question, Target};
use net::echo::Echo;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a target.
#[derive(Debug)]
pub struct Answer {
    pub(super) target: Target,
    /// The node answers.
    pub(super) node: bool,
    /// Its pod network does.
    pub(super) pods: bool,
    /// Why not both were asked, and what to do.
    pub(super) unsent: Option<String>,
}

/// Asks them all at once, and waits for their answers, `patience` at most.
pub(super) async fn ask(targets: Vec<Target>, patience: Duration) -> Vec<Answer> {
    let mut asking = JoinSet::new();
    for target in targets {
        asking.spawn(ask_one(target, patience));
    }
    let mut answers = Vec::with_capacity(asking.len());
    while let Some(answer) = asking.join_next().await {
        answers.extend(answer.ok());
    }
    answers
}

async fn ask_one(target: Target, patience: Duration) -> Answer {
    let questions = [target.of_node, target.of_pods].map(send);
    let unsent = questions.iter().find_map(|sent| sent.as_ref().err()).map(ToString::to_string);
    let [node, pods] = questions.map(|sent| answered(sent.ok(), patience));
    let (node, pods) = tokio::join!(node, pods);
    Answer { target, node, pods, unsent }
}

/// Why an echo request could not be sent.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error(
        "cannot probe: {0}; restart route-sync with CAP_NET_RAW, or let \
         net.ipv4.ping_group_range hold its group"
    )]
    NoSocket(net::Error),
    #[error("cannot probe: {0}; see that a route leads there and no firewall here drops it")]
    Refused(net::Error),
    #[error("cannot probe: {0}")]
    Io(#[from] std::io::Error),
}

#[expect(deprecated, reason = "the other constructor is unsafe; Echo keeps its promise")]
fn send(Question { from, to }: Question) -> Result<AsyncFd<Echo>, Unsent> {
    // A random token: replies to earlier rounds do not match, and none can be forged blindly.
    let token = RandomState::new().build_hasher().finish();
    let echo = Echo::open(to.is_ipv4(), token).map_err(Unsent::NoSocket)?;
    echo.send(from, to).map_err(Unsent::Refused)?;
    Ok(AsyncFd::new(echo)?)
}

async fn answered(echo: Option<AsyncFd<Echo>>, patience: Duration) -> bool {
    let Some(echo) = echo else { return false };
    let reply = async {
        loop {
            let Ok(mut ready) = echo.readable().await else { return false };
            if echo.get_ref().is_answered() {
                return true;
            }
            ready.clear_ready();
        }
    };
    timeout(patience, reply).await.unwrap_or(false)
}
