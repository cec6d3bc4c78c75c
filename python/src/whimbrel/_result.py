"""What a query gives. Nothing is sent to the pool before the rows are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow

from whimbrel import _show
from whimbrel._error import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from whimbrel._wire import Reader


class Result:
    """The rows of a query. Each way to ask for them runs the query anew, but `to_arrow` keeps what it got for the others."""

    def __init__(self, run: Callable[[], Reader]) -> None:
        self._run = run
        self._table: Any = None

    def __iter__(self) -> Iterator[Any]:
        """The `pyarrow.RecordBatch`es as they come; a loop that is left early ends the query."""
        if self._table is not None:
            yield from self._table.to_batches()
            return
        reader = self._run()
        try:
            yield from reader
        finally:
            reader.close()

    def to_reader(self) -> Any:
        """A `pyarrow.RecordBatchReader`: for results that are larger than memory."""
        if self._table is not None:
            return self._table.to_reader()
        reader = self._run()
        return pyarrow.RecordBatchReader.from_batches(reader.schema, iter(reader))

    def to_arrow(self) -> Any:
        """All rows, as a `pyarrow.Table`."""
        if self._table is None:
            reader = self._run()
            self._table = pyarrow.Table.from_batches(list(reader), schema=reader.schema)
        return self._table

    def to_pandas(self) -> Any:
        """All rows, as a `pandas.DataFrame`."""
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise Error("invalid", "pandas is not installed", "install it with: pip install 'whimbrel[pandas]'") from None
        return self.to_arrow().to_pandas()

    def to_rows(self) -> list[dict[str, Any]]:
        """All rows, as dictionaries."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def show(self, n: int = 20) -> None:
        """Prints the first `n` rows, and says where there are more. Reads no more than it needs."""
        names, rows, more = self.head(n)
        print(_show.table(names, rows))
        if more:
            print(f"only the first {n} rows are shown")

    def head(self, n: int) -> tuple[list[str], list[list[Any]], bool]:
        """Names, the first `n` rows, and whether there are more."""
        reader = self._table.to_reader() if self._table is not None else self._run()
        rows: list[list[Any]] = []
        try:
            for batch in reader:
                columns = [column.to_pylist() for column in batch.slice(0, n + 1 - len(rows)).columns]
                rows.extend(list(row) for row in zip(*columns, strict=True))
                if len(rows) > n:
                    break
        finally:
            reader.close()
        return list(reader.schema.names), rows[:n], len(rows) > n
