"""A change that a request asks for, beside what the host itself has changed in its session."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction

from .database import alone
from .database import Database
from .session import has_changes
from .session import undo

R = t.TypeVar("R")


def change(database: Database, do: Callable[[], R], *, keep: bool = True) -> R:
    """Do what a request asks for in a transaction, and again if the database interrupts it.

    What the host has changed stays in its session if this fails, and is committed with it if
    not. Then it is done once, since what the host did can't be done again from here.

    :param do: leaves nothing behind when its transaction is rolled back.
    :param keep: ``False`` to roll back at the end in any case.
    """
    if not has_changes(database.session):
        return database.again(do, keep=keep, twice=False)
    with alone(database.engine), _savepoint(database, keep):
        return do()


@contextmanager
def _savepoint(database: Database, keep: bool) -> Iterator[None]:
    session = database.session
    if keep:
        database.begin_writing()
    savepoint = session.begin_nested()
    try:
        yield
        session.flush()
    except BaseException:
        _undo(session, savepoint)
        raise
    if not keep:
        _undo(session, savepoint)
        return
    try:
        savepoint.commit()
        database.commit()
    except BaseException:
        undo(session)
        raise


def _undo(session: Session, savepoint: SessionTransaction) -> None:
    try:
        savepoint.rollback()
    except sa.exc.SQLAlchemyError:
        # The database has undone all of it: after a deadlock, some do.
        undo(session)
