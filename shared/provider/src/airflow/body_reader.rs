//! The body of a response as it arrives. The `conf` of a run that is too large to be published is left out
//! while it is read, so that the rest of its row is read in spite of it.

use std::ops::Range;

use contract::events::MAX_CONF_SIZE;

/// Maximum size of a decoded body, in bytes, without what was left out.
pub(super) const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// Maximum size of a decoded body, in bytes, with what was left out.
const RECEIVED_LIMIT: usize = 64 * 1024 * 1024;
/// The field, as JSON.
const CONF: &[u8] = b"\"conf\"";
/// The nesting of a row that is a body of its own, and of a row in a list.
const ROW_DEPTHS: [usize; 2] = [1, 3];
/// The only field of an object in place of a value that was left out. No name of a field has a NUL.
const LEFT_OUT: &str = r#"{"\u0000left out":"#;

/// The size in bytes of a value that was left out; none for any other value.
pub(super) fn left_out_size(json: &str) -> Option<u64> {
    json.strip_prefix(LEFT_OUT)?.strip_suffix('}')?.parse().ok()
}

/// A body of which a part has arrived.
pub(super) struct BodyReader {
    body: Vec<u8>,
    received: usize,
    /// The maximum size of the body without what was left out.
    limit: usize,
    /// A body up to this size has no `conf` that is too large, and is not scanned.
    max_conf: usize,
    scanner: Option<ConfScanner>,
}

/// The body is larger than its limits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BodyTooLarge;

impl BodyReader {
    pub(super) fn new(limit: usize) -> Self {
        Self::leaving_out(MAX_CONF_SIZE, limit)
    }

    fn leaving_out(max_conf: usize, limit: usize) -> Self {
        Self { body: Vec::new(), received: 0, limit, max_conf, scanner: None }
    }

    /// Adds bytes that have arrived.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), BodyTooLarge> {
        self.received += chunk.len();
        if self.scanner.is_none() && self.received > self.max_conf {
            let mut scanner = ConfScanner::new(self.max_conf);
            let unscanned = std::mem::take(&mut self.body);
            scanner.scan(&unscanned, &mut self.body);
            self.scanner = Some(scanner);
        }
        match &mut self.scanner {
            Some(scanner) => scanner.scan(chunk, &mut self.body),
            None => self.body.extend_from_slice(chunk),
        }
        let is_too_large = self.body.len() > self.limit || self.received > RECEIVED_LIMIT;
        if is_too_large { Err(BodyTooLarge) } else { Ok(()) }
    }

    /// The body, all of which has arrived.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// Copies JSON without the `conf` of rows that is too large.
struct ConfScanner {
    max: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The last string in the copy.
    string: Range<usize>,
    conf: Option<ConfValue>,
}

/// The `conf` that is being read.
struct ConfValue {
    /// Where it begins in the copy.
    start: usize,
    depth: usize,
    size: usize,
}

impl ConfScanner {
    fn new(max: usize) -> Self {
        Self { max, depth: 0, in_string: false, is_escaped: false, string: 0..0, conf: None }
    }

    fn scan(&mut self, json: &[u8], copy: &mut Vec<u8>) {
        for byte in json {
            match self.conf.take() {
                Some(conf) if self.ends(&conf, *byte) => {
                    if conf.size > self.max {
                        copy.extend_from_slice(format!("{LEFT_OUT}{}}}", conf.size).as_bytes());
                    }
                    self.copy(*byte, copy);
                }
                Some(conf) => self.scan_conf(conf, *byte, copy),
                None => self.copy(*byte, copy),
            }
        }
    }

    /// Whether the value ends before this byte.
    fn ends(&self, conf: &ConfValue, byte: u8) -> bool {
        !self.in_string && self.depth == conf.depth && matches!(byte, b',' | b'}')
    }

    fn scan_conf(&mut self, mut conf: ConfValue, byte: u8, copy: &mut Vec<u8>) {
        conf.size += 1;
        if conf.size <= self.max {
            copy.push(byte);
        } else {
            copy.truncate(conf.start);
        }
        self.advance(byte);
        self.conf = Some(conf);
    }

    fn copy(&mut self, byte: u8, copy: &mut Vec<u8>) {
        let was_in_string = self.in_string;
        copy.push(byte);
        self.advance(byte);
        if self.in_string && !was_in_string {
            self.string.start = copy.len() - 1;
        } else if was_in_string && !self.in_string {
            self.string.end = copy.len();
        } else if !self.in_string && byte == b':' && self.is_conf(copy) {
            self.conf = Some(ConfValue { start: copy.len(), depth: self.depth, size: 0 });
        }
    }

    /// Whether the last string is the name of the field in a row.
    fn is_conf(&self, copy: &[u8]) -> bool {
        ROW_DEPTHS.contains(&self.depth) && copy.get(self.string.clone()) == Some(CONF)
    }

    fn advance(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = self.in_string,
            b'"' => self.in_string = !self.in_string,
            b'[' | b'{' if !self.in_string => self.depth += 1,
            b']' | b'}' if !self.in_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body in chunks of this size, without any `conf` of more than 20 bytes.
    fn read(body: &str, chunk: usize) -> String {
        let mut reader = BodyReader::leaving_out(20, BODY_LIMIT);
        for chunk in body.as_bytes().chunks(chunk) {
            reader.push(chunk).unwrap();
        }
        String::from_utf8(reader.into_body()).unwrap()
    }

    #[test]
    fn only_the_large_conf_of_a_row_is_left_out() {
        let large = r#"{"a}\"],": [1, "{[,", {"conf": 2}]}"#;
        let left_out = format!(r#"{{"\u0000left out":{}}}"#, large.len());
        for (body, expected) in [
            (
                format!(r#"{{"dag_runs":[{{"id":"a","conf":{large},"n":1}},{{"conf":{{"b":1}}}}]}}"#),
                format!(r#"{{"dag_runs":[{{"id":"a","conf":{left_out},"n":1}},{{"conf":{{"b":1}}}}]}}"#),
            ),
            (format!(r#"{{"conf":{large}}}"#), format!(r#"{{"conf":{left_out}}}"#)),
            (
                r#"{"conf":"a text, of more than 20 bytes","n":1}"#.to_owned(),
                r#"{"conf":{"\u0000left out":31},"n":1}"#.to_owned(),
            ),
        ] {
            for chunk in [1, 7, 1000] {
                assert_eq!(read(&body, chunk), expected);
            }
        }
        for body in [
            r#"{"dag_runs":[{"id":"conf","conf":null,"note":"{\"conf\": of more than 20 bytes"}]}"#,
            r#"{"other":{"conf":"a text of more than 20 bytes"},"dags":[["conf","a text of 20 bytes"]]}"#,
        ] {
            assert_eq!(read(body, 3), body);
        }
        assert_eq!(left_out_size(&left_out), Some(large.len() as u64));
        assert_eq!(left_out_size(r#"{"a":1}"#), None);
    }

    #[test]
    fn a_body_has_two_limits() {
        let fill = |reader: &mut BodyReader, mut bytes: usize| {
            let chunk = vec![b'x'; 1 << 20];
            while bytes > 0 {
                reader.push(&chunk)?;
                bytes -= chunk.len();
            }
            Ok(())
        };
        for limit in [BODY_LIMIT, 6 << 20] {
            let mut reader = BodyReader::new(limit);
            assert_eq!(fill(&mut reader, limit), Ok(()));
            assert_eq!(reader.push(b"x"), Err(BodyTooLarge));
        }
        let mut reader = BodyReader::new(BODY_LIMIT);
        reader.push(br#"{"conf":""#).unwrap();
        assert_eq!(fill(&mut reader, 63 << 20), Ok(()));
        assert_eq!(fill(&mut reader, 1 << 20), Err(BodyTooLarge));
    }
}
