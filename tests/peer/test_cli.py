"""The command `shoal` as a person or a script meets it: exit codes, one line on stderr, JSON, completion."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio
import trio.testing

from peer.cli import COMMANDS, main
from peer.cli.failures import reason
from peer.cli.held import held_lines
from peer.cli.render import headline, size_text, status_lines
from peer.cli.run import _until_stopped
from peer.control import serve_control
from peer.lan.options import LanOptions
from peer.logs import logging_to
from peer.ports import LanAddress
from peer.system.home_files import open_home
from peer.traffic import TrafficOptions
from protocol.errors import Problem, Usage
from tests.peer.test_home import CREDENTIALS
from tests.support.tracker import running_tracker

NO_TRACKER = "http://127.0.0.1:1"
SHOAL = (sys.executable, "-m", "peer")


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHOAL_")}
    return {**kept, "SHOAL_HOME": str(home), "SHOAL_PASSWORD": "correct horse", **more}


def shoal(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command in this process, which saves the third of a second that an interpreter takes to start."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(home, **more), clear=True),
        mock.patch.object(sys, "argv", ["shoal", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def shoal_process(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command as a shell does."""
    return subprocess.run(
        (*SHOAL, *arguments),
        env=environment(home, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """What is started meanwhile ends at SIGINT, also where a script runs the tests in its background: shells make such
    programs ignore it, and whatever these start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def failed(result: subprocess.CompletedProcess[str]) -> str:
    """The reason of a command that failed as one should."""
    assert result.returncode == 1, result
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("shoal: ")
    return result.stderr.removeprefix("shoal: ").rstrip("\n")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def account(home: Path) -> Path:
    """A home with an account at a tracker that is away."""
    made = open_home(str(home))
    made.prepare()
    made.save_credentials(CREDENTIALS)
    return home


# Bad usage, help, version


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_each_command_explains_itself(home: Path, command: tuple[str, ...]) -> None:
    result = shoal(home, *command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(" ".join(("Usage: shoal", *command)))
    assert not home.exists()


def test_version_and_its_speed(home: Path) -> None:
    result = shoal_process(home, "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("shoal ")
    slow = "{'trio', 'nacl', 'httpx', 'rich', 'cbor2', 'asyncio'} & set(sys.modules)"
    subprocess.run((sys.executable, "-c", f"import sys, peer.cli; assert not {slow}, {slow}"), check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("--frobnicate",),
        ("signup",),
        ("signup", "ann@example.org"),
        ("login", "ann@example.org", "--tracker"),
        ("login", "ann@example.org", "--tracker", NO_TRACKER, "--tracker-ca", "/no/such/file"),
        ("run", "a", "b"),
        ("run", "--log-level", "loud"),
        ("run", "--lan"),
        ("status", "extra"),
        ("status", "--wait-synced", "--wait-durable"),
        ("status", "--watch", "--wait-synced"),
        ("status", "--watch", "--json"),
        ("status", "--timeout", "-1"),
        ("status", "--timeout", "soon"),
        ("status", "--timeout", "nan"),
        ("explain",),
        ("include",),
        ("move",),
        ("completion", "tcsh"),
    ],
)
def test_bad_usage_is_2(home: Path, arguments: tuple[str, ...]) -> None:
    result = shoal(home, *arguments)
    assert result.returncode == 2, result
    assert "Usage: shoal" in result.stderr or result.stderr.startswith("Error: ")
    assert not home.exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--lan-interface", "eth0", "'eth0' is not the IP address of an interface."),
        ("--lan-interface", "::", "'::' is not the IP address of an interface."),
        ("--lan-interface", "224.0.0.251", "'224.0.0.251' is not the IP address of an interface."),
        ("--lan-peer", "nas", "'nas' is not HOST:PORT, with a port from 1 to 65535."),
        ("--lan-peer", "nas:0", "'nas:0' is not HOST:PORT, with a port from 1 to 65535."),
        ("--lan-peer", "nas:65536", "'nas:65536' is not HOST:PORT, with a port from 1 to 65535."),
        ("--lan-peer", "nas:http", "'nas:http' is not HOST:PORT, with a port from 1 to 65535."),
        ("--lan-peer", ":4242", "'' is neither an IP address nor a host's name."),
        ("--lan-peer", "ann@nas:4242", "'ann@nas' is neither an IP address nor a host's name."),
        ("--lan-peer", "a..b:4242", "'a..b' is neither an IP address nor a host's name."),
        ("--lan-peer", f"{'x' * 64}:4242", "is neither an IP address nor a host's name."),
        ("--lan-peer", "fe80::1%eth0:4242", "an IPv6 address stands in brackets, [ADDRESS]:PORT."),
        ("--lan-peer", "[nas]:4242", "'nas' is not an IPv6 address."),
        ("--lan-peer", "[192.0.2.1]:4242", "'192.0.2.1' is not an IPv6 address."),
    ],
)
def test_lan_options_that_can_t_be(home: Path, option: str, value: str, words: str) -> None:
    variable = "SHOAL_" + option.removeprefix("--").replace("-", "_").upper()
    for result in (shoal(home, "run", option, value), shoal(home, "run", **{variable: value})):
        assert result.returncode == 2
        assert result.stderr.splitlines()[-1].endswith(words)
    assert not home.exists()


NAS, TEN, SIX = LanAddress("nas.local", 4242), LanAddress("10.0.0.7", 1), LanAddress("fe80::1%eth0", 65535)


@pytest.mark.parametrize(
    ("arguments", "variables", "wanted"),
    [
        ((), {}, LanOptions()),
        (
            (
                "--lan-interface",
                "127.0.0.1",
                "--lan-offline",
                "--lan-peer",
                "nas.local:4242",
                "--lan-peer",
                "10.0.0.7:1",
            ),
            {},
            LanOptions("127.0.0.1", True, (NAS, TEN), True),
        ),
        (("--no-lan",), {}, LanOptions(enabled=False)),
        (
            (),
            {
                "SHOAL_LAN_INTERFACE": "::1",
                "SHOAL_LAN_OFFLINE": "1",
                "SHOAL_LAN_PEER": "10.0.0.7:1 [fe80::1%eth0]:65535",
            },
            LanOptions("::1", True, (TEN, SIX), True),
        ),
        ((), {"SHOAL_NO_LAN": "1"}, LanOptions(enabled=False)),
    ],
)
def test_lan_options_reach_the_daemon(
    account: Path, arguments: tuple[str, ...], variables: dict[str, str], wanted: LanOptions
) -> None:
    given: list[LanOptions] = []

    async def run_daemon(*_: object, lan: LanOptions, **__: object) -> None:
        given.append(lan)

    with mock.patch("peer.daemon.run_daemon", run_daemon):
        assert shoal(account, "run", *arguments, **variables).returncode == 0
    assert given == [wanted]


@pytest.mark.parametrize(
    ("arguments", "variables", "wanted"),
    [
        ((), {}, TrafficOptions()),
        (("--upload-limit", "500k", "--download-limit", "20Mbit"), {}, TrafficOptions(500_000, 2_500_000)),
        ((), {"SHOAL_UPLOAD_LIMIT": "2M", "SHOAL_DOWNLOAD_LIMIT": "80kbit"}, TrafficOptions(2_000_000, 10_000)),
        (("--pause-on-battery",), {"SHOAL_PAUSE_ON_METERED": "1"}, TrafficOptions(None, None, True, True)),
    ],
)
def test_limits_reach_the_daemon(
    account: Path, arguments: tuple[str, ...], variables: dict[str, str], wanted: TrafficOptions
) -> None:
    given: list[TrafficOptions] = []

    async def run_daemon(*_: object, traffic: TrafficOptions, **__: object) -> None:
        given.append(traffic)

    with mock.patch("peer.daemon.run_daemon", run_daemon):
        assert shoal(account, "run", *arguments, **variables).returncode == 0
    assert given == [wanted]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fast", "'fast' is not a rate: 500k or 2M (bytes a second), 20Mbit (bits a second)."),
        ("20Mb", "'20Mb' is not a rate: 500k or 2M (bytes a second), 20Mbit (bits a second)."),
        (
            "0",
            "'0' is too little: at least 10 kB/s are needed, as 500k or 2M (bytes a second), 20Mbit (bits a second).",
        ),
    ],
)
def test_a_rate_that_is_none(home: Path, value: str, words: str) -> None:
    result = shoal(home, "run", "--upload-limit", value)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].endswith(words)


def test_who_was_cut_off_is_told() -> None:
    status: dict[str, Any] = {"state": "synced", "workspaces": [], "peers": [], "problems": []}
    status["bytes"] = {f"{where}_{way}": 0 for where in ("cloud", "lan") for way in ("in", "out")}
    status["lan_dropped"] = {"it floods": 2, "it owes an answer": 1}
    lines = [line for line in status_lines(status) if line.startswith("LAN")]
    assert lines == ["LAN      cut off 2 times: it floods", "LAN      cut off 1 time: it owes an answer"]


def test_limits_are_told() -> None:
    status: dict[str, Any] = {
        "state": "syncing",
        "detail": "3 paths to go",
        "workspaces": [],
        "peers": [],
        "problems": [],
    }
    status["bytes"] = {f"{where}_{way}": 0 for where in ("cloud", "lan") for way in ("in", "out")}
    assert not any(line.startswith("limit") for line in status_lines(status))
    status["limits"] = {"upload": 500_000, "download": None, "waiting": "this machine runs on battery"}
    lines = [line for line in status_lines(status) if line.startswith("limit")]
    assert lines == [
        "limit    upload 500 kB/s; none on the LAN",
        "limit    contents go to and from the tracker later: this machine runs on battery",
    ]


# Failures in one line


@pytest.mark.parametrize("command", ["run", "logout", "devices", "account", "move x"])
def test_without_an_account(home: Path, command: str) -> None:
    assert failed(shoal(home, *command.split())) == f"no account in {home}: run shoal signup or shoal login"
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--json"),
        ("explain", "x"),
        ("pause",),
        ("resume",),
        ("status", "--watch"),
        ("exclude",),
        ("include", "x"),
    ],
)
def test_without_a_daemon(home: Path, arguments: tuple[str, ...]) -> None:
    assert failed(shoal(home, *arguments)) == f"no daemon is running for {home}: start it with shoal run"


@pytest.mark.parametrize("command", ["signup", "login"])
def test_with_the_tracker_away(home: Path, command: str) -> None:
    words = failed(shoal(home, command, "ann@example.org", "--tracker", NO_TRACKER))
    assert words == f"no answer from tracker {NO_TRACKER}: connection refused"
    assert failed(shoal(home, "devices")).startswith("no account")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ann@example.org", "--tracker", "http://192.0.2.1"), "refusing plain http to 192.0.2.1"),
        (("ann@example.org", "--tracker", "gopher://x"), "is not a tracker's URL"),
        (("nobody", "--tracker", NO_TRACKER), "'nobody' is not an e-mail address"),
        (("ann@example.org", "--tracker", NO_TRACKER, "--device-name", "a/b"), "a device name has"),
    ],
)
def test_what_can_t_be_is_said_before_a_password_is_asked_for(
    home: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in failed(shoal(home, "login", *arguments, SHOAL_PASSWORD=""))


def test_a_password_needs_a_terminal_or_the_variable(home: Path) -> None:
    result = shoal(home, "login", "ann@example.org", "--tracker", NO_TRACKER, SHOAL_PASSWORD="")
    assert failed(result) == "no terminal to ask for the password at: set SHOAL_PASSWORD"


def test_a_home_with_an_account_takes_no_second(account: Path) -> None:
    words = failed(shoal(account, "login", "bob@example.org", "--tracker", NO_TRACKER))
    assert words == f"{account} has an account: run shoal logout, or choose another --home"


def test_a_home_that_another_is_at_work_on(account: Path) -> None:
    with open_home(str(account)).lock():
        for command in ("logout", "run"):
            words = failed(shoal(account, command))
            assert words == f"another shoal (process {os.getpid()}) is at work on {account}"
        assert "is at work on" in failed(shoal(account, "signup", "bob@example.org", "--tracker", NO_TRACKER))


def test_a_home_of_a_newer_shoal(account: Path) -> None:
    (account / "device.cbor").write_bytes(b"\x02")
    words = failed(shoal(account, "account"))
    assert words == f"{account}/device.cbor was written by a newer Shoal: upgrade this one"


def test_a_home_too_deep_for_a_socket(tmp_path: Path) -> None:
    assert "choose a shorter --home" in failed(shoal(tmp_path / ("x" * 100), "status"))


@pytest.mark.parametrize("command", ["signup", "login"])
def test_no_device_is_made_where_no_daemon_can_run(tmp_path: Path, command: str) -> None:
    """It is said before anything is asked of the tracker, which is away here, or made on the disk."""
    there = ("ann@example.org", "--tracker", NO_TRACKER)
    most = 107 - len(f"{tmp_path}//control")
    long = tmp_path / ("x" * (most + 1))
    words = failed(shoal(long, command, *there))
    assert words.startswith(f"{long}/control is too long for a socket: 108 bytes, at most 107; choose a shorter --home")
    assert not long.exists()
    assert failed(shoal(tmp_path / ("x" * most), command, *there)).startswith("no answer from tracker")


def test_the_whole_story_on_request(home: Path) -> None:
    assert failed(shoal_process(home, "status")).startswith("no daemon")
    result = shoal_process(home, "status", SHOAL_DEBUG="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_the_reason_of_several_failures() -> None:
    group = BaseExceptionGroup("", [ExceptionGroup("", [Usage("first\nline")]), Problem("second")])
    assert reason(group) == "first line"
    defect = ExceptionGroup("", [Usage("known"), ZeroDivisionError("division by zero")])
    assert reason(defect) == "a defect in Shoal: ZeroDivisionError: division by zero (SHOAL_DEBUG=1 shows where)"
    assert reason(KeyboardInterrupt()) == "interrupted"


# Status


def status_of(state: str = "synced", **more: Any) -> dict[str, Any]:
    workspace = {
        "id": "77" * 16,
        "name": "home",
        "revision": 12,
        "local_pending": 0,
        "remote_pending": 0,
        "not_durable": 0,
    }
    return {
        "state": state,
        "device": "64" * 16,
        "workspaces": [workspace],
        "peers": [],
        "bytes": {"lan_in": 0, "lan_out": 0, "cloud_in": 3 << 20, "cloud_out": 10},
        "problems": [],
        "detail": "",
        "folder": "/home/ann/Shoal",
        "progress": None,
        **more,
    }


def pending(**counts: int) -> dict[str, Any]:
    status = status_of()
    status["workspaces"][0].update(counts)
    return status


def test_in_the_cloud_is_said_of_what_is() -> None:
    assert headline(status_of()) == "synced, in the cloud"
    assert headline(pending(not_durable=3)) == "synced, 3 files not in the cloud yet: keep this device on"
    linked = pending(not_durable=1) | {"peers": [{"device": "ab", "name": "desktop", "address": "192.0.2.7:4000"}]}
    assert headline(linked) == "synced on your LAN, 1 file not in the cloud yet: keep this device on"
    for state in ("starting", "scanning", "syncing", "paused", "offline", "held", "error"):
        assert headline(status_of(state, detail="because")) == f"{state}: because"


def test_a_status_in_full() -> None:
    status = pending(local_pending=2, not_durable=1)
    status["state"], status["detail"] = "syncing", "2 files to send"
    status["progress"] = {"done_bytes": 512, "total_bytes": 2048}
    status["peers"] = [{"device": "ab", "name": "desktop", "address": "192.0.2.7:4000"}]
    status["problems"] = [{"path": "a\x1b[2Jb", "reason": "a socket", "advice": "move it away"}]
    assert status_lines(status) == [
        "syncing: 2 files to send",
        "folder   /home/ann/Shoal",
        "progress 25 % (512 bytes of 2.0 KiB)",
        "home     revision 12: 2 to send, 1 not in the cloud yet",
        "LAN      desktop at 192.0.2.7:4000",
        "traffic  cloud 3.0 MiB in, 10 bytes out; LAN 0 bytes in, 0 bytes out",
        "1 problem:",
        "  a\\x1b[2Jb: a socket",
        "      move it away",
    ]


def test_problems_that_are_alike_are_counted() -> None:
    alike = [{"path": f"p{n}", "reason": "a socket", "advice": "it is left alone"} for n in range(5)]
    alike[-1]["more"] = 4209  # type: ignore[assignment]
    other = {"path": "x", "reason": "too large", "advice": ""}
    status = status_of(problems=[*alike, other], problem_count=4215)
    assert headline(status) == "synced, in the cloud, but for 4215 problems"
    assert status_lines(status)[4:] == [
        "4215 problems:",
        "  p0: a socket",
        "  p1: a socket",
        "  p2: a socket",
        "  and 4,211 more like this",
        "      it is left alone",
        "  x: too large",
    ]


def test_addresses_where_nobody_answers_are_told() -> None:
    status = status_of(lan="on", lan_unreachable=["no answer from 192.0.2.7:7441: connection refused"])
    assert "LAN      no answer from 192.0.2.7:7441: connection refused" in status_lines(status)


def test_what_is_held_by_folder_and_the_first_files() -> None:
    assert list(held_lines([], everything=False)) == ["nothing is held"]
    folders = [{"path": f"d{number:02}", "files": 2} for number in range(11)]
    group: dict[str, Any] = {
        "files": 23,
        "text": "deleted here",
        "since_ms": 0,
        "folders": [{"path": "", "files": 1}, *folders],
        "paths": ["a\x1b", "d00/x"],
    }
    first, *lines, last = held_lines([group], everything=False)
    assert first.startswith("23 files deleted here, held since ")
    assert lines == [
        "  (in no folder)  1 file",
        *(f"  d{number:02}/  2 files" for number in range(9)),
        "  and 4 files in 2 more folders",
        "  the first of them:",
        "    a\\x1b",
        "    d00/x",
        "    and 21 more: shoal held --all lists them",
    ]
    assert last == "shoal approve lets this through, shoal reject undoes it"
    group["files"] = 2
    assert "  all of them:" in held_lines([group], everything=True)


def test_sizes() -> None:
    sizes = [0, 1023, 1024, 1 << 20, 5 << 30, 3 << 40, 2048 << 40]
    assert [size_text(size) for size in sizes] == [
        "0 bytes", "1023 bytes", "1.0 KiB", "1.0 MiB", "5.0 GiB", "3.0 TiB", "2048.0 TiB",
    ]  # fmt: skip


class Daemon:
    """Answers as told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.statuses = [status_of()]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reached = trio.Event()

    async def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        self.asked.append((command, arguments))
        if command == "status":
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if command == "wait":
            await self.reached.wait()
        if command == "explain":
            return {"path": "b", "folder": "/", "summary": "synced, in the cloud", "reasons": []}
        return None


@asynccontextmanager
async def daemon_of(home: Path) -> AsyncIterator[Daemon]:
    made = open_home(str(home))
    made.prepare()
    daemon = Daemon()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, made.control_socket, daemon.handle)
        yield daemon
        nursery.cancel_scope.cancel()


async def ask_shoal(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(partial(shoal, home, *arguments, **more))


async def test_status_for_people_and_for_programs(home: Path) -> None:
    async with daemon_of(home) as daemon:
        result = await ask_shoal(home, "status")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.splitlines() == status_lines(status_of())
        for result in (await ask_shoal(home, "status", "--json"), await ask_shoal(home, "status", SHOAL_JSON="1")):
            assert result.returncode == 0
            assert json.loads(result.stdout) == status_of()
        daemon.statuses = [status_of("error", detail="the folder is gone")]
        result = await ask_shoal(home, "status")
        assert result.stdout.startswith("error: the folder is gone\n")
        assert failed(result) == "error: the folder is gone"
        assert (await ask_shoal(home, "status", "--json")).returncode == 0


@pytest.mark.parametrize("what", ["synced", "durable"])
async def test_waiting(home: Path, what: str) -> None:
    async with daemon_of(home) as daemon:
        daemon.statuses = [status_of("syncing", detail="1 file to send")]
        words = failed(await ask_shoal(home, "status", f"--wait-{what}", "--timeout", "0.2"))
        assert words == f"not {what} within 0.2 s: syncing: 1 file to send"
        daemon.statuses = [status_of()]
        words = failed(await ask_shoal(home, "status", f"--wait-{what}", "--timeout", "0.2"))
        assert words == f"not known for certain to be {what} within 0.2 s: synced, in the cloud"
        daemon.statuses = [status_of("syncing", detail="1 file to send")]
        daemon.reached.set()
        result = await ask_shoal(home, "status", f"--wait-{what}", "--json")
        assert result.returncode == 0
        assert json.loads(result.stdout)["state"] == "syncing"
        assert ("wait", {"what": what}) in daemon.asked


async def test_not_waiting_at_all(home: Path) -> None:
    """With a time-out of 0 the present state decides."""
    async with daemon_of(home) as daemon:
        daemon.statuses = [pending(not_durable=1)]
        assert (await ask_shoal(home, "status", "--wait-synced", "--timeout", "0")).returncode == 0
        words = failed(await ask_shoal(home, "status", "--wait-durable", "--timeout", "0"))
        assert words == "not durable within 0 s: synced, 1 file not in the cloud yet: keep this device on"
        daemon.statuses = [status_of("syncing", detail="1 path to go")]
        words = failed(await ask_shoal(home, "status", "--wait-synced", "--timeout", "0"))
        assert words == "not synced within 0 s: syncing: 1 path to go"


async def test_waiting_for_a_daemon_that_is_only_just_starting(home: Path) -> None:
    async with trio.open_nursery() as nursery:
        results = []

        async def wait() -> None:
            results.append(await ask_shoal(home, "status", "--wait-synced", "--timeout", "60"))
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        async with daemon_of(home) as daemon:
            daemon.reached.set()
            await trio.sleep_forever()
    assert results[0].returncode == 0, results


async def test_watching_in_a_pipe_tells_of_changes(home: Path) -> None:
    syncing = status_of("syncing", progress={"done_bytes": 1, "total_bytes": 4})
    async with daemon_of(home) as daemon:
        daemon.statuses = [syncing, syncing, status_of()]
        with heeding_interrupts():
            process = await trio.lowlevel.open_process(
                (*SHOAL, "status", "--watch"), env=environment(home), stdout=subprocess.PIPE
            )
        assert process.stdout is not None
        shown = b""
        while not shown.endswith(b"in the cloud\n"):
            shown += await process.stdout.receive_some(1000)
        assert shown.decode().splitlines() == ["syncing  25 % (1 byte of 4 bytes)", "synced, in the cloud"]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        result = await ask_shoal(home, "status", "--watch", "--timeout", "0")
        assert (result.returncode, result.stderr) == (0, "")


async def test_single_commands(home: Path, tmp_path: Path) -> None:
    async with daemon_of(home) as daemon:
        result = await ask_shoal(home, "explain", f"{tmp_path}/a/../b")
        assert (result.returncode, result.stdout) == (0, "b\nsynced, in the cloud\n")
        result = await ask_shoal(home, "explain", "--json", f"{tmp_path}/b")
        assert json.loads(result.stdout)["summary"] == "synced, in the cloud"
        for command, words in (("pause", "paused\n"), ("resume", "resumed\n")):
            result = await ask_shoal(home, command)
            assert (result.returncode, result.stdout) == (0, words)
        path = {"path": f"{tmp_path}/b".encode()}
        assert daemon.asked == [("explain", path), ("explain", path), ("pause", {}), ("resume", {})]


async def test_a_daemon_that_says_no(home: Path) -> None:
    async def refuse(command: str, arguments: dict[str, Any]) -> Any:
        raise Usage("not in the folder")

    made = open_home(str(home))
    made.prepare()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, made.control_socket, refuse)
        assert failed(await ask_shoal(home, "explain", "/x")) == "not in the folder"
        nursery.cancel_scope.cancel()


# With a real tracker


def test_an_account_from_beginning_to_end(tmp_path: Path) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    with running_tracker(tmp_path / "tracker") as tracker:
        there = ("--tracker", tracker.url)
        result = shoal(first, "signup", "Ann@example.org", *there, "--device-name", "laptop")
        assert (result.returncode, result.stderr) == (0, "")
        assert re.search(r"^    ([A-Z2-7]{4}-){9}[A-Z2-7]{4}$", result.stdout, re.MULTILINE)
        assert 'Signed up as ann@example.org; this device is "laptop".' in result.stdout

        assert (
            failed(shoal(third, "signup", "ann@example.org", *there)) == "there is an account with this address already"
        )
        for email, password in (("ann@example.org", "wrong"), ("bob@example.org", "correct horse")):
            words = failed(shoal(third, "login", email, *there, SHOAL_PASSWORD=password))
            assert words == "wrong address or password"

        result = shoal(second, "login", "ann@example.org", SHOAL_TRACKER=tracker.url, SHOAL_DEVICE_NAME="desktop")
        assert (result.returncode, result.stderr) == (0, "")
        lines = shoal(second, "devices").stdout.splitlines()
        assert [line.rsplit("  ", 2)[-2:] for line in lines] == [
            [lines[0].rsplit("  ", 2)[-2], "laptop"],
            ["desktop", "(this device)"],
        ]
        result = shoal(first, "account")
        assert re.fullmatch(
            r"address  ann@example.org\nplan     \w+\nused     0 bytes of [\d.]+ GiB \(0 %\)\ndevices  2\n",
            result.stdout,
        )

        assert shoal(second, "logout").returncode == 0
        assert failed(shoal(second, "devices")).startswith("no account")
        assert len(shoal(first, "devices").stdout.splitlines()) == 1
    assert failed(shoal(first, "devices")).startswith(f"no answer from tracker {tracker.url}")
    assert failed(shoal(first, "logout")).startswith("no answer")
    assert open_home(str(first)).has_account()


def test_a_daemon_runs_and_stops(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "folder"
    folder.mkdir()
    (folder / "letter").write_text("dear Bob")
    with running_tracker(tmp_path / "tracker") as tracker:
        assert shoal(home, "signup", "ann@example.org", "--tracker", tracker.url).returncode == 0
        with subprocess.Popen(
            (*SHOAL, "run", str(folder), "--no-lan"),
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as daemon:
            try:
                assert daemon.stdout is not None
                assert daemon.stdout.readline().startswith(b"syncing ")
                result = shoal(home, "status", "--wait-durable", "--timeout", "60")
                assert (result.returncode, result.stderr) == (0, "")
                assert result.stdout.startswith("synced, in the cloud\n")
                assert json.loads(shoal(home, "status", "--json").stdout)["state"] == "synced"
                assert shoal(home, "explain", str(folder / "letter")).returncode == 0
                words = f"another shoal (process {daemon.pid}) is at work on {home}"
                assert failed(shoal(home, "run", str(folder))) == words
                assert failed(shoal(home, "logout")) == words
            finally:
                daemon.terminate()
                _, log = daemon.communicate(timeout=15)
            assert daemon.returncode == 0
            assert b"Traceback" not in log
            assert (home / "log" / "shoal.log").read_bytes() == log
            assert failed(shoal(home, "status")).startswith("no daemon")


# Stopping, logging, completing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_daemon_cleanly(number: signal.Signals) -> None:
    stopped = False

    async def daemon() -> None:
        nonlocal stopped
        signal.raise_signal(number)
        try:
            await trio.sleep_forever()
        finally:
            stopped = True

    assert await _until_stopped(daemon) == 0
    assert stopped
    assert signal.alarm(0) == 0


async def test_a_daemon_that_ends_by_itself() -> None:
    async def daemon() -> int:
        return 1

    assert await _until_stopped(daemon) == 1


def test_logs_are_lines_in_the_home_and_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    with logging_to(str(tmp_path), "info"):
        logging.getLogger("peer.test").info("a name with\nlines and \x1b[2J")
        logging.getLogger("peer.test").debug("too much")
        logging.getLogger("httpcore").info("Authorization: Bearer secret")
        logging.getLogger("zeroconf").error("a packet that stands for many")
    assert logging.getLogger().handlers == before
    written = (tmp_path / "shoal.log").read_text()
    assert written == capsys.readouterr().err
    assert written.count("\n") == 1
    assert written.endswith("INFO peer.test: a name with\\nlines and \\x1b[2J\n")
    with pytest.raises(Problem, match="can't write the log"):
        with logging_to(str(tmp_path / "nowhere"), "info"):
            pass


def test_completion_in_bash(home: Path, tmp_path: Path) -> None:
    result = shoal(home, "completion", "bash")
    assert (result.returncode, result.stderr) == (0, "")
    script = tmp_path / "completion"
    script.write_text(result.stdout)
    sourced = subprocess.run(
        ("bash", "-euc", f'source "{script}"; complete -p shoal'), capture_output=True, text=True, check=True
    )
    assert sourced.stdout == "complete -o nosort -F _shoal_completion shoal\n"
    assert sourced.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_shoal(home: Path, shell: str) -> None:
    result = shoal(home, "completion", shell)
    assert result.returncode == 0
    assert "_SHOAL_COMPLETE" in result.stdout
    answer = shoal_process(
        home, _SHOAL_COMPLETE=f"{shell}_complete", COMP_WORDS="shoal sta", COMP_CWORD="sta" if shell == "fish" else "1"
    )
    assert "status" in answer.stdout
