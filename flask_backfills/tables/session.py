"""The session that a host hands over: which one to use now, and what the host has in it."""

from __future__ import annotations

import typing as t
import weakref
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import sqlalchemy as sa
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.orm import sessionmaker
from sqlalchemy.orm import SessionTransaction
from werkzeug.local import LocalProxy

#: What a host hands over: ``db.session``, or a function that returns the session to use now.
AnySession = scoped_session[t.Any] | Callable[[], Session | scoped_session[t.Any]]

#: What ``session.info`` knows: the transaction in which something was written, and the one that
#: is watched since it began.
_WRITTEN = "flask_backfills.written"
_WATCHED = "flask_backfills.watched"

#: Classes whose sessions take note of it. SQLAlchemy itself goes by ids, also of what is gone.
_watched: weakref.WeakSet[type[Session]] = weakref.WeakSet()


class Follower(t.NamedTuple):
    """What is told of the transactions of a thread's sessions."""

    #: A transaction has begun on a connection, be it one of several.
    begun: Callable[[Session, sa.Connection], None]
    commits: Callable[[Session], None]
    rolled_back: Callable[[Session], None]


#: Who follows the sessions of this thread: the host may put another one in the place of its own.
_follower: ContextVar[Follower | None] = ContextVar("flask_backfills.follower", default=None)

_CURE = "pass a scoped session such as db.session, or a function such as lambda: db.session"


def opener(session: AnySession) -> Callable[[], Session]:
    """A function that returns the session to use now, of what a host hands over.

    :raises TypeError: for what can't serve requests from several threads.
    """
    if issubclass(type(session), LocalProxy):
        # Before anything is asked of what may not be there yet.
        return _Opener(t.cast("LocalProxy[Session]", session)._get_current_object)
    if isinstance(session, Session):
        raise TypeError(f"one Session can't serve several threads: {_CURE}")
    if isinstance(session, (sessionmaker, type)):
        raise TypeError(f"{session!r} makes a new session at each call: {_CURE}")
    if not callable(session):
        raise TypeError(f"{session!r} is no session: {_CURE}")
    if not isinstance(session, scoped_session):
        return _Opener(session)
    if isinstance(session.session_factory, sessionmaker):
        _watch(session.session_factory.class_)
    return session


class _Opener:
    """Calls the host's function, and looks once whether it is one that serves."""

    def __init__(self, function: Callable[[], t.Any]) -> None:
        self.function = function
        self.is_checked = False

    def __call__(self) -> Session:
        session = self._open()
        if not self.is_checked:
            if session is not self._open():
                raise TypeError(f"the session function makes a new session at each call: {_CURE}")
            self.is_checked = True
        return session

    def _open(self) -> Session:
        found = self.function()
        if isinstance(found, scoped_session):
            found = found()
        if not isinstance(found, Session):
            raise TypeError(f"the session function returned {found!r}: {_CURE}")
        return found


def has_begun(session: Session, bind: sa.Engine | sa.Connection | None = None) -> bool:
    """Whether a session has a transaction in a database, not in Python alone.

    :param bind: that of one database; ``None`` for any of those that the session is bound to.
    """
    transaction = session.get_transaction()
    if transaction is None:
        return False
    begun = getattr(transaction, "_connections", None)
    return begun is None or (bool(begun) if bind is None else bind in begun)


def has_begun_in(session: Session, mapper: t.Any) -> bool:
    """Whether a session has a transaction in the database of a mapper's table."""
    # Mostly it has none in any, which is known without looking for the mapper's.
    return has_begun(session) and has_begun(session, session.get_bind(mapper))


def is_pending(session: Session) -> bool:
    """Whether a session has changes that are not flushed."""
    return bool(session.new or session.dirty or session.deleted)


def has_work(session: Session) -> bool:
    """Whether there is something in a session that can't be done again from here."""
    return is_pending(session) or has_begun(session)


def has_changes(session: Session) -> bool:
    """Whether something would be lost if the session's transaction were rolled back now.

    What was only read can be read again.
    """
    _watch(type(session))
    if not session.in_transaction():
        # Each change of an object begins one.
        return False
    if is_pending(session):
        return True
    # Of a transaction that began before anybody watched, nobody knows: it counts as written.
    return has_begun(session) and (_is(session, _WRITTEN) or not _is(session, _WATCHED))


def undo(session: Session) -> bool:
    """Roll back, even if the connection is lost: then the database has done it.

    :returns: ``False`` if it is too late: it is committed, and the host's own ``after_commit``
        has raised, after which the session can only be closed.
    """
    try:
        session.rollback()
    except sa.exc.DBAPIError:
        session.invalidate()
    except sa.exc.InvalidRequestError:
        session.close()
        return False
    return True


def is_heard(session: Session) -> bool:
    """Whether the host could tell that a session has executed and committed something."""
    told = session.dispatch
    events = [told.after_begin, told.after_commit, told.before_commit, told.do_orm_execute]
    events += [told.after_transaction_create, told.after_transaction_end]
    if any(one not in _OURS for event in events for one in event):
        return True
    # One of its own class may do them otherwise.
    does = ("begin", "close", "commit", "connection", "execute")
    own = any(getattr(type(session), name) is not getattr(Session, name) for name in does)
    return own or bool(getattr(session, "execution_options", None))


@contextmanager
def followed(session: Session, follower: Follower) -> Iterator[None]:
    """Tell of the transactions of this thread within the block.

    :param session: one of the class that all of them are of.
    """
    _watch(type(session))
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


def _watch(kind: type[Session]) -> None:
    """Take note of what sessions of a class do from now on."""
    if kind in _watched:
        return
    _watched.add(kind)
    sa.event.listen(kind, "do_orm_execute", _executed)
    sa.event.listen(kind, "after_begin", _begun)
    sa.event.listen(kind, "before_commit", _commits)
    sa.event.listen(kind, "after_rollback", _rolled_back)
    # Last: what another thread begins from here on is seen whole.
    sa.event.listen(kind, "after_transaction_create", _created)


def _note(session: Session, what: str, transaction: SessionTransaction | None) -> None:
    # A transaction knows its session: by the thing itself, both would stay until they are
    # looked for as a circle.
    session.info[what] = None if transaction is None else weakref.ref(transaction)


def _is(session: Session, what: str) -> bool:
    """Whether something was noted of the session's transaction."""
    noted = session.info.get(what)
    return noted is not None and noted() is session.get_transaction()


def _created(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        _note(session, _WATCHED, transaction)
    elif not transaction.nested:
        # A flush has one within the session's own, and so have the bulk methods, which flush
        # nothing.
        _note(session, _WRITTEN, session.get_transaction())


def _executed(state: t.Any) -> None:
    session = state.session
    if state.is_select and not isinstance(state.statement, sa.TextualSelect):
        return
    if not session.in_transaction() and session.autobegin:
        # As the statement does next: until then, there is none to take note of.
        session.begin()
    _note(session, _WRITTEN, session.get_transaction())


def _begun(session: Session, transaction: SessionTransaction, connection: sa.Connection) -> None:
    if follower := _follower.get():
        follower.begun(session, connection)


def _commits(session: Session) -> None:
    if follower := _follower.get():
        follower.commits(session)


def _rolled_back(session: Session) -> None:
    if follower := _follower.get():
        follower.rolled_back(session)


#: What listens to sessions that is no host's.
_OURS = (_begun, _commits, _created, _executed, _rolled_back)
