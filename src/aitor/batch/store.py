"""
Journal and files as one: what was saved here is saved for good.

The order is what makes it safe. A group of records is committed to the journal
first and copied to the files afterwards, and the next run begins by making good
whatever copy was not finished. So no record is in a file before it is safe, none is
taken back after a crash, and none is twice there. Only what a user asks for takes
records out; the journal then says that the files are to be written anew, until they
have been.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from anyio import to_thread

from aitor.batch.errors import StorageError
from aitor.batch.journal import ERRORS, OUTPUT, Admitted, Journal, Record
from aitor.batch.names import Name, Names
from aitor.batch.output import OutputFile
from aitor.batch.rows import Row

__all__ = ("Store", "StoreOptions")


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """
    Where a batch keeps what it gets.

    Args:
        output: The file for records; `-` for the standard output.
        errors: Another one for those of failed rows; None for the same.
        journal: The journal; None for one that goes when the run ends, so that
            the batch cannot be resumed.
        settings: By name, everything outside the rows that can change an answer.
        restart: Forget all that is stored.
        recover: Take over records in the output that the journal does not know.
        retry_failed: Forget the rows that failed, so that they are run again.
        accept_changes: Keep answers that were got with other settings.
    """

    output: str
    errors: str | None = None
    journal: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    restart: bool = False
    recover: bool = False
    retry_failed: bool = False
    accept_changes: bool = False


class Store:
    """
    What a run of a batch has open. One thread at a time may use it.

    Args:
        options: Where to keep what.

    Raises:
        ConfigurationError: If another run has it open, or something there was
            made by something else.
        StorageError: If it cannot be written.
    """

    def __init__(self, options: StoreOptions) -> None:
        self.notes: list[str] = []
        self._closing = ExitStack()
        self._files: list[OutputFile] = []
        try:
            with _disk("the list of names seen (TMPDIR)"):
                self._names = Names()
            self._closing.callback(self._names.close)
            with _disk(options.journal):
                self._journal = Journal(options.journal or "")
            self._closing.callback(self._journal.close)
            self._open(options)
        except BaseException:
            self.close()
            raise

    def _open(self, options: StoreOptions) -> None:
        journal = self._journal
        self._add_file(options.output, OUTPUT)
        if options.errors is not None:
            self._add_file(options.errors, ERRORS)
        # The files are looked at before anything is decided that overwrites them:
        # where a wrong name was given, what is there stays.
        if not (journal.rewrite or options.recover):
            for file in self._files:
                self._follow(file)
        with _disk(options.journal):
            if options.restart:
                journal.clear()
            differ = journal.settle(options.settings, accept=options.accept_changes)
            journal.arrange(
                apart=options.errors is not None, retry_failed=options.retry_failed
            )
            if differ and journal.holds(failed=True):
                self.notes.append(
                    f"rows that failed had other settings ({', '.join(differ)}); run "
                    f"them again with --retry-failed"
                )
        if options.recover:
            self._recover()
        for file in self._files:
            if journal.rewrite and not file.is_stream:
                with _disk(file.path):
                    file.rewrite(journal)
        with _disk(options.journal):
            journal.rewritten()

    def _add_file(self, path: str, number: int) -> None:
        file = OutputFile(path, number)
        self._closing.enter_context(_disk(file.path))
        self._closing.callback(file.close)
        self._files.append(file)

    def _recover(self) -> None:
        for file in self._files:
            if not file.is_stream:
                with _disk(file.path):
                    taken = self._journal.take_over(file.records())
                self.notes.append(
                    f"{taken:,} records of {file.path} were taken over; they count as "
                    f"got with these settings"
                )

    def _follow(self, file: OutputFile) -> None:
        with _disk(file.path):
            torn = file.follow(self._journal)
        if torn:
            self.notes.append(
                f"{file.path} ended in the middle of a record: its last {torn:,} bytes "
                f"were cut off and written again from the journal"
            )

    def announce(self, names: Sequence[Name]) -> None:
        """
        Note the names of rows to come, before any of them is asked.

        Raises:
            InputError: If one is given twice.
            StorageError: If the disk is full.
        """
        with _disk("the list of names seen (TMPDIR)"):
            self._names.add(names)

    def admit(self, rows: Sequence[Row], *, announced: bool = False) -> Admitted:
        """
        Return those of *rows* that have not ended yet.

        Args:
            rows: The next ones of the input.
            announced: Whether their names were.

        Raises:
            InputError: If a name is given twice, or was announced elsewhere; else as
                for `Journal.admit`.
            StorageError: If the disk is full.
        """
        names = [Name(row.custom_id, row.line) for row in rows]
        with _disk("the list of names seen (TMPDIR)"):
            if announced:
                self._names.check(names)
            else:
                self._names.add(names)
        with _disk(self._journal.path):
            return self._journal.admit(rows)

    def save(self, records: Sequence[Record]) -> None:
        """
        Store *records* and copy them to their files; for pipes they wait for `flush`.

        Raises:
            StorageError: If either cannot be written. Where only the copy failed,
                the next run makes it good.
        """
        with _disk(self._journal.path):
            texts = self._journal.add(records)
        for file, text in zip(self._files, texts, strict=False):
            with _disk(file.path):
                file.append(text)

    async def replay(self) -> None:
        """
        Give streams what earlier runs have brought.

        Raises:
            StorageError: If one cannot be written, or its reader has gone.
        """
        for file in self._files:
            if file.is_stream:
                pieces = file.pieces(self._journal)
                while await to_thread.run_sync(self._pass_on, pieces, file):
                    await self.flush()

    def _pass_on(self, pieces: Iterator[bytes], file: OutputFile) -> bool:
        with _disk(self._journal.path):
            piece = next(pieces, b"")
        with _disk(file.path):
            file.append(piece)
        return bool(piece)

    async def flush(self) -> None:
        """
        Wait until the readers of pipes have taken what they are to get.

        Raises:
            StorageError: If one has gone.
        """
        for file in self._files:
            with _disk(file.path):
                await file.flush()

    def close(self) -> None:
        """
        Close everything.

        Raises:
            StorageError: If what was written last did not reach the disk.
        """
        self._closing.close()


@contextmanager
def _disk(path: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"{path or 'the temporary journal'} cannot be written ({reason}); what is "
            f"stored is intact: see to that, and run the same command again"
        ) from error
