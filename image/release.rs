//! What is published beside an image: block map, repository entry for the Raspberry Pi Imager, checksums.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use osmia::board::layout::{Extent, Layout, SECTOR_BYTES};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::plan::Plan;
use crate::{fat, fetch};

/// Block size of the block map.
const BLOCK_BYTES: usize = 4_096;

/// Forty pixels square, in the repository entry itself.
const ICON: &str = "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'>\
     <circle cx='20' cy='20' r='18' fill='%23c60'/><circle cx='20' cy='20' r='8' fill='%23fff'/></svg>";

/// Device tags of the Raspberry Pi Imager, by board. The Zero 2 W goes by that of the Pi 3.
const TAGS: [(&str, &str); 4] =
    [("rpi3", "pi3-64bit"), ("rpi4", "pi4-64bit"), ("rpi5", "pi5-64bit"), ("zero2w", "pi3-64bit")];

/// Writes `….bmap`, `….json` (Raspberry Pi boards only) and `….SHA256SUMS` beside image and compressed image; gives
/// their paths.
pub(crate) fn write(
    plan: &Plan,
    image: &Path,
    packed: &Path,
    url_base: Option<&str>,
) -> anyhow::Result<Vec<PathBuf>> {
    let bytes = fs::read(image)?;
    let map = image.with_extension("img.bmap");
    fs::write(&map, block_map(&bytes, &must_be_written(plan, &bytes)))?;
    let mut files = vec![image.to_path_buf(), packed.to_path_buf(), map];
    let tags = tags(plan);
    if !tags.is_empty() {
        let list = image.with_extension("img.json");
        fs::write(
            &list,
            serde_json::to_string_pretty(&repository(plan, &bytes, packed, &tags, url_base)?)? + "\n",
        )?;
        files.push(list);
    }
    let sums = image.with_extension("img.SHA256SUMS");
    let mut text = String::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("{}  {name}\n", fetch::hash(file).with_context(|| name.to_string())?));
    }
    fs::write(&sums, text)?;
    files.push(sums);
    Ok(files)
}

fn tags(plan: &Plan) -> Vec<&'static str> {
    let mut tags = Vec::new();
    for board in &plan.boards {
        tags.extend(TAGS.iter().filter(|(name, _)| *name == board.name).map(|(_, tag)| *tag));
    }
    tags.dedup();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// A repository of one entry (rpi-imager, `doc/json-schema/os-list-schema.json`): for `rpi-imager --repo FILE`.
fn repository(
    plan: &Plan,
    image: &[u8],
    packed: &Path,
    tags: &[&str],
    url_base: Option<&str>,
) -> anyhow::Result<serde_json::Value> {
    let file = packed.file_name().unwrap_or_default().to_string_lossy();
    let url = match url_base {
        Some(base) => format!("{}/{file}", base.trim_end_matches('/')),
        // For this machine alone.
        None => format!("file://{}", fs::canonicalize(packed)?.display()),
    };
    let name = match plan.boards.as_slice() {
        [board] => board.description.clone(),
        _ => "all Raspberry Pi boards".to_owned(),
    };
    let devices = tags
        .iter()
        .map(|tag| json!({"name": tag, "description": tag, "tags": [tag], "matching_type": "inclusive"}));
    Ok(json!({
        "imager": { "devices": devices.collect::<Vec<_>>() },
        "os_list": [{
            "name": format!("Osmia {} ({name})", env!("CARGO_PKG_VERSION")),
            "description": "IOTA Tangle node for private networks (Stardust)",
            "icon": ICON,
            "url": url,
            "extract_size": image.len(),
            "extract_sha256": hex(&Sha256::digest(image)),
            "image_download_size": fs::metadata(packed)?.len(),
            "image_download_sha256": fetch::hash(packed)?,
            "release_date": date(plan.built),
            "init_format": "rpi-preseed",
            "architecture": "armv8",
            "devices": tags,
        }],
    }))
}

/// `YYYY-MM-DD` of a Unix time (H. Hinnant, days from civil, turned round).
fn date(unix: u64) -> String {
    let days = unix / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Ranges of bytes whose zeros mean something: partition table, tables and files of the FAT partitions, the whole data
/// partition. A card that is not blank keeps its old content elsewhere.
fn must_be_written(plan: &Plan, image: &[u8]) -> Vec<Range<usize>> {
    let layout = Layout::new(plan.image());
    let byte = |sector: u64| usize::try_from(sector * SECTOR_BYTES).unwrap_or(usize::MAX);
    let fat = |extent: Extent| {
        let partition = &image[byte(extent.start)..byte(extent.end())];
        let used = partition.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        byte(extent.start)..byte(extent.start) + used.max(fat::table_bytes(partition))
    };
    let data = byte(layout.data.start)..byte(layout.data.end());
    vec![0..BLOCK_BYTES, fat(layout.boot), fat(layout.slots[0]), fat(layout.slots[1]), data]
}

/// A block map, version 2.0 (bmaptool): which ranges of blocks are to be written, with their checksums; the file's own
/// checksum is that of itself with zeros in its place.
fn block_map(image: &[u8], needed: &[Range<usize>]) -> String {
    let blocks = (0..image.len().div_ceil(BLOCK_BYTES)).map(|block| {
        let (start, end) = (block * BLOCK_BYTES, ((block + 1) * BLOCK_BYTES).min(image.len()));
        needed.iter().any(|range| range.start < end && start < range.end)
            || image[start..end].iter().any(|byte| *byte != 0)
    });
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (index, _) in blocks.enumerate().filter(|(_, mapped)| *mapped) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            Some(_) | None => ranges.push((index, index)),
        }
    }
    let mapped = ranges.iter().map(|(first, last)| last - first + 1).sum::<usize>();
    let mut list = String::new();
    for (first, last) in ranges {
        let bytes = &image[first * BLOCK_BYTES..((last + 1) * BLOCK_BYTES).min(image.len())];
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        list.push_str(&format!(
            "        <Range chksum=\"{}\"> {range} </Range>\n",
            hex(&Sha256::digest(bytes))
        ));
    }
    let with = |checksum: &str| {
        format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {} </ImageSize>\n    \
             <BlockSize> {BLOCK_BYTES} </BlockSize>\n    <BlocksCount> {} </BlocksCount>\n    \
             <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {checksum} </BmapFileChecksum>\n    <BlockMap>\n{list}    </BlockMap>\n</bmap>\n",
            image.len(),
            image.len().div_ceil(BLOCK_BYTES)
        )
    };
    let zeros = "0".repeat(64);
    with(&hex(&Sha256::digest(with(&zeros).as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{BLOCK_BYTES, block_map, date, hex};

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_764_028_799, "2025-11-24"),
            (4_107_542_399, "2100-02-28"),
        ] {
            assert_eq!(date(unix), expected);
        }
    }

    #[test]
    fn a_block_map_names_what_is_not_zero() {
        let mut image = vec![0; 5 * BLOCK_BYTES + 100];
        (image[0], image[BLOCK_BYTES], image[5 * BLOCK_BYTES + 99]) = (1, 2, 3);
        let map = block_map(&image, &[]);
        let sum = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        let first = sum(&image[..2 * BLOCK_BYTES]);
        let last = sum(&image[5 * BLOCK_BYTES..]);
        assert!(map.contains(&format!("<Range chksum=\"{first}\"> 0-1 </Range>")), "{map}");
        assert!(map.contains(&format!("<Range chksum=\"{last}\"> 5 </Range>")), "{map}");
        assert!(map.contains("<BlocksCount> 6 <") && map.contains("<MappedBlocksCount> 3 <"), "{map}");
        let own = map.split("<BmapFileChecksum> ").nth(1).unwrap().split(' ').next().unwrap();
        assert_eq!(sum(map.replace(own, &"0".repeat(64)).as_bytes()), own);
        let needed = 2 * BLOCK_BYTES + 7..3 * BLOCK_BYTES + 1;
        assert!(block_map(&image, &[needed]).contains("> 0-3 <"));
    }
}
