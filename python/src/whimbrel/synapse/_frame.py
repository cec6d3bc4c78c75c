"""A DataFrame: a query's text, which each call wraps in another, and which runs when rows are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from whimbrel import _show
from whimbrel._error import Error
from whimbrel._quote import identifier
from whimbrel._result import Result
from whimbrel.synapse import _text
from whimbrel.synapse._column import Column, expr, named, of, resolve

if TYPE_CHECKING:
    from whimbrel.synapse._session import SparkSession
    from whimbrel.synapse._writer import DataFrameWriter

# As Spark shows a cell.
SHOWN_LETTERS = 20


class Row(tuple[Any, ...]):
    """One row: by place, by name, or as an attribute. SQL keeps no capitals of a name without quotes, so they do not matter here."""

    __fields__: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: tuple[str, ...], values: Any) -> Row:
        """The values under their names."""
        row = cls(values)
        row.__fields__ = names
        return row

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._place(key) if isinstance(key, str) else key)

    def _place(self, name: str) -> int:
        try:
            return self.__fields__.index(resolve(name, self.__fields__))
        except Error:
            raise KeyError(name) from None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getitem__(self._place(name))
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        return "Row(" + ", ".join(f"{name}={value!r}" for name, value in zip(self.__fields__, self, strict=True)) + ")"

    def asDict(self) -> dict[str, Any]:
        """The row as a dictionary."""
        return dict(zip(self.__fields__, self, strict=True))


class DataFrame:
    """The rows of a query."""

    def __init__(self, session: SparkSession, sql: str, *, answer: Any = None) -> None:
        self._session = session
        self._sql = sql
        # The rows of a statement that ran already; it cannot be wrapped in a query.
        self._answer = answer
        self._schema: Any = None

    def __repr__(self) -> str:
        return f"DataFrame[{', '.join(f'{name}: {kind}' for name, kind in self.dtypes)}]"

    # What it is.

    @property
    def sql_text(self) -> str:
        """The query."""
        if self._answer is not None:
            raise Error("invalid", f"{_text.first_word(self._sql)} gives rows that no query can be made of", "select from a table instead")
        return self._sql

    @property
    def schema(self) -> Any:
        """Names and types of its columns, as a `pyarrow.Schema`."""
        if self._answer is not None:
            return self._answer.schema
        if self._schema is None:
            self._schema = self._session.connection.sql(f"SELECT * FROM ({self._sql}\n) AS t LIMIT 0").to_arrow().schema
        return self._schema

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self.schema.names)

    @property
    def dtypes(self) -> list[tuple[str, str]]:
        """The names of its columns, with the names of their types."""
        return [(field.name, str(field.type)) for field in self.schema]

    def printSchema(self) -> None:
        """Prints names and types."""
        print("root")
        for field in self.schema:
            print(f" |-- {field.name}: {field.type} (nullable = {'true' if field.nullable else 'false'})")

    def __getitem__(self, key: Any) -> Any:
        """`df["name"]` is a column, `df[condition]` and `df[["a", "b"]]` are frames."""
        if isinstance(key, str):
            return named(resolve(key, self.columns))
        if isinstance(key, Column):
            return self.filter(key)
        if isinstance(key, (list, tuple)):
            return self.select(*key)
        raise Error("invalid", f"a DataFrame has no [{key!r}]", "write a column's name, a condition, or a list of columns")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return named(resolve(name, self.columns))
        except Error:
            raise AttributeError(name) from None

    # Other frames of it.

    def _derived(self, select: str, rest: str = "") -> DataFrame:
        return DataFrame(self._session, f"SELECT {select} FROM ({self.sql_text}\n) AS t{rest}")

    def _listed(self, columns: list[Column]) -> str:
        known = self.columns
        return ", ".join(
            column.sql(known) if column.name in (None, "*") else f"{column.sql(known)} AS {identifier(str(column.name))}"
            for column in columns
        )

    def select(self, *columns: Any) -> DataFrame:
        """These columns, names, or expressions."""
        given = columns[0] if len(columns) == 1 and isinstance(columns[0], (list, tuple)) else columns
        if not given:
            raise Error("invalid", "select() names no column", "name some, or '*'")
        return self._derived(self._listed([of(column) for column in given]))

    def selectExpr(self, *texts: str) -> DataFrame:
        """These expressions, in SQL."""
        return self._derived(", ".join(texts) + "\n")

    def withColumn(self, name: str, column: Column) -> DataFrame:
        """All columns, and this one; in the place of the one of this name where there is one."""
        if not isinstance(column, Column):
            raise Error("invalid", f"withColumn('{name}', ...) got {column!r}", "give a column; lit(value) is one")
        known = self.columns
        there = [each for each in known if each.casefold() == name.casefold()]
        columns = [column.alias(name) if each in there else named(each) for each in known]
        return self._derived(self._listed(columns if there else [*columns, column.alias(name)]))

    def withColumnRenamed(self, old: str, new: str) -> DataFrame:
        """The same with another name for a column."""
        return self._derived(self._listed([named(each).alias(new if each == old else each) for each in self.columns]))

    def drop(self, *names: str) -> DataFrame:
        """All columns but these."""
        kept = [each for each in self.columns if each not in names]
        return self.select(*kept)

    def filter(self, condition: Column | str) -> DataFrame:
        """The rows for which the condition holds; a text is SQL."""
        held = expr(condition) if isinstance(condition, str) else condition
        return self._derived("t.*", f" WHERE {held.sql(self.columns)}")

    where = filter

    def limit(self, rows: int) -> DataFrame:
        """At most so many rows."""
        return DataFrame(self._session, _text.limited(self.sql_text, int(rows)))

    # Its rows.

    def _result(self, sql: str) -> Result:
        return self._session.connection.sql(sql)

    def _all(self) -> Any:
        return self._answer if self._answer is not None else self._result(self._sql).to_arrow()

    def _some(self, rows: int) -> tuple[list[str], list[list[Any]], bool]:
        if self._answer is not None:
            listed = [list(row.values()) for row in self._answer.slice(0, rows).to_pylist()]
            return list(self._answer.schema.names), listed, self._answer.num_rows > rows
        return self._result(_text.limited(self._sql, rows + 1)).head(rows)

    def show(self, n: int = 20, truncate: bool | int = True) -> None:
        """Prints the first rows; texts beyond 20 letters are cut unless `truncate` says otherwise."""
        names, rows, more = self._some(n)
        letters = SHOWN_LETTERS if truncate is True else int(truncate)
        print(_show.table(names, rows, letters))
        if more:
            print(f"only showing top {n} rows")

    def count(self) -> int:
        """How many rows there are."""
        if self._answer is not None:
            return int(self._answer.num_rows)
        return int(self._result(f"SELECT count(*) FROM ({self._sql}\n) AS t").to_arrow().column(0)[0].as_py())

    def collect(self) -> list[Row]:
        """All rows."""
        return list(self.toLocalIterator())

    def toLocalIterator(self) -> Iterator[Row]:
        """All rows, one after another, without holding them all."""
        names = tuple(self.schema.names)
        batches = self._answer.to_batches() if self._answer is not None else self._result(self._sql)
        for batch in batches:
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield Row.of(names, values)

    def take(self, n: int) -> list[Row]:
        """The first rows."""
        names, rows, _ = self._some(n)
        return [Row.of(tuple(names), row) for row in rows]

    def head(self, n: int | None = None) -> Any:
        """The first rows; without a number the first one, or `None`."""
        rows = self.take(1 if n is None else n)
        return rows if n is not None else (rows[0] if rows else None)

    def first(self) -> Row | None:
        """The first row."""
        found: Row | None = self.head()
        return found

    def toPandas(self) -> Any:
        """All rows, as a `pandas.DataFrame`."""
        return self._answer.to_pandas() if self._answer is not None else self._result(self._sql).to_pandas()

    def toArrow(self) -> Any:
        """All rows, as a `pyarrow.Table`."""
        return self._all()

    # What else becomes of it.

    def createOrReplaceTempView(self, name: str) -> None:
        """Gives the query a name in this session."""
        self._session.put_view(name, self.sql_text)

    @property
    def write(self) -> DataFrameWriter:
        """Writes the rows, by a score job."""
        from whimbrel.synapse._writer import DataFrameWriter

        return DataFrameWriter(self)
