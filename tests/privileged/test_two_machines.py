"""The README's "Two machines" as people at three machines type it: a certificate, a tracker, devices, a proxy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from bench.certificates import self_signed
from tests.support.documents import README, code_blocks
from tests.support.lan_lab import Machine, Network
from tests.support.processes import (
    CHECKOUT,
    PASSWORD,
    PATIENCE,
    DeviceProgram,
    Lab,
    Program,
    environment,
    replace,
    settled,
    until,
    write,
)

NAME = "tracker.example.org"
(CERTIFICATE,) = code_blocks(README, "A certificate")
(SERVE,) = code_blocks(README, "The tracker")
(SIGN_UP, RUN), (LOG_IN, _) = (block.splitlines() for block in code_blocks(README, "The devices"))
SERVE_BEHIND_PROXY, PROXY = code_blocks(README, "Behind a reverse proxy")
NGINX = """
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    include shoal.conf;
}
"""


class Person:
    """Somebody at a machine, with a home folder there."""

    def __init__(self, machine: Machine, place: Path) -> None:
        self.machine, self.home = machine, place / f"home of {machine.name}"
        self.home.mkdir()
        self._commands = place / "bin"

    def types(self, lines: str) -> subprocess.CompletedProcess[str]:
        """Run commands in a shell, until one fails."""
        return subprocess.run(
            [*self.machine.prefix, "bash", "-e", "-c", lines],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(**self._variables()),
            cwd=self.home,
            text=True,
            timeout=PATIENCE,
        )

    def does(self, lines: str) -> str:
        """The same for what has to succeed; what it prints."""
        done = self.types(lines)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def starts(self, program: Program, line: str, ready: str) -> str:
        """Let a command run on in the foreground; the rest of the line that begins with `ready`."""
        program.words = [*self.machine.prefix, "bash", "-c", f"exec {line}"]
        return await program.launch(ready=ready, cwd=self.home, **self._variables())

    def _variables(self) -> dict[str, str]:
        path = f"{self._commands}:{os.environ['PATH']}"
        return {"HOME": str(self.home), "PATH": path, "SHOAL_PASSWORD": PASSWORD}


@dataclass(frozen=True, slots=True)
class People:
    """Who keeps the tracker, and who has the devices. None of the programs runs yet."""

    keeper: Person
    one: Person
    other: Person
    tracker: Program
    laptop: DeviceProgram
    desktop: DeviceProgram

    def copy_authority(self) -> None:
        """Bring the keeper's authority to the devices."""
        for person in (self.one, self.other):
            shutil.copy(self.keeper.home / "ca.pem", person.home)


@pytest.fixture
def people(lab: Lab, network: Network, tmp_path: Path) -> People:
    (tmp_path / "bin").mkdir()
    for command, module in (("shoal", "peer"), ("shoal-tracker", "tracker")):
        script = tmp_path / "bin" / command
        script.write_text(f'#!/bin/sh\nexport PYTHONPATH={CHECKOUT}\nexec {sys.executable} -m {module} "$@"\n')
        script.chmod(0o755)
    keeper, one, other = (Person(network.machine(name), tmp_path) for name in (NAME, "laptop", "desktop"))
    devices = []
    for person in (one, other):
        device = lab.device(person.machine.name, machine=person.machine)
        device.home_path, device.folder = person.home / ".local" / "share" / "shoal", person.home / "Shoal"
        devices.append(device)
    return People(keeper, one, other, lab.tracker(machine=keeper.machine), *devices)


def documented(done: subprocess.CompletedProcess[str], reason: str, code: int = 1) -> str:
    """The one line in which a command failed, for a reason of which the README says what to do."""
    assert done.returncode == code, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert reason.removesuffix("…") in done.stderr
    assert f"\n| `{reason}` |" in README.read_text(encoding="utf-8")
    return done.stderr


async def test_a_file_travels_between_two_machines(people: People) -> None:
    keeper, one, other = people.keeper, people.one, people.other
    keeper.does(CERTIFICATE)
    # What Python asks from 3.13 on.
    keeper.does("openssl verify -x509_strict -CAfile ca.pem tracker.pem")
    people.copy_authority()
    address = await keeper.starts(people.tracker, SERVE, "listening on ")
    assert address == "https://0.0.0.0:7440"
    assert "recovery key" in one.does(SIGN_UP)
    await one.starts(people.laptop, RUN, "syncing ")
    write(people.laptop.folder / "letter", "from one machine to the other")
    other.does(LOG_IN)
    await other.starts(people.desktop, RUN, "syncing ")
    await people.desktop.until_file("letter", b"from one machine to the other")
    write(people.desktop.folder / "answer", os.urandom(3_000_000))
    await settled(people.laptop, people.desktop)
    for program in (people.laptop, people.desktop, people.tracker):
        await program.stop()


async def test_what_is_refused_on_the_way(people: People, tmp_path: Path) -> None:
    keeper, other = people.keeper, people.other
    documented(keeper.types("shoal-tracker serve --listen 0.0.0.0:7440"), "plain http on …", code=2)
    keeper.does(CERTIFICATE)
    await keeper.starts(people.tracker, SERVE, "listening on ")
    stranger = self_signed(tmp_path, "127.0.0.1")
    shutil.copy(stranger.file, other.home / "ca.pem")
    wrong = documented(other.types(LOG_IN), "certificate not trusted")
    assert f"no answer from tracker https://{NAME}:7440: certificate not trusted" in wrong
    documented(other.types(LOG_IN.replace("--tracker-ca ca.pem", "")), "certificate not trusted")
    people.copy_authority()
    documented(other.types(LOG_IN.replace(NAME, keeper.machine.address)), "certificate not trusted")
    documented(other.types(LOG_IN.replace("https:", "http:")), "refusing plain http to …")
    # The same command with nothing wrong gets as far as the account, which isn't there.
    documented(other.types(LOG_IN), "wrong address or password")
    assert not people.desktop.home.has_account()


async def test_an_address_instead_of_a_name(people: People) -> None:
    keeper, other = people.keeper, people.other
    keeper.does(CERTIFICATE.replace(f"DNS:{NAME}", f"IP:{keeper.machine.address}"))
    people.copy_authority()
    await keeper.starts(people.tracker, SERVE, "listening on ")
    documented(other.types(LOG_IN.replace(NAME, keeper.machine.address)), "wrong address or password")


@contextmanager
def nginx(machine: Machine, place: Path) -> Iterator[Path]:
    """nginx on a machine with the README's configuration; its access log."""
    assert shutil.which("nginx"), "this test needs nginx"
    place.mkdir()
    write(place / "nginx.conf", NGINX)
    write(place / "shoal.conf", PROXY)
    command = [*machine.prefix, "nginx", "-p", f"{place}/", "-c", "nginx.conf", "-e", "error.log"]
    with subprocess.Popen(command) as process:
        try:
            yield place / "access.log"
        finally:
            process.kill()
    assert not (place / "error.log").read_text()


async def test_through_a_reverse_proxy(people: People, tmp_path: Path) -> None:
    keeper, one, other = people.keeper, people.one, people.other
    keeper.does(CERTIFICATE)
    people.copy_authority()
    private = keeper.machine.etc / "ssl" / "private"
    private.mkdir(parents=True)
    shutil.copy(keeper.home / "tracker.pem", private.parent)
    shutil.copy(keeper.home / "tracker.key", private)
    await keeper.starts(people.tracker, SERVE_BEHIND_PROXY, "listening on ")
    with nginx(keeper.machine, tmp_path / "nginx") as access_log:
        await until(lambda: 443 in keeper.machine.listening())
        one.does(SIGN_UP.replace(f"{NAME}:7440", NAME))
        other.does(LOG_IN.replace(f"{NAME}:7440", NAME))
        await one.starts(people.laptop, RUN, "syncing ")
        await other.starts(people.desktop, RUN, "syncing ")
        write(people.laptop.folder / "large", os.urandom(12_000_000))
        await settled(people.laptop, people.desktop)
        # Nothing but a notice tells of a change: a device without its WebSocket is offline.
        replace(people.laptop.folder / "large", "small now")
        with trio.fail_after(10):
            await people.desktop.until_file("large", b"small now")
        await settled(people.laptop, people.desktop)
        await people.laptop.stop()
        await people.desktop.stop()
        await until(lambda: access_log.read_text().count("/v1/notifications") == 2)
        assert access_log.read_text().count('"GET /v1/notifications HTTP/1.1" 101 ') == 2
        await people.tracker.stop()
