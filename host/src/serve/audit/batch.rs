//! Lines that are written together.

use std::{
    io::{self, ErrorKind, Write},
    mem,
};

/// Whole lines, each with its end. What has been written is taken off.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
    }

    /// Adds what `other` has, and leaves it empty.
    pub(super) fn take(&mut self, other: &mut Self) {
        if self.is_empty() {
            // Two buffers take turns: neither is made anew.
            mem::swap(self, other);
        } else {
            self.bytes.append(&mut other.bytes);
        }
    }

    /// Writes everything, by one call if the system takes it. After an error, what is left begins with the line that was
    /// cut, if one was, and before that ends the part of it that is in the file: it is not to be glued to anything.
    pub(super) fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.bytes.len() {
                break Ok(());
            }
            match to.write(&self.bytes[written..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let whole = self.bytes[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.bytes.drain(..whole);
        if written > whole {
            self.bytes.insert(0, b'\n');
        }
        result
    }

    /// Forgets that the file ends in the middle of a line: what is left goes into another one.
    pub(super) fn begin_elsewhere(&mut self) {
        if self.bytes.first() == Some(&b'\n') {
            self.bytes.remove(0);
        }
    }

    /// Ends a line that the file was found to end in the middle of.
    pub(super) fn end_line_before(&mut self) {
        self.begin_elsewhere();
        self.bytes.insert(0, b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at each call; then fails once, and goes on.
    struct Stutters {
        file: Vec<u8>,
        takes: Vec<Result<usize, ErrorKind>>,
    }

    impl Write for Stutters {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = if self.takes.is_empty() { usize::MAX } else { self.takes.remove(0)? };
            let taken = bytes.len().min(most);
            self.file.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the file has in the end, and how often it failed before.
    fn check(takes: &[Result<usize, ErrorKind>], expected: (&str, usize)) {
        let mut file = Stutters { file: Vec::new(), takes: takes.to_vec() };
        let mut batch = Batch::default();
        batch.push(b"one");
        batch.push(b"two");
        let mut failures = 0;
        while batch.write_to(&mut file).is_err() {
            failures += 1;
        }
        assert!(batch.is_empty());
        assert_eq!((str::from_utf8(&file.file).expect("text"), failures), expected, "{takes:?}");
    }

    #[test]
    fn a_line_that_was_cut_is_written_again_on_a_line_of_its_own() {
        use ErrorKind::{Interrupted, StorageFull};
        check(&[], ("one\ntwo\n", 0));
        check(&[Ok(2), Ok(3), Err(Interrupted)], ("one\ntwo\n", 0));
        check(&[Err(StorageFull)], ("one\ntwo\n", 1));
        check(&[Ok(4), Err(StorageFull)], ("one\ntwo\n", 1));
        check(&[Ok(2), Err(StorageFull)], ("on\none\ntwo\n", 1));
        check(&[Ok(6), Err(StorageFull)], ("one\ntw\ntwo\n", 1));
        check(&[Ok(7), Err(StorageFull)], ("one\ntwo\ntwo\n", 1));
        check(&[Ok(2), Err(StorageFull), Err(StorageFull)], ("on\none\ntwo\n", 2));
        check(&[Ok(2), Err(StorageFull), Ok(1), Err(StorageFull)], ("on\none\ntwo\n", 2));
        check(&[Ok(2), Err(StorageFull), Ok(3), Err(StorageFull)], ("on\non\none\ntwo\n", 2));
        check(&[Ok(0)], ("one\ntwo\n", 1));
    }

    #[test]
    fn what_is_left_begins_another_file_with_a_whole_line() {
        let mut file = Stutters { file: Vec::new(), takes: vec![Ok(2), Err(ErrorKind::StorageFull)] };
        let (mut batch, mut queue) = (Batch::default(), Batch::default());
        batch.push(b"one");
        assert!(batch.write_to(&mut file).is_err());
        queue.push(b"two");
        batch.take(&mut queue);
        assert!(queue.is_empty());
        let mut other = Vec::new();
        batch.begin_elsewhere();
        batch.write_to(&mut other).expect("memory");
        assert_eq!(other, b"one\ntwo\n");
    }
}
