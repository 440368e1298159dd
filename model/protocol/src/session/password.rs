//! The password of a session, as every server of an ensemble computes it.

use spec::SessionId;

/// What ZooKeeper mixes into the seed.
const SECRET: u64 = 0xB341_5C00;
/// The linear congruential generator of `java.util.Random`: 48 bits of state.
const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;

/// The password of a session: the first 16 bytes of `java.util.Random(session ^ 0xB3415C00)`, each 32-bit draw lowest
/// byte first. It is a function of the id, so that any server can check it, Apache's included.
///
/// Source: rule C-1; ZooKeeper `ZooKeeperServer.generatePasswd`.
pub fn password(session: SessionId) -> [u8; 16] {
    let mut state = (session.0.cast_unsigned() ^ SECRET ^ MULTIPLIER) & MASK;
    let mut bytes = [0; 16];
    for draw in bytes.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        // The draw is the upper 32 of the 48 bits; big-endian bytes 2 to 5 of the state hold it.
        let [_, _, d, c, b, a, _, _] = state.to_be_bytes();
        draw.copy_from_slice(&[a, b, c, d]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use spec::SessionId;

    use super::password;

    #[test]
    fn passwords_are_those_of_java() {
        // Printed by java.util.Random of OpenJDK; ids that differ above bit 47 share a password.
        for (session, expected) in [
            (0x0_i64, 0xf22a_cd4a_97e6_9d6d_20a4_9bb6_38ea_db38_u128),
            (0x1, 0x054c_c74a_3732_7db2_15e7_02e2_0c73_f005),
            (0x0100_0000_0000_0000, 0xf22a_cd4a_97e6_9d6d_20a4_9bb6_38ea_db38),
            (0x0101_8f3a_2b4c_0000, 0x165e_8393_eb04_5472_e405_d624_aca2_3db4),
            (-1, 0x20f6_2cb5_648d_c2d7_7147_1c8a_2486_a9ee),
            (i64::MAX, 0x20f6_2cb5_648d_c2d7_7147_1c8a_2486_a9ee),
            (0xB341_5C00, 0x60b4_20bb_3851_d9d4_7acb_933d_be70_399b),
        ] {
            assert_eq!(password(SessionId(session)), expected.to_be_bytes(), "session {session:#x}");
        }
    }
}
