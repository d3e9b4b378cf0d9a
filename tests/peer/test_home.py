"""The home folder: who may read it, who may hold it, and what is refused in it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.home import Credentials, Home, TrackerAddress
from peer.paths import names_in
from peer.system.home_files import default_home, located, open_home, seen_from
from protocol.api import WorkspacesReply
from protocol.errors import Malformed, Problem, Usage
from protocol.identifiers import DeviceId, UserId

CREDENTIALS = Credentials(
    tracker=TrackerAddress(url="https://tracker.example"),
    email="ann@example.org",
    user=UserId(b"u" * 16),
    device=DeviceId(b"d" * 16),
    device_name="laptop",
    signing_seed=b"s" * 32,
    exchange_private=b"x" * 32,
    identity_key=b"i" * 32,
    sealing_keys=((1, b"1" * 32), (2, b"2" * 32)),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = open_home(str(tmp_path / "deep" / "home"))
    made.prepare()
    return made


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_credentials_come_back_as_they_were(home: Home) -> None:
    assert not home.has_account()
    home.save_credentials(CREDENTIALS)
    assert home.has_account()
    assert home.credentials() == CREDENTIALS
    assert home.credentials().sealing_key(2).private == b"2" * 32
    with pytest.raises(Malformed):
        home.credentials().sealing_key(3)


def test_only_the_user_can_read_any_of_it(home: Home) -> None:
    old = os.umask(0)
    try:
        home.save_credentials(CREDENTIALS)
        home.cache_workspaces(WorkspacesReply(workspaces=()))
        with home.lock():
            pass
        again = open_home(home.path + "2")
        again.prepare()
    finally:
        os.umask(old)
    assert mode(home.path) == mode(home.log_folder) == mode(again.path) == 0o700
    for name in ("device.cbor", "keys.cbor", "lock"):
        assert mode(f"{home.path}/{name}") == 0o600, name


def test_credentials_show_no_secret_in_a_log() -> None:
    assert "laptop" in repr(CREDENTIALS)
    for secret in (b"s" * 32, b"x" * 32, b"1" * 32):
        assert repr(secret)[2:-1] not in repr(CREDENTIALS)


def test_saving_leaves_no_temporary_file_and_replaces(home: Home) -> None:
    home.save_credentials(CREDENTIALS)
    home.save_credentials(CREDENTIALS)
    assert sorted(os.listdir(home.path)) == ["device.cbor", "log"]


def test_no_account_is_one_clear_line(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Usage, match=f"^no account in {home.path}: run shoal signup or shoal login$"):
        home.credentials()
    with pytest.raises(Usage, match="no account in"):
        open_home(str(tmp_path / "nowhere")).credentials()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["device.cbor", "keys.cbor"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\x02\xa0", "newer Shoal"), (b"", "damaged"), (b"\x00\xa0", "damaged"), (b"\x01\xff", "damaged")],
)
def test_what_is_newer_or_damaged_is_refused(home: Home, name: str, content: bytes, words: str) -> None:
    Path(home.path, name).write_bytes(content)
    read: Callable[[], object] = home.credentials if name == "device.cbor" else home.cached_workspaces
    with pytest.raises(Problem, match=words) as caught:
        read()
    assert f"{home.path}/{name}" in str(caught.value)
    assert Path(home.path, name).read_bytes() == content


def test_a_file_too_large_is_refused_before_it_is_decoded(home: Home) -> None:
    with open(f"{home.path}/device.cbor", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(Malformed, match="longer than"):
        home.credentials()


def test_an_unreadable_file_is_one_clear_line(home: Home) -> None:
    os.mkdir(f"{home.path}/device.cbor")
    with pytest.raises(Problem, match=f"^can't read {home.path}/device.cbor: is a directory$"):
        home.credentials()


def test_the_second_to_lock_is_refused_until_the_first_is_gone(home: Home) -> None:
    other = open_home(home.path)
    with home.lock():
        with pytest.raises(Problem, match=rf"^another shoal \(process {os.getpid()}\) is at work on {home.path}$"):
            with other.lock():
                pass
        with home.lock():
            pass  # a daemon may ask again for what its command already holds
        with pytest.raises(Problem):
            with other.lock():
                pass
    with other.lock():
        pass


def test_logging_out_forgets_all_but_the_logs(home: Home) -> None:
    home.save_credentials(CREDENTIALS)
    home.cache_workspaces(WorkspacesReply(workspaces=()))
    assert home.cached_workspaces() == WorkspacesReply(workspaces=())
    for suffix in ("", "-wal", "-shm"):
        Path(home.database + suffix).touch()
    home.forget()
    home.forget()
    assert os.listdir(home.path) == ["log"]
    assert home.cached_workspaces() is None


def test_an_empty_folder_is_closed_and_one_in_use_is_left_alone(tmp_path: Path) -> None:
    empty, used = tmp_path / "empty", tmp_path / "used"
    for folder in (empty, used):
        folder.mkdir()
        folder.chmod(0o755)
    (used / "letter").touch()
    open_home(str(empty)).prepare()
    assert mode(str(empty)) == 0o700
    with pytest.raises(Problem, match=f"chmod 700 {used}"):
        open_home(str(used)).prepare()
    assert mode(str(used)) == 0o755
    with pytest.raises(Problem, match="not a folder"):
        open_home(str(used / "letter")).prepare()


def test_the_default_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_home() == "/data/shoal"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_home() == "/home/ann/.local/share/shoal"


# Paths that people give


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a directory and links in it, a symlink to it, and one to a file in it."""
    top = tmp_path.resolve()
    (top / "disk/Shoal/d").mkdir(parents=True)
    (top / "Shoal").symlink_to("disk/Shoal")
    (top / "disk/Shoal/inside").symlink_to("d")
    (top / "disk/Shoal/outside").symlink_to("/")
    (top / "note").symlink_to("Shoal/d/f")
    monkeypatch.chdir(top)
    return top


@pytest.mark.parametrize("folder", ["Shoal", "disk/Shoal"])
@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("{0}/Shoal/d/f", "/d/f"), ("{0}/disk/Shoal/d/f", "/d/f"), ("Shoal/d/f", "/d/f"),
        ("./disk/Shoal/gone/f", "/gone/f"),
        ("Shoal/d/../d/./f", "/d/f"), ("Shoal/inside", "/inside"), ("Shoal/inside/f", "/d/f"), ("Shoal/inside/..", ""),
        ("Shoal", ""), ("disk/Shoal/", ""), ("Shoal/.", ""), ("note", "/d/f"), ("Shoal/lat\udce4n", "/lat\udce4n"),
        ("Shoal/inside/../d", "/d"), ("Shoal/outside", "/outside"),
    ],
)  # fmt: skip
def test_a_path_is_found_in_the_folder_however_it_is_reached(linked: Path, folder: str, given: str, names: str) -> None:
    root = f"{linked}/{folder}"
    assert seen_from(root, located(given.format(linked))) == root + names


@pytest.mark.parametrize("given", ["disk", "Shoal/..", "Shoal/outside/etc", "Shoals", "/", "disk/Shoal2/f"])
def test_a_path_outside_stays_outside(linked: Path, given: str) -> None:
    root = f"{linked}/Shoal"
    path = seen_from(root, located(given))
    assert not f"{path}/".startswith(f"{root}/")
    with pytest.raises(Usage, match=f"{path} is not in the folder {root}, and nothing outside it is synced"):
        names_in(root, path)


def test_a_path_given_where_the_symlink_leads(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(linked / "Shoal/d")
    assert seen_from(f"{linked}/Shoal", located("f")) == f"{linked}/Shoal/d/f"
    assert seen_from(f"{linked}/Shoal", located("..")) == f"{linked}/Shoal"
