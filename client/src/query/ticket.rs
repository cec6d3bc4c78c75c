//! What a ticket promises: how many rows its reader must get.

use prost::Message;
use whimbrel_proto::v1::{ResultTicket, SignedTicket};

/// Rows behind the ticket, where it is one of a finished partition. A pool may hand out other tickets, which promise nothing.
pub(crate) fn promised_rows(ticket: &[u8]) -> Option<u64> {
    let SignedTicket { ticket, .. } = SignedTicket::decode(ticket).ok()?;
    let ticket = ResultTicket::decode(ticket.as_slice()).ok()?;
    (!ticket.query_id.is_empty() && !ticket.executor_id.is_empty() && !ticket.file.is_empty())
        .then_some(ticket.rows)
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};

    use super::*;

    #[test]
    fn only_a_partition_ticket_promises_rows() {
        let ticket = ResultTicket {
            query_id: "q".into(),
            executor_id: "e".into(),
            file: "j/1/0/data.arrow".into(),
            rows: 7,
            ..ResultTicket::default()
        };
        let signed = SignedTicket {
            ticket: ticket.encode_to_vec(),
            kid: "k".into(),
            signature: vec![1; 64],
        };
        assert_eq!(promised_rows(&signed.encode_to_vec()), Some(7));
        let foreign = TicketStatementQuery {
            statement_handle: b"abc".to_vec().into(),
        };
        assert_eq!(promised_rows(&foreign.as_any().encode_to_vec()), None);
        assert_eq!(promised_rows(b"\xff\xff"), None);
    }
}
