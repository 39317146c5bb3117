//! A zip archive put together without any check.

/// One file of an archive; what differs between its two headers is stated.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name in the directory.
    pub name: Vec<u8>,
    /// Name in the local header.
    pub local_name: Vec<u8>,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Method in the directory.
    pub method: u16,
    /// Method in the local header.
    pub local_method: u16,
    /// Flags in both.
    pub flags: u16,
    /// Checksum in both.
    pub crc: u32,
    /// Size in the directory.
    pub size: u32,
    /// Size in the local header.
    pub local_size: u32,
    /// Where the directory says that the local header is, if not where it is.
    pub offset: Option<u32>,
    /// Whether the directory lists it.
    pub listed: bool,
    /// Extra field in the directory.
    pub extra: Vec<u8>,
}

impl Entry {
    /// An honest stored file.
    pub fn new(name: &str, data: Vec<u8>) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            local_name: name.as_bytes().to_vec(),
            method: 0,
            local_method: 0,
            flags: 0,
            crc: crc32(&data),
            size: data.len() as u32,
            local_size: data.len() as u32,
            offset: None,
            listed: true,
            extra: Vec::new(),
            data,
        }
    }
}

/// An archive.
#[derive(Debug, Clone, Default)]
pub struct Zip {
    /// Its files.
    pub entries: Vec<Entry>,
    /// Bytes before the first.
    pub prefix: Vec<u8>,
    /// Comment of the end record.
    pub comment: Vec<u8>,
    /// Bytes behind the end record.
    pub tail: Vec<u8>,
    /// Stated number of files.
    pub count: Option<u16>,
    /// Stated offset of the directory.
    pub directory: Option<u32>,
    /// Stated size of the directory.
    pub directory_size: Option<u32>,
    /// Number of this disk.
    pub disk: u16,
    /// A record between directory and end: that of zip64, with two numbers of files, size and offset
    /// of the directory; a size of 0 stands for the true size and offset.
    pub zip64: Option<[u64; 4]>,
}

impl Zip {
    /// An archive of these files.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries, ..Self::default() }
    }

    /// The bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let mut directory = Vec::new();
        let mut listed = 0u16;
        for entry in &self.entries {
            let start = out.len() as u32;
            out.extend(b"PK\x03\x04\x14\0");
            out.extend(entry.flags.to_le_bytes());
            out.extend(entry.local_method.to_le_bytes());
            out.extend([0; 4]);
            out.extend(entry.crc.to_le_bytes());
            out.extend(entry.local_size.to_le_bytes());
            out.extend(entry.local_size.to_le_bytes());
            out.extend((entry.local_name.len() as u16).to_le_bytes());
            out.extend([0; 2]);
            out.extend(&entry.local_name);
            out.extend(&entry.data);
            if !entry.listed {
                continue;
            }
            listed += 1;
            directory.extend(b"PK\x01\x02\x14\0\x14\0");
            directory.extend(entry.flags.to_le_bytes());
            directory.extend(entry.method.to_le_bytes());
            directory.extend([0; 4]);
            directory.extend(entry.crc.to_le_bytes());
            directory.extend(entry.size.to_le_bytes());
            directory.extend(entry.size.to_le_bytes());
            directory.extend((entry.name.len() as u16).to_le_bytes());
            directory.extend((entry.extra.len() as u16).to_le_bytes());
            directory.extend([0; 10]);
            directory.extend(entry.offset.unwrap_or(start).to_le_bytes());
            directory.extend(&entry.name);
            directory.extend(&entry.extra);
        }
        let at = out.len() as u32;
        out.extend(&directory);
        if let Some([here, count, size, offset]) = self.zip64 {
            let record = out.len() as u64;
            out.extend(b"PK\x06\x06");
            out.extend(44u64.to_le_bytes());
            out.extend([45, 0, 45, 0]);
            out.extend([0; 8]);
            let (size, offset) = if size == 0 { (directory.len() as u64, at.into()) } else { (size, offset) };
            for field in [here, count, size, offset] {
                out.extend(field.to_le_bytes());
            }
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(record.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        let count = self.count.unwrap_or(listed);
        out.extend(b"PK\x05\x06");
        out.extend(self.disk.to_le_bytes());
        out.extend(self.disk.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(self.directory_size.unwrap_or(directory.len() as u32).to_le_bytes());
        out.extend(self.directory.unwrap_or(at).to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.tail);
        out
    }
}

/// CRC-32 of zip, bit by bit.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 }))
}
