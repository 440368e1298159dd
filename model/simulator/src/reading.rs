//! Servers without a leader, judged by what they tell clients (rules C-19 and S-17).

use spec::{Zxid, history::ServerView, rule::Verdict, session::shown_is_logged};
use tree::Event;
use world::{Fault, Said};

use crate::{coverage::Coverage, record::holds};

/// A server tells a client this, and only reads at the time, or not. What it shows without a leader is what it has
/// logged.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn told(
    said: &Said<Event>,
    is_read_only: bool,
    server: Option<&ServerView>,
    coverage: &mut Coverage,
) -> Result<(), Fault> {
    match said {
        Said::Accepted { read_only, .. } => holds(
            "C-19",
            Verdict::of(is_read_only || *read_only, || *read_only == is_read_only),
            coverage,
            || format!("a server, read-only: {is_read_only}, says {said:?}"),
        ),
        Said::Reply { zxid, .. } if is_read_only => {
            let durable = server.and_then(|view| view.durable.last()).map_or(Zxid::ZERO, |entry| entry.zxid);
            holds("S-17", shown_is_logged(*zxid, durable), coverage, || {
                format!("a server without a leader shows {zxid}, and {durable} is durable there")
            })
        }
        Said::Event { .. } if is_read_only => {
            holds("C-19", Verdict::Broken, coverage, || format!("a server without a leader says {said:?}"))
        }
        Said::Reply { .. } | Said::Event { .. } | Said::Refused | Said::Closed => Ok(()),
    }
}
