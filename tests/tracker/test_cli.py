"""`shoal-tracker` as its keeper runs it: in a process, beside a server and without one."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from protocol import api
from protocol.breaker import Limits
from protocol.errors import Code, Refused
from protocol.failpoints import VARIABLE
from tests.support.seaweed import BUCKET, SeaweedServer
from tests.support.tracker import Running, author_of, client_of, new_account, running_tracker, start_tracker, version_of
from tracker.cli import main
from tracker.failpoints import COMMIT_AFTER, COMMIT_BEFORE, PACK_RECORDED, PACK_STORED, SIGNUP_RECORDED


def shoal_tracker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; no traceback may ever show."""
    done = subprocess.run(
        [sys.executable, "-m", "tracker", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr
    return done


def document(*arguments: str, data: Path) -> dict[str, object]:
    done = shoal_tracker(*arguments, "--json", SHOAL_DATA=str(data))
    assert done.returncode == 0, done.stderr
    made: dict[str, object] = json.loads(done.stdout)
    return made


@pytest.mark.usefixtures("any_database")
@pytest.mark.slow
async def test_the_keepers_commands_beside_a_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    account = new_account()
    author = author_of(account.first)
    with running_tracker(data) as running:
        async with client_of(running.url) as client:
            await client.sign_up(account)
            node = author.new_node()
            sealed = author.seal(node, bytes(range(250)) * 20)
            create = author.create("a", content=sealed, node=node)
            await client.call(api.COMMIT, author.commit(create, runs=sealed.runs))
            assert document("stats", data=data)["versions_not_durable"] == 1
            shown = shoal_tracker("stats", SHOAL_DATA=str(data)).stdout
            cells = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines()]
            assert ["", "versions not in the cloud yet", "1", ""] in cells
            await client.send_pack(author.pack(sealed))

            listed = document("user", "list", data=data)["users"]
            assert isinstance(listed, list)
            (user,) = listed
            assert (user["email"], user["plan"], user["devices"]) == ("ann@example.org", "free", 1)
            assert document("user", "set-plan", "Ann@Example.org", "premium", data=data)
            reply = await client.call(api.ACCOUNT, api.Empty())
            assert (reply.plan, reply.quota_bytes) == ("premium", 100 << 30)

            more = ("user", "set-breaker", "ann@example.org", "--delete-percent")
            changed = document(*more, "40", data=data)
            assert changed == {"changed": "ann@example.org", "breaker": asdict(Limits(delete_percent=40))}
            told = await client.call(api.WORKSPACES, api.Empty())
            assert told.workspaces[0].limits == Limits(delete_percent=40)
            shown = shoal_tracker(*more[:-1], "--delete-least", "60", SHOAL_DATA=str(data)).stdout
            rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]
            assert ["delete-percent", "40", "25"] in rows
            assert ["delete-least", "60", "50"] in rows
            shown = shoal_tracker("user", "list", SHOAL_DATA=str(data)).stdout
            assert shown.splitlines()[-1] == "breaker of ann@example.org: delete-percent 40, delete-least 60"
            document("user", "suspend", "ann@example.org", data=data)
            with pytest.raises(Refused) as caught:
                await client.call(api.ACCOUNT, api.Empty())
            assert caught.value.code is Code.SUSPENDED
            document("user", "resume", "ann@example.org", data=data)
            await client.call(api.ACCOUNT, api.Empty())

            assert document("check", data=data)["clean"] is True
            totals = document("stats", data=data)
            assert (totals["users"], totals["chunks"], totals["versions_not_durable"]) == (1, 1, 0)
            for command in (("stats",), ("check", "--quick")):
                assert shoal_tracker(*command, SHOAL_DATA=str(data)).returncode == 0
        assert running.stop() == 0
    assert running.log.read_text() == ""


@pytest.mark.usefixtures("any_database")
@pytest.mark.slow
async def test_check_tells_damage_by_its_exit_code(tmp_path: Path) -> None:
    data = tmp_path / "data"
    account = new_account()
    author = author_of(account.first)
    with running_tracker(data) as running:
        async with client_of(running.url) as client:
            await client.sign_up(account)
            node = author.new_node()
            sealed = author.seal(node, bytes(5000))
            create = author.create("a", content=sealed, node=node)
            await client.call(api.COMMIT, author.commit(create, runs=sealed.runs))
            await client.send_pack(author.pack(sealed))
    (stored,) = [path for path in (data / "objects").rglob("*") if path.is_file()]
    body = bytearray(stored.read_bytes())
    body[-1] ^= 1
    stored.write_bytes(body)
    done = shoal_tracker("check", "--data", str(data))
    assert (done.returncode, done.stderr) == (1, "shoal-tracker: 1 problems found\n")
    assert "is not what its id says" in done.stdout
    assert shoal_tracker("check", "--quick", "--data", str(data)).returncode == 0
    done = shoal_tracker("scrub", "--data", str(data))
    wanted = "shoal-tracker: 1 chunks are damaged, and wanted from the devices that hold them\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, wanted, "read 1 chunks in 1 objects\n")
    assert document("stats", data=data)["chunks_damaged"] == 1
    body[-1] ^= 1
    stored.write_bytes(body)
    assert document("scrub", data=data) == {"objects": 0, "chunks": 0, "recovered": 1, "damaged": 0}
    assert document("check", data=data)["clean"] is True


BAD_USAGE = {
    "an unknown command": ("nonsense",),
    "more than one worker": ("serve", "--workers", "2"),
    "plain http to the world": ("serve", "--listen", "0.0.0.0:0"),
    "half a certificate": ("serve", "--tls-cert", "x.pem"),
    "no address": ("serve", "--listen", "nonsense"),
    "a database of another kind": ("serve", "--database", "mysql://x/y"),
    "a database without a name": ("serve", "--database", "postgresql+asyncpg://x"),
    "no database's address at all": ("serve", "--database", ""),
    "a port that is none": ("serve", "--database", "postgresql+asyncpg://u:SECRET@h:notaport/x"),
    "a port that can't be": ("serve", "--database", "postgresql+asyncpg://u:SECRET@h:99999/x"),
    "half a bracket": ("serve", "--database", "postgresql+asyncpg://u:SECRET@[::1/x"),
    "a password not encoded": ("serve", "--database", "postgresql+asyncpg://u:a@SECRET:b@h/x"),
    "a password elsewhere": ("serve", "--database", "postgresql+asyncpg://u@h/x?password=SECRET"),
    "an option of nobody's": ("serve", "--database", "postgresql+asyncpg://u:SECRET@h/x?bogus=x"),
    "a secret in a storage's address": ("serve", "--storage", "s3://AK:SECRET@bucket/x"),
    "a secret in an endpoint": ("serve", "--storage", "s3://bucket?endpoint=http://u:SECRET@h"),
    "no database": ("serve", "--database", "nonsense"),
    "a storage of another kind": ("serve", "--storage", "gs://bucket"),
    "a bucket that can't be": ("serve", "--storage", "s3://b"),
    "a share past all": ("user", "set-breaker", "a@b.c", "--delete-percent", "101"),
    "an unknown plan": ("user", "set-plan", "a@b.c", "gold"),
    "a tracker that never was": ("check",),
}


@pytest.mark.parametrize("name", BAD_USAGE)
def test_bad_usage_is_one_clear_line_and_exit_2(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOAL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", ["shoal-tracker", *BAD_USAGE[name]])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 or "Usage:" in err
    assert "SECRET" not in err
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_failures_are_one_line_and_exit_1(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_tracker(data) as running:
        second = shoal_tracker("serve", "--data", str(data), "--listen", "127.0.0.1:0")
        assert (second.returncode, second.stderr) == (1, f"shoal-tracker: another tracker serves from {data}\n")
        taken = shoal_tracker("serve", "--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{running.port}")
        assert taken.returncode == 1
        assert taken.stderr.startswith(f"shoal-tracker: can't listen on 127.0.0.1:{running.port}")
        nowhere = shoal_tracker(
            "serve", "--data", str(tmp_path / "other"), "--database", f"sqlite:///{data}/no/database"
        )
        assert nowhere.returncode == 1
        assert nowhere.stderr.endswith("can't be used: unable to open database file\n")
        assert nowhere.stderr.count("\n") == 1
        unknown = shoal_tracker("user", "suspend", "nobody@example.org", "--data", str(data))
        assert (unknown.returncode, unknown.stderr) == (1, "shoal-tracker: there is no user nobody@example.org\n")


@pytest.mark.slow
async def test_a_tracker_with_its_objects_in_s3(tmp_path: Path, seaweed: SeaweedServer) -> None:
    data, url, inside = tmp_path / "data", seaweed.url("cli"), seaweed.environment
    where = ("--data", str(data), "--storage", url)
    account = new_account()
    author = author_of(account.first)
    node = author.new_node()
    sealed = author.seal(node, bytes(range(250)) * 20)
    with running_tracker(data, "--storage", url, "--log-level", "info", environment=inside) as running:
        async with client_of(running.url) as client:
            await client.sign_up(account)
            create = author.create("a", content=sealed, node=node)
            await client.call(api.COMMIT, author.commit(create, runs=sealed.runs))
            await client.send_pack(author.pack(sealed))
        assert shoal_tracker("check", *where, **inside).returncode == 0
        lost = shoal_tracker("check", "--data", str(data), "--storage", seaweed.url("elsewhere"), **inside)
        assert (lost.returncode, lost.stdout.partition(": ")[2][:13]) == (1, "it is missing")
        assert running.stop() == 0
    assert "the storage was asked: put: 1 calls, 0 errors" in running.log.read_text()
    assert not (data / "objects").exists()

    unused = ("--data", str(tmp_path / "other"), "--listen", "127.0.0.1:0", "--storage")
    refused = shoal_tracker("serve", *unused, url, **{**inside, "AWS_SECRET_ACCESS_KEY": "not-the-secret"})
    what = f"the storage can't be used: the bucket {BUCKET} at {seaweed.endpoint}"
    assert (refused.returncode, refused.stderr) == (1, f"shoal-tracker: {what}: the secret access key is wrong\n")
    refused = shoal_tracker("check", "--data", str(data), "--storage", url.replace(BUCKET, "nowhere", 1), **inside)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"shoal-tracker: {what.replace(BUCKET, 'nowhere', 1)}: there is no such bucket\n",
    )


def test_version_help_and_completion() -> None:
    assert shoal_tracker("--version").stdout.startswith("shoal-tracker, version ")
    assert shoal_tracker("serve", "--help").returncode == 0
    assert "_SHOAL_TRACKER_COMPLETE" in shoal_tracker("completion", "bash").stdout


@pytest.mark.slow
def test_a_configuration_file(tmp_path: Path) -> None:
    config = tmp_path / "tracker.toml"
    config.write_text(f'data = "{tmp_path / "data"}"\nlisten = "127.0.0.1:0"\ninsecure-http = true\n')
    with running_tracker(tmp_path / "unused", "--config", str(config)):
        pass
    assert shoal_tracker("stats", "--config", str(config)).returncode == 2  # the option given above won
    config.write_text("wrokers = 2")
    assert "wrokers, which no command knows" in shoal_tracker("stats", "--config", str(config)).stderr
    config.write_text("data = [")
    assert shoal_tracker("stats", "--config", str(config)).returncode == 2


def test_everything_in_the_data_folder_is_for_this_user_only(tmp_path: Path) -> None:
    with running_tracker(tmp_path / "made" / "data") as running:
        pass
    for path in running.data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


# Crashes -------------------------------------------------------------------------------------------------------------


async def _all(running: Running) -> None:
    """Sign up, commit, upload: what a device repeats until it was answered."""
    account = new_account("crash@example.org")
    author = author_of(account.first)
    node = author.new_node()
    sealed = author.seal(node, bytes(range(250)) * 20, 2000)
    create = author.create("a", content=sealed, node=node)
    sent = author.commit(create, runs=sealed.runs)
    async with client_of(running.url) as client:
        await client.sign_up(account)
        reply = await client.call(api.COMMIT, sent)
        assert reply.revision == 1
        await client.send_pack(author.pack(sealed))
        delta = await client.call(api.DELTA, api.DeltaRequest(workspace=account.home, revision=0))
    assert (delta.through, delta.announced) == (2, ())
    assert version_of(create) == sealed.content.version


@pytest.mark.usefixtures("any_database")
@pytest.mark.slow
@pytest.mark.parametrize("name", [SIGNUP_RECORDED, COMMIT_BEFORE, COMMIT_AFTER, PACK_STORED, PACK_RECORDED])
async def test_a_crash_at_each_failpoint_is_healed_by_asking_again(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    crashing = start_tracker(data, environment={VARIABLE: f"{name}:1"})
    with pytest.raises(httpx.TransportError):
        await _all(crashing)
    assert crashing.process.wait(timeout=10) == -9
    with running_tracker(data) as running:
        await _all(running)
    assert shoal_tracker("check", "--data", str(data)).returncode == 0
