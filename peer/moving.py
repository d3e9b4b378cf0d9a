"""`shoal move`: the sync folder goes to another place, by one rename (docs/sync-engine.md, "Moving the folder").

The client database says where the folder is, and while it moves also where to. The marker goes with the folder, so
after a crash it tells which of the two is true; `settle` writes that down before anything is synced.
"""

import errno

from peer.database import Database
from peer.ports import Descriptor, Disk, EntryKind
from peer.root import SyncRoot, open_folder, refuse_inside_another
from protocol.errors import Problem, Usage, WrongRoot, reason_of
from protocol.failpoints import failpoint

FOLDER_SETTING, ROOT_SETTING, MOVING_SETTING = "folder", "root", "moving"


def chosen_folder(database: Database) -> str | None:
    """Where the folder is; None before the first run."""
    return _path(database, FOLDER_SETTING)


def settle(disk: Disk, database: Database) -> None:
    """Find out what became of a move that a crash has interrupted. If neither place is there it stays open."""
    old, new = chosen_folder(database), _path(database, MOVING_SETTING)
    if old is None or new is None:
        return
    if _is_ours(disk, database, old):
        _write_down(database, old)
    elif _is_ours(disk, database, new):
        _write_down(database, new)


def move_folder(disk: Disk, database: Database, home: str, new: str) -> None:
    """Move the folder to the absolute path `new`, where nothing may be yet; nobody may be syncing it. A folder that a
    person has moved there already is taken over. `Usage` and `Problem` say why it stays where it is."""
    settle(disk, database)
    old = chosen_folder(database)
    if old is None:
        raise Usage("this home syncs no folder yet: shoal run FOLDER chooses one")
    if old == new:
        raise Usage(f"the folder is at {new} already")
    if not _is_ours(disk, database, old) and _is_ours(disk, database, new):
        _take_over(database, new)
        return
    if f"{new}/".startswith(f"{old}/"):
        raise Usage(f"{new} is in the folder itself")
    if f"{home}/".startswith(f"{old}/"):
        raise Usage(f"the home {home} is in the folder, and would move with it")
    with open_folder(disk, _root(database, old)):
        pass  # `WrongRoot` says what is wrong with it
    refuse_inside_another(disk, new)
    database.set_setting(MOVING_SETTING, _raw(new))
    database.checkpoint()  # the rename must not be on the disk before this is
    failpoint("peer.move.noted")
    try:
        _rename(disk, old, new)
    except BaseException:
        settle(disk, database)
        raise
    failpoint("peer.move.renamed")
    _write_down(database, new)


def _rename(disk: Disk, old: str, new: str) -> None:
    (from_folder, from_name), (to_folder, to_name) = _split(old), _split(new)
    opened = list[Descriptor]()
    try:
        for path in (from_folder, to_folder):
            opened.append(disk.open_root(path))
        source, target = opened
        if disk.stat(source, from_name).kind is not EntryKind.DIRECTORY:
            raise Usage(f"{old} is a symlink to the folder: move what it leads to, and then run shoal move there")
        disk.rename(source, from_name, target, to_name)
        disk.fsync(target)
        disk.fsync(source)
    except OSError as error:
        raise Problem(_reason(error, old, new)) from None
    finally:
        for descriptor in opened:
            disk.close(descriptor)


def _reason(error: OSError, old: str, new: str) -> str:
    if error.errno in (errno.EXDEV, errno.EBUSY):
        return (
            f"{new} is on another file system than {old}. Stop Shoal, move the folder yourself (mv {old} {new}), "
            f"then run shoal move {new}: all files are compared, nothing is deleted"
        )
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
        return f"there is something at {new} already: the folder takes that name itself"
    return f"{old} can't be moved to {new}: {reason_of(error)}"


def _take_over(database: Database, new: str) -> None:
    """What a person has moved may have been copied, and not all of it. So nothing is agreed on any more: what is
    missing is fetched, never deleted (law 2)."""
    with database.transaction():
        database.run("DELETE FROM synced")
        database.run("INSERT OR IGNORE INTO dirty (workspace, node) SELECT workspace, node FROM remote")
        database.run("INSERT OR IGNORE INTO dirty (workspace, node) SELECT workspace, node FROM local")
        _write_down(database, new)


def _write_down(database: Database, path: str) -> None:
    with database.transaction():
        database.set_setting(FOLDER_SETTING, _raw(path))
        database.run("DELETE FROM settings WHERE key = ?", MOVING_SETTING)


def _is_ours(disk: Disk, database: Database, path: str) -> bool:
    try:
        with open_folder(disk, _root(database, path)):
            return True
    except WrongRoot:
        return False


def _root(database: Database, path: str) -> SyncRoot:
    return SyncRoot(path, database.get_setting(ROOT_SETTING) or b"")


def _path(database: Database, setting: str) -> str | None:
    raw = database.get_setting(setting)
    return None if raw is None else raw.decode("utf-8", "surrogateescape")


def _raw(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder or "/", name
