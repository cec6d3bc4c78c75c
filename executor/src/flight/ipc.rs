//! Reads an Arrow IPC stream file message by message without decoding it: the bytes that lie on disk, compressed as they are,
//! go out as they are. Only the header of each message is looked at, to count the rows.

use std::io::{self, Read};

use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::FlightData;
use bytes::Bytes;

/// Marks a message's start since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A header above this is not one that was ever written here.
const LONGEST_HEADER: usize = 256 << 20;

/// One message and the rows it holds.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) data: FlightData,
    pub(super) rows: u64,
}

/// The messages of one file, in order.
#[derive(Debug)]
pub(super) struct Messages<R> {
    source: R,
    /// Bytes of the file not read yet: no message can be longer.
    left: u64,
}

impl<R: Read> Messages<R> {
    pub(super) fn new(source: R, length: u64) -> Self {
        Self {
            source,
            left: length,
        }
    }

    /// The next message; `None` at the end marker. A file that ends without the marker is cut off.
    pub(super) fn next(&mut self) -> io::Result<Option<Message>> {
        let prefix: [u8; 4] = self.array()?;
        if prefix != CONTINUATION {
            return Err(broken("no message starts here"));
        }
        let length = i32::from_le_bytes(self.array()?);
        if length == 0 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| broken("a header of negative length"))?;
        if length > LONGEST_HEADER {
            return Err(broken("a header too long to be one"));
        }
        let header = self.bytes(length)?;
        let (body, rows) = measure(&header)?;
        let body = self.bytes(body)?;
        let data = FlightData {
            data_header: header,
            data_body: body,
            ..Default::default()
        };
        Ok(Some(Message { data, rows }))
    }

    fn array(&mut self) -> io::Result<[u8; 4]> {
        let mut array = [0; 4];
        self.take(array.len())?;
        self.source.read_exact(&mut array)?;
        Ok(array)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Bytes> {
        self.take(length)?;
        let mut buffer = Vec::with_capacity(length);
        let read = (&mut self.source)
            .take(length as u64)
            .read_to_end(&mut buffer)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer.into())
    }

    /// Checks a length against what is left before any memory is set aside for it.
    fn take(&mut self, length: usize) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(())
    }
}

/// The length of the body that follows a header, and the rows in it.
fn measure(header: &[u8]) -> io::Result<(usize, u64)> {
    let message = root_as_message(header)
        .map_err(|error| broken(&format!("a header that cannot be read: {error}")))?;
    let body =
        usize::try_from(message.bodyLength()).map_err(|_| broken("a body of negative length"))?;
    let rows = match message.header_type() {
        MessageHeader::RecordBatch => {
            let batch = message
                .header_as_record_batch()
                .ok_or_else(|| broken("a record batch without its header"))?;
            u64::try_from(batch.length())
                .map_err(|_| broken("a record batch of negative length"))?
        }
        _ => 0,
    };
    Ok((body, rows))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

    use super::*;

    fn file() -> Vec<u8> {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
        let batch = RecordBatch::try_from_iter([("x", column)]).expect("batch");
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .expect("options");
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)
            .expect("writer");
        writer.write(&batch).expect("written");
        writer.write(&batch).expect("written");
        writer.finish().expect("finished");
        writer.into_inner().expect("bytes")
    }

    fn rows(bytes: &[u8]) -> io::Result<u64> {
        let mut messages = Messages::new(bytes, bytes.len() as u64);
        let mut rows = 0;
        while let Some(message) = messages.next()? {
            rows += message.rows;
        }
        Ok(rows)
    }

    #[test]
    fn a_whole_file_gives_all_its_rows_and_any_cut_is_seen() {
        let bytes = file();
        assert_eq!(rows(&bytes).expect("whole"), 2000);
        for cut in 0..bytes.len() {
            assert!(
                rows(&bytes[..cut]).is_err(),
                "cut at {cut} of {}",
                bytes.len()
            );
        }
    }

    #[test]
    fn a_length_that_is_a_lie_sets_no_memory_aside() {
        let mut bytes = CONTINUATION.to_vec();
        bytes.extend(i32::MAX.to_le_bytes());
        assert!(rows(&bytes).is_err());
    }
}
