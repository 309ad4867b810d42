//! Headers of a tar file (POSIX.1-1988 ustar), written one way and read that way only: plain files without a folder of
//! their own, a mode, an owner or a link. Any program that reads tar reads our files.

/// Everything in a tar file lies in blocks of this size.
pub(super) const BLOCK: usize = 512;

/// The longest name of a file.
const NAME: usize = 100;

/// From here on a size does not fit into eleven octal digits and is written as a number with a mark, as GNU tar does.
const OCTAL_LIMIT: u64 = 1 << 33;

/// The header of a plain file. Names are ours: ASCII, and short enough.
pub(super) fn header(name: &str, size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.as_bytes());
    put(&mut block, 100, b"0000600\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    if size < OCTAL_LIMIT {
        put(&mut block, 124, format!("{size:011o}\0").as_bytes());
    } else {
        put(&mut block, 124, &[0x80, 0, 0, 0]);
        put(&mut block, 128, &size.to_be_bytes());
    }
    put(&mut block, 136, format!("{:011o}\0", mtime % OCTAL_LIMIT).as_bytes());
    put(&mut block, 156, b"0");
    put(&mut block, 257, b"ustar\0");
    put(&mut block, 263, b"00");
    let sum = checksum(&block);
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The sum of all bytes, those of the checksum itself taken for spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum()
}

/// The name and the size in a header; `None` unless it is byte for byte one that [`header`] makes.
pub(super) fn parse(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let name = block[..NAME].split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    let size = match block[124] {
        0x80 => u64::from_be_bytes(block[128..136].try_into().ok()?),
        _ => octal(&block[124..135])?,
    };
    let mtime = octal(&block[136..147])?;
    let is_ours = !name.is_empty() && *block == header(name, size, mtime);
    is_ours.then(|| (name.to_owned(), size))
}

fn octal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// The zeros after a file of this size, up to the next block.
pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    (BLOCK - over) % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_whatever_its_size() {
        for size in [0, 1, 511, 512, OCTAL_LIMIT - 1, OCTAL_LIMIT, u64::MAX] {
            let name = format!("tables/{}.copy", "x".repeat(63));
            assert_eq!(parse(&header(&name, size, 1_795_000_000)), Some((name, size)));
        }
    }

    #[test]
    fn a_header_with_any_bit_turned_is_refused() {
        let good = header("tables/vms.copy", 12_345, 1_795_000_000);
        for bit in 0..BLOCK * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad), None, "bit {bit}");
        }
        assert_eq!(parse(&[0; BLOCK]), None);
    }

    #[test]
    fn files_are_padded_to_whole_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
