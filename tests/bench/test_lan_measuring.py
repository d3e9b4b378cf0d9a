"""What `shoal-bench lan` measures with: its works, clock and counters, and the rivals as they are set up."""

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from bench.failures import BenchFailed
from bench.lan import facts
from bench.lan.clock import Arrivals, time_save, verify
from bench.lan.rivals import RIVALS
from bench.lan.rivals.base import Rival
from bench.lan.rivals.rsync import bytes_sent
from bench.lan.rivals.syncthing import OPTIONS, Instance, configure
from bench.lan.usage import Daemon, OneShot, cpu_seconds, peak_bytes
from bench.lan.works import BULK_FILE, WORKS, Prepared, Save, Saved, Sizes, prepare, scaled, warm_up
from bench.programs import environment, programs

WORK = {work.name: work for work in WORKS}
SIZES = Sizes(latency_files=3, bulk=(1 << 20) + 7, append=1000, small_files=230)


# Works ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(tmp_path, SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def do(name: str, prepared: Prepared, folder: Path) -> list[Saved]:
    """Do a work; what it says that it saves is there with the size that it says."""
    saved: list[Saved] = []
    for save in WORK[name].saves(prepared, folder):
        save.write(folder)
        saved += save.files
    assert all((folder / file.name).stat().st_size == file.size for file in saved)
    return saved


def test_latency_saves_one_file_after_the_other(prepared: Prepared, folder: Path) -> None:
    assert len(list(WORK["latency"].saves(prepared, folder))) == 3
    files = do("latency", prepared, folder)
    assert {file.size for file in files} == {1024}
    assert len({(folder / file.name).read_bytes() for file in files}) == 3


def test_the_bulk_file_gets_a_byte_in_front_more_at_its_end_and_another_in_its_middle(
    prepared: Prepared, folder: Path
) -> None:
    do("bulk", prepared, folder)
    bulk = (folder / BULK_FILE).read_bytes()
    assert bulk == prepared.bulk.read_bytes()
    do("insert", prepared, folder)
    assert (folder / BULK_FILE).read_bytes() == b"x" + bulk
    do("append", prepared, folder)
    longer = (folder / BULK_FILE).read_bytes()
    assert longer[: len(bulk) + 1] == b"x" + bulk
    assert len(longer) == len(bulk) + 1 + 1000
    (edited,) = do("edit", prepared, folder)
    now = (folder / BULK_FILE).read_bytes()
    assert len(now) == len(longer)
    assert [(number, now[number : number + 1]) for number in range(len(now)) if now[number] != longer[number]] == [
        edited.mark
    ]


def test_small_files_differ_and_lie_in_directories_of_a_hundred(prepared: Prepared, folder: Path) -> None:
    files = do("small", prepared, folder)
    assert len(files) == 230
    assert len({(folder / file.name).read_bytes() for file in files}) == 230
    assert sorted(len(list(each.iterdir())) for each in (folder / "small").iterdir()) == [30, 100, 100]


def test_scales() -> None:
    assert scaled(1) == Sizes()
    assert scaled(0.1) == Sizes(
        latency_files=3, bulk=100 << 20, append=104_858, small_files=1000, crowd=10_000, crowded_files=10
    )
    assert scaled(1e-9) == Sizes(
        latency_files=3, bulk=1 << 20, append=1 << 10, small_files=10, crowd=10, crowded_files=3
    )


# The clock -----------------------------------------------------------------------------------------------------------


class Side:
    """Two folders, and somebody who carries files over as told."""

    def __init__(self, place: Path) -> None:
        self.source, self.target = place / "source", place / "target"
        for folder in (self.source, self.target):
            folder.mkdir()

    async def carry(self, files: Sequence[Saved], size: int | None = None) -> None:
        for file in files:
            (self.target / file.name).parent.mkdir(parents=True, exist_ok=True)
            (self.target / file.name).write_bytes((self.source / file.name).read_bytes()[:size])


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


async def test_the_clock_stops_when_the_last_file_is_in_place(side: Side, prepared: Prepared) -> None:
    (save,) = WORK["small"].saves(prepared, side.source)
    save.write(side.source)
    arrivals = Arrivals(side.target, save.files, 0.001)
    stopped: list[float] = []

    async def await_all() -> None:
        stopped.append(await arrivals.all_durable())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(await_all)
        await side.carry(save.files[:-1])
        while arrivals.come < len(save.files) - 1:  # noqa: ASYNC110  a thread counts
            await trio.sleep(0.001)
        before = time.perf_counter()
        assert stopped == []
        await side.carry(save.files[-1:])
    assert before < stopped[0] < time.perf_counter()


async def test_an_edit_is_in_place_with_the_changed_byte(side: Side, prepared: Prepared) -> None:
    (save,) = WORK["bulk"].saves(prepared, side.source)
    await time_save(save, side.source, side.target, 0.001, side.carry, deadline=10.0)

    async def carry_nothing(_: Sequence[Saved]) -> None:
        await trio.lowlevel.checkpoint()

    (edit,) = WORK["edit"].saves(prepared, side.source)
    with pytest.raises(BenchFailed, match="0 of 1 files in place"):
        await time_save(edit, side.source, side.target, 0.001, carry_nothing, deadline=0.05)
    await time_save(edit, side.source, side.target, 0.001, side.carry, deadline=10.0)
    verify(side.source, side.target, edit.files)


async def test_a_file_of_another_size_is_not_in_place(side: Side) -> None:
    save = warm_up()
    with pytest.raises(BenchFailed, match=r"0 of 1 files in place within 0\.1 s"):
        await time_save(save, side.source, side.target, 0.001, partial(side.carry, size=1023), deadline=0.1)


async def test_what_saving_takes_is_not_on_the_clock(side: Side) -> None:
    """`after` runs with the clock on, writing doesn't."""
    pause = 0.2

    def write(folder: Path) -> None:
        subprocess.run(["sleep", str(pause)], check=True)
        warm_up().write(folder)

    save = Save(warm_up().files, write)
    timed = await time_save(save, side.source, side.target, 0.001, side.carry)
    assert timed.writing >= pause
    assert timed.seconds < timed.writing


async def test_another_content_is_told(side: Side) -> None:
    save = warm_up()
    save.write(side.source)
    await side.carry(save.files)
    verify(side.source, side.target, save.files)
    (side.target / save.files[0].name).write_bytes(bytes(save.files[0].size))
    with pytest.raises(BenchFailed, match=r"warm-up\.txt arrived with another content"):
        verify(side.source, side.target, save.files)


# CPU and memory ------------------------------------------------------------------------------------------------------


def test_figures_of_the_kernel_are_read() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7"
    assert cpu_seconds(stat) == 127 / ticks
    assert peak_bytes("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t      12 kB\nVmRSS:\t 3 kB\n") == 12 << 10
    assert peak_bytes("Name:\tx\nState:\tZ (zombie)\n") == 0


async def test_the_peak_begins_anew_with_each_work() -> None:
    this = Daemon(os.getpid())
    this.reset()
    filled = bytearray(os.urandom(1 << 20) * 128)
    high = (await this.used()).peak_bytes
    del filled
    this.reset()
    assert (await this.used()).peak_bytes <= high - (100 << 20)


async def test_cpu_of_a_daemon_counts_from_the_reset() -> None:
    this = Daemon(os.getpid())
    this.reset()
    while (await this.used()).cpu_seconds < 0.05:
        sum(range(100_000))
    this.reset()
    assert (await this.used()).cpu_seconds < 0.05


async def test_a_program_that_runs_again_and_again_is_added_up() -> None:
    program = OneShot()
    burn = [sys.executable, "-c", "x = bytearray(b'y') * (64 << 20)\nfor _ in range(3_000_000): pass\nprint('done')"]
    assert await program.run(burn, environment()) == "done\n"
    once = await program.used()
    assert once.cpu_seconds > 0.02
    assert once.peak_bytes > 64 << 20
    await program.run(burn, environment())
    twice = await program.used()
    assert twice.cpu_seconds > once.cpu_seconds + 0.02
    assert twice.peak_bytes < 2 * once.peak_bytes
    program.reset()
    assert (await program.used()).cpu_seconds == 0


async def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(BenchFailed, match=r"sh: exit code 3: oh"):
        await OneShot().run(["sh", "-c", "echo oh >&2; exit 3"], environment())


async def test_a_program_that_is_cancelled_is_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = ["sh", "-c", f"echo $$ > {pipe}; exec sleep 1000"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(OneShot().run, command, environment())
        pid = int(await trio.to_thread.run_sync(pipe.read_text))
        nursery.cancel_scope.cancel()
    assert not Path(f"/proc/{pid}").exists()


# Facts ---------------------------------------------------------------------------------------------------------------


def test_the_file_system_is_that_of_the_longest_mount(tmp_path: Path) -> None:
    inner = tmp_path / "a b" / "c"
    inner.mkdir(parents=True)
    mounts = "\n".join(
        [
            "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
            f"21 20 0:40 / {str(tmp_path).replace(' ', chr(92) + '040')}/a\\040b rw - tmpfs tmpfs rw",
            f"22 21 0:41 / {tmp_path}/a rw master:2 - xfs /dev/sdb rw",
        ]
    )
    assert facts.file_system_of(inner, mounts) == "tmpfs"
    assert facts.file_system_of(tmp_path, mounts) == "ext4"


def test_the_machine_is_looked_at(tmp_path: Path) -> None:
    found = facts.look(tmp_path)
    assert found.cores >= 1
    assert found.memory_bytes > 1 << 28
    assert found.file_seconds > 0
    assert list(tmp_path.iterdir()) == []


# Rivals --------------------------------------------------------------------------------------------------------------


def test_what_rsync_tells_is_read() -> None:
    said = "\nNumber of files: 2\nTotal bytes sent: 1048832572\nTotal bytes received: 35\n"
    assert bytes_sent(said) == 1_048_832_572


def _configuration() -> str:
    options = "".join(f"<{name}>default</{name}>" for name in ("listenAddress", *OPTIONS))
    own = '<device id="OWN" name="host"><address>dynamic</address></device>'
    gui = "<gui><address>127.0.0.1:8384</address><apikey>k</apikey></gui>"
    return f"<configuration>{own}{gui}<options>{options}</options></configuration>"


def test_syncthing_is_set_up_for_loopback_alone(tmp_path: Path) -> None:
    both = []
    for name, port in (("sender", 4001), ("receiver", 4002)):
        home = tmp_path / name / "home"
        home.mkdir(parents=True)
        (home / "config.xml").write_text(_configuration())
        both.append(Instance(home, tmp_path / name / "folder", name.upper(), port, "k"))
    configure(both[0], both)
    root = ElementTree.parse(both[0].home / "config.xml").getroot()
    assert [(each.attrib["id"], each.findtext("address")) for each in root.findall("device")] == [
        ("SENDER", "tcp://127.0.0.1:4001"),
        ("RECEIVER", "tcp://127.0.0.1:4002"),
    ]
    assert root.findtext("options/listenAddress") == "tcp://127.0.0.1:4001"
    assert root.findtext("gui/address") == str(both[0].home / "api")
    assert {name: root.findtext(f"options/{name}") for name in OPTIONS} == OPTIONS
    (folder,) = root.findall("folder")
    assert folder.attrib["fsWatcherDelayS"] == "1"
    assert [each.attrib["id"] for each in folder] == ["SENDER", "RECEIVER"]


def test_a_syncthing_without_a_switch_is_refused(tmp_path: Path) -> None:
    """Rather than one that calls out."""
    instance = Instance(tmp_path, tmp_path, "OWN", 1, "k")
    (tmp_path / "config.xml").write_text(_configuration().replace("relaysEnabled", "other"))
    with pytest.raises(BenchFailed, match="no options/relaysEnabled"):
        configure(instance, [instance])


@pytest.mark.slow
@pytest.mark.parametrize(
    "rival",
    [pytest.param(rival, marks=[pytest.mark.soak] if rival.name == "syncthing" else []) for rival in RIVALS],
    ids=lambda rival: rival.name,
)
async def test_a_rival_carries_a_file_and_listens_on_loopback_only(rival: Rival, place: Path) -> None:
    if (why := rival.missing()) is not None:
        pytest.skip(why)
    async with programs(place / "logs") as running_programs:
        async with rival.start(place / rival.name, running_programs) as running:
            before = await running.counters()
            save = warm_up()
            await time_save(save, running.source, running.target, 0.005, running.saved, 60)
            await running.settle()
            verify(running.source, running.target, save.files)
            assert (await running.counters()).keys() == before.keys()
            assert rival.moved(await running.counters()) >= rival.moved(before)
            pids = [program.process.pid for program in running_programs.running]
            assert {address for pid in pids for address in listening(pid)} <= {"127.0.0.1"}
    shutil.rmtree(place / rival.name)


MULTICAST_DNS = f"{5353:04X}"


def listening(pid: int) -> list[str]:
    """Addresses on which a process takes connections or datagrams, anything but IPv4 as it stands in /proc. Multicast
    DNS aside: its port is the same on all interfaces, and the group is joined on the chosen one only."""
    inodes = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    found = []
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            host, _, port = fields[1].partition(":")
            if fields[3] == state and f"socket:[{fields[9]}]" in inodes and (table[:3], port) != ("udp", MULTICAST_DNS):
                found.append(readable(host))
    return found


def readable(address: str) -> str:
    return ".".join(str(byte) for byte in bytes.fromhex(address)[::-1]) if len(address) == 8 else address
