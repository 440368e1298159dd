//! PEM: base64 between lines that say what it is.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{
    StoreError,
    pbe::{self, Limits},
    store::{Key, Store},
};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// Whether this is text with a block of PEM in it.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// One block: what it is said to be, and its bytes.
struct Block {
    label: String,
    bytes: Vec<u8>,
    /// Whether it begins with lines that say how it is encrypted, as OpenSSL did it long ago.
    has_headers: bool,
}

fn blocks(text: &str) -> Result<Vec<Block>, StoreError> {
    let malformed = StoreError::Malformed { what: "a block of PEM" };
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) else {
            continue;
        };
        let end = format!("-----END {label}{DASHES}");
        let (mut body, mut has_headers, mut ended) = (String::new(), false, false);
        for line in lines.by_ref() {
            if line == end {
                ended = true;
                break;
            }
            if line.contains(':') {
                has_headers = true;
            } else {
                body.push_str(line);
            }
        }
        if !ended {
            return Err(malformed);
        }
        let bytes =
            if has_headers { Vec::new() } else { STANDARD.decode(&body).map_err(|_| malformed.clone())? };
        blocks.push(Block { label: label.to_owned(), bytes, has_headers });
    }
    Ok(blocks)
}

/// The certificates of a file, in DER; none if it is no PEM.
pub fn certificates(bytes: &[u8]) -> Vec<Vec<u8>> {
    let store = read(bytes, "", Limits { iterations_max: 1 });
    store.map(|store| store.trusted.iter().map(|one| one.to_vec()).collect()).unwrap_or_default()
}

/// Reads certificates and a key: the first key there is, and as its chain all certificates.
pub(crate) fn read(bytes: &[u8], password: &str, limits: Limits) -> Result<Store, StoreError> {
    let text = String::from_utf8_lossy(bytes);
    let (mut certificates, mut key) = (Vec::new(), None);
    for block in blocks(&text)? {
        if block.has_headers {
            return Err(StoreError::Unsupported {
                what: format!("a key encrypted in the old way of OpenSSL ({})", block.label),
                advice: "`openssl pkcs8 -topk8 -in OLD -out NEW` makes one that is",
            });
        }
        let found = match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                certificates.push(CertificateDer::from(block.bytes));
                continue;
            }
            "PRIVATE KEY" => PrivateKeyDer::Pkcs8(block.bytes.into()),
            "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(block.bytes.into()),
            "EC PRIVATE KEY" => PrivateKeyDer::Sec1(block.bytes.into()),
            "ENCRYPTED PRIVATE KEY" => {
                PrivateKeyDer::Pkcs8(pbe::open_key(&block.bytes, password, limits)?.into())
            }
            // Parameters of a curve, a request: nothing that is needed.
            _ => continue,
        };
        key.get_or_insert(found);
    }
    let key = key.map(|key| Key { key, chain: certificates.clone() });
    Ok(Store { key, trusted: certificates })
}
