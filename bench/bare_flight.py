"""A Flight server that does nothing but serve batches which it holds in memory, by pyarrow's own C++: `bare_flight.py FILE...`.

Each file is an Arrow stream; a ticket is a file's place. It prints its port as a line of JSON and ends with its standard input.
"""

import json
import sys
import threading

import pyarrow as pa
import pyarrow.flight as flight


class Bare(flight.FlightServerBase):
    def __init__(self, files: list[str]):
        super().__init__("grpc://127.0.0.1:0")
        self.parts = []
        for name in files:
            with pa.OSFile(name) as file, pa.ipc.open_stream(file) as reader:
                self.parts.append((reader.schema, list(reader)))

    def do_get(self, _context, ticket: flight.Ticket) -> flight.FlightDataStream:
        schema, batches = self.parts[int(ticket.ticket)]
        return flight.RecordBatchStream(pa.RecordBatchReader.from_batches(schema, batches))


def main() -> int:
    server = Bare(sys.argv[1:])
    print(json.dumps({"port": server.port}), flush=True)
    serving = threading.Thread(target=server.serve, daemon=True)
    serving.start()
    sys.stdin.read()
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
