//! Recordings of the flight recorder.

use recording::{Records, ring};

/// So many records are looked at: a few bytes may stand for thousands.
const RECORDS_MAX: usize = 20_000;

/// A file of a ring; or, if the first byte is odd, the records of a chunk.
pub(super) fn read(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first % 2 == 1 {
        return records(rest);
    }
    let chunks = ring::chunks(rest);
    assert_eq!(ring::chunks(rest), chunks, "other chunks");
    for chunk in chunks {
        records(&chunk.records);
    }
}

fn records(chunk: &[u8]) {
    let mut again = Records::new(chunk);
    for record in Records::new(chunk).take(RECORDS_MAX) {
        let same = again.next().expect("as many records");
        match (record, same) {
            (Ok(record), Ok(same)) => assert_eq!(record, same, "another record"),
            (Err(error), Err(same)) => assert_eq!(error.to_string(), same.to_string()),
            (one, other) => panic!("{one:?} and {other:?}"),
        }
    }
}
