//! What holds clients and learners back before they are too many for this server.

use super::reader::Reader;

/// Limits on what comes in at once. Times are in milliseconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Throttles {
    /// Requests that may be under way while others wait; none that wait if it is 0.
    pub requests_max: usize,
    /// What is made of a request that waited too long to be of use.
    pub stale: Stale,
    /// A request that waited longer is answered with THROTTLEDOP, and not carried out; 0 is never.
    pub wait_max_ms: u32,
    /// Requests of more bytes are large; none are if nothing is given.
    pub large_over: Option<usize>,
    /// Bytes of large requests that may be under way.
    pub large_bytes_max: usize,
    /// How long a connection may stay without asking for a session.
    pub sessionless_max_ms: u32,
    /// How many connections may ask for a session.
    pub connections: Tokens,
    /// Observers that may be sent a whole state at once.
    pub snap_syncs_max: usize,
    /// Observers that may be sent a part of the log at once.
    pub diff_syncs_max: usize,
    /// How long an observer waits, at most, until it dials a leader again.
    pub reconnect_delay_max_ms: u32,
    /// Whether a leader takes clients.
    pub leader_serves: bool,
}

/// When a request that waits is of no use any more, and what becomes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stale {
    /// It is dropped, with its connection.
    pub dropped: bool,
    /// It is when its client has hung up.
    pub when_closed: bool,
    /// It is when it waits for longer than the timeout of its session.
    pub when_late: bool,
}

/// A bucket of tokens, of which each new connection takes some. Chances are in millionths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tokens {
    /// How many it holds; 0 turns the bucket off.
    pub max: u32,
    /// How often tokens come in.
    pub fill_ms: u32,
    /// How many come in each time.
    pub fill: u32,
    /// How often the chance that a connection is turned away may change; nobody is, as long as there are tokens, where
    /// nothing is given.
    pub freeze_ms: Option<u32>,
    /// How much the chance grows while the bucket is empty.
    pub increase: u32,
    /// How much it falls while the bucket is full enough.
    pub decrease: u32,
    /// The part of the bucket that may be used for it to be full enough.
    pub ratio: u32,
    /// What a connection takes that opens a session; 1 unless weights are turned on.
    pub of_new: u32,
    /// What one takes that goes on with a session.
    pub of_renewed: u32,
}

/// A whole in [`Tokens`].
pub(crate) const MILLION: u32 = 1_000_000;

impl Throttles {
    pub(super) fn read(reader: &mut Reader, init_ms: u32) -> Self {
        let mut throttles = Self {
            requests_max: reader.number("request_throttle_max_requests", 0, 0, usize::MAX),
            stale: Stale {
                dropped: reader.flag("request_throttle_drop_stale", true),
                when_closed: reader.flag("request_stale_connection_check", true),
                when_late: reader.flag("request_stale_latency_check", false),
            },
            wait_max_ms: reader.number("throttled_op_wait_time", 0, 0, u32::MAX),
            large_over: usize::try_from(reader.number("largeRequestThreshold", -1, -1, i64::MAX))
                .ok()
                .filter(|bytes| *bytes > 0),
            large_bytes_max: reader.number("largeRequestMaxBytes", 100 << 20, 1, usize::MAX),
            sessionless_max_ms: reader.number("nio.sessionlessCnxnTimeout", 10_000, 1, u32::MAX),
            connections: Tokens::read(reader),
            snap_syncs_max: reader.number("leader.maxConcurrentSnapSyncs", 10, 1, usize::MAX),
            diff_syncs_max: reader.number("leader.maxConcurrentDiffSyncs", 100, 1, usize::MAX),
            reconnect_delay_max_ms: reader.number("observer.reconnectDelayMs", 0, 0, u32::MAX),
            leader_serves: reader.unless_no("leaderServes"),
        };
        if throttles.wait_max_ms > 0 && throttles.requests_max == 0 {
            let message =
                "nothing waits that could wait too long: request_throttle_max_requests is 0, which is off";
            reader.warn_at("throttled_op_wait_time", message);
        }
        if throttles.reconnect_delay_max_ms > init_ms / 2 {
            let message = format!(
                "a leader that does not answer is given up after {init_ms} ms: half of that is waited"
            );
            reader.warn_at("observer.reconnectDelayMs", message);
            throttles.reconnect_delay_max_ms = init_ms / 2;
            reader.comes_to("observer.reconnectDelayMs", init_ms / 2);
        }
        throttles
    }
}

impl Tokens {
    fn read(reader: &mut Reader) -> Self {
        let max: u32 = reader.number("connection_throttle_tokens", 0, 0, 1 << 24);
        let fill: u32 = reader.number("connection_throttle_fill_count", 1, 0, 1 << 24);
        let freeze: i32 = reader.number("connection_throttle_freeze_time", -1, -1, i32::MAX);
        let on = reader.flag("connection_throttle_weight_enabled", false);
        let (of_new, of_renewed) = weights(reader);
        let weight = if on { of_new } else { 1 };
        Self {
            max: max * weight,
            fill_ms: reader.number("connection_throttle_fill_time", 1, 1, i32::MAX.unsigned_abs()),
            fill: fill * weight,
            freeze_ms: u32::try_from(freeze).ok(),
            increase: chance(reader, "connection_throttle_drop_increase", "0.02"),
            decrease: chance(reader, "connection_throttle_drop_decrease", "0.002"),
            ratio: chance(reader, "connection_throttle_decrease_ratio", "0"),
            of_new: weight,
            of_renewed: if on { of_renewed } else { 1 },
        }
    }
}

/// What a new session weighs, and one that goes on: no less than a local one, of which there is none here.
fn weights(reader: &mut Reader) -> (u32, u32) {
    let mut weight = |kind: &str, default: u32| {
        reader.number::<u32>(&format!("connection_throttle_{kind}_session_weight"), default, 1, 100)
    };
    let (new, renewed, local) = (weight("global", 3), weight("renew", 2), weight("local", 1));
    (new.max(local), renewed.max(local))
}

/// A decimal number from 0 to 1, in millionths.
fn chance(reader: &mut Reader, key: &str, default: &str) -> u32 {
    let text = reader.text_or(key, default);
    millionths(&text).unwrap_or_else(|| {
        let message =
            format!("{key} is {text:?}, and must be a decimal number from 0 to 1 such as {default}");
        reader.error(reader.span(key), message);
        0
    })
}

pub(super) fn millionths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u32 = format!("{part:0<6}").parse().ok()?;
    whole.checked_mul(MILLION)?.checked_add(part).filter(|millionths| *millionths <= MILLION)
}

#[cfg(test)]
mod tests {
    use super::millionths;

    #[test]
    fn chances_are_decimal_numbers() {
        let rows = [
            ("0", Some(0)),
            ("1", Some(1_000_000)),
            ("1.0", Some(1_000_000)),
            ("0.02", Some(20_000)),
            (".5", Some(500_000)),
            ("0.000001", Some(1)),
            ("1.000001", None),
            ("0.0000001", None),
            ("-0.1", None),
            ("1e-2", None),
            (".", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(millionths(text), expected, "{text:?}");
        }
    }
}
