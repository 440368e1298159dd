//! Which answers a request may have at all, whatever the state: an error that none of its preconditions can bring about
//! is a broken promise, not an outcome that nobody knows.

use super::{Facts, Verdict};
use crate::{client::NO_NODE, history::Request};

pub(super) const RULE: &str = "answers are such as the request may have";

/// The error of a version that is another one.
pub(super) const BAD_VERSION: i32 = -103;
/// The error of a node that is there already.
pub(super) const NODE_EXISTS: i32 = -110;
const SESSION_EXPIRED: i32 = -112;
const SESSION_MOVED: i32 = -118;

/// Whether an answer with this code says what became of the request: it went well, or a precondition of its own failed.
pub(super) fn is_told(request: &Request, code: i32) -> bool {
    let refusals: &[i32] = match request {
        Request::Create { .. } | Request::Lock { .. } => &[NO_NODE, NODE_EXISTS],
        Request::Set { version: Some(_), .. } => &[NO_NODE, BAD_VERSION],
        // The number behind its name makes an append's node a new one.
        Request::Append { .. }
        | Request::Set { version: None, .. }
        | Request::Delete { .. }
        | Request::Get { .. }
        | Request::Exists { .. }
        | Request::List { .. } => &[NO_NODE],
        Request::Sync | Request::SetWatches { .. } | Request::Close => &[],
    };
    code == 0 || refusals.contains(&code)
}

/// Whether an answer with this code leaves open what was done: the session is over, or has moved to another connection,
/// and what an earlier one asked may be under way. Connection loss has no code here: it is a request without a reply,
/// and a server that answers with the code of client libraries for it (-4) is wrong.
fn is_session_end(code: i32) -> bool {
    matches!(code, SESSION_EXPIRED | SESSION_MOVED)
}

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    for placed in &facts.ops {
        let Some(reply) = &placed.op.reply else { continue };
        let request = &placed.op.request;
        let holds = is_told(request, reply.code) || is_session_end(reply.code);
        verdict.check(RULE, holds, || {
            format!(
                "{request:?} of {}, sent at {} us, was answered with error {}",
                placed.entry.client, placed.op.sent, reply.code
            )
        });
    }
}
