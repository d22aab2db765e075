//! Secrets for servers that live as long as a test.

use std::io::Read;

/// 128 random bits, as 32 hexadecimal digits.
pub fn random_hexadecimal() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
