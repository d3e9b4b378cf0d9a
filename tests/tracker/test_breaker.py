"""The tracker's side of the breaker: too many deletes or overwrites in a while are refused, unless approved."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.breaker import APPROVED_MS, WINDOW_MS, Approval, Changes, Limits, sign_approval
from protocol.commits import Commit, Create, Operation
from protocol.errors import BadSignature, Code, Problem, Refused
from protocol.identifiers import ApprovalId
from tests.support.tracker import Author, version_of
from tests.tracker.workshop import Workshop
from tracker.administration import change_breaker, list_users, set_breaker
from tracker.metadata.breaker import MINUTE_MS, Recent, judge
from tracker.metadata.workspaces import workspaces_of

SMALL = Limits(delete_percent=25, delete_least=3, delete_most=8, overwrite_percent=50, overwrite_least=4)
MINUTES = WINDOW_MS / 1000 + 61
"""Seconds after which nothing counts any more."""


# What counts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deletes", "files", "held"),
    [
        (49, 60, False),
        (50, 200, False),
        (50, 199, True),
        (51, 200, True),
        (10_000, 90_000, False),
        (10_001, 90_000, True),
    ],
)
def test_the_usual_limit_of_deletes(deletes: int, files: int, held: bool) -> None:
    assert Limits().too_many_deletes(deletes, files) is held


@pytest.mark.parametrize(("overwrites", "files", "held"), [(199, 200, False), (200, 400, False), (201, 400, True)])
def test_the_usual_limit_of_overwrites(overwrites: int, files: int, held: bool) -> None:
    assert Limits().too_many_overwrites(overwrites, files) is held


def test_changes_count_for_ten_minutes() -> None:
    recent = Recent().adding(0, 1, Changes(2, 1), Changes(2, 1)).adding(5 * MINUTE_MS, 2, Changes(3, 0), Changes(3, 0))
    assert recent.at(10 * MINUTE_MS).changes == Changes(5, 1)
    assert recent.at(11 * MINUTE_MS).changes == Changes(3, 0)
    assert recent.at(16 * MINUTE_MS).changes == Changes()


def test_a_clock_that_is_set_back_makes_nothing_count_for_longer() -> None:
    recent = Recent().adding(600 * MINUTE_MS, 1, Changes(2, 0), Changes(2, 0)).at(0)
    assert recent.changes == Changes(2, 0)
    assert recent.at(11 * MINUTE_MS).changes == Changes()


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 5)), max_size=60))
def test_no_more_than_the_window_is_kept_and_nothing_within_it_is_forgotten(steps: list[tuple[int, int]]) -> None:
    recent, now, made = Recent(), 0, []
    for revision, (pause, deletes) in enumerate(steps, 1):
        now += pause
        made.append((now, deletes))
        recent = recent.at(now).adding(now, revision, Changes(deletes, 0), Changes(deletes, 0))
        within = sum(count for at, count in made if now - at <= WINDOW_MS)
        nearly = sum(count for at, count in made if now - at <= WINDOW_MS + MINUTE_MS)
        assert within <= recent.changes.deletes <= nearly
        assert len(recent.minutes) <= 11


def test_files_are_counted_only_where_it_matters() -> None:
    def never() -> int:
        raise AssertionError

    judged = judge(Recent(files=100), SMALL, Changes(2, 3), never)
    assert not judged.deletes
    assert not judged.overwrites
    judged = judge(Recent(files=0), SMALL, Changes(3, 0), lambda: 100)
    assert not judged.deletes
    assert judged.recent.files == 100


# At the tracker ------------------------------------------------------------------------------------------------------


async def limited(shop: Workshop, limits: Limits = SMALL) -> None:
    await shop.database.transact(set_breaker, shop.account.email, limits)


async def made(shop: Workshop, count: int) -> list[Create]:
    creates = [shop.author.create(f"f{number}") for number in range(count)]
    await shop.commit(*creates)
    return creates


def deleting(author: Author, creates: list[Create]) -> list[Operation]:
    return [author.delete(each.node, each.place.mark, version_of(each)) for each in creates]


def overwriting(author: Author, creates: list[Create]) -> list[Operation]:
    return [author.write(each.node, version_of(each)) for each in creates]


def approval(author: Author, deletes: int = 0, overwrites: int = 0, id: bytes = b"a" * 16) -> Approval:
    bound = Changes(deletes, overwrites)
    return sign_approval(author.workspace, author.device.id, ApprovalId(id), 1, bound, author.device.signing)


def approved(author: Author, with_: Approval, *operations: Operation) -> Commit:
    return dataclasses.replace(author.commit(*operations), approval=with_)


async def refused(shop: Workshop, commit: Commit) -> None:
    with pytest.raises(Refused) as caught:
        await shop.send(commit)
    assert caught.value.code is Code.COMMIT


async def test_deletes_up_to_the_limit_go_and_one_more_is_held(shop: Workshop) -> None:
    await limited(shop)
    files = await made(shop, 12)
    await shop.commit(*deleting(shop.author, files[:3]))
    more = deleting(shop.author, files[3:5])
    assert await shop.reasons(*more, shop.author.create("new")) == {0: "held", 1: "held"}
    await shop.commit(shop.author.create("new"))  # nothing else is
    shop.clock.advance(MINUTES)
    await shop.commit(*more)
    await shop.check()


async def test_overwrites_are_held_and_a_file_saved_again_and_again_counts_once(shop: Workshop) -> None:
    await limited(shop)
    files = await made(shop, 6)
    first = shop.author.write(files[0].node, version_of(files[0]))
    await shop.commit(first)
    for _ in range(5):
        second = shop.author.write(first.node, first.content.version)
        await shop.commit(second)
        first = second
    await shop.commit(*overwriting(shop.author, files[1:3]))
    assert await shop.reasons(*overwriting(shop.author, files[3:4])) == {0: "held"}
    await shop.check()


async def test_a_slow_change_of_everything_is_not_held(shop: Workshop) -> None:
    await limited(shop)
    for each in deleting(shop.author, await made(shop, 12)):  # two count at any time
        await shop.commit(each)
        shop.clock.advance(0.6 * WINDOW_MS / 1000)
    assert await shop.head() == 13


async def test_what_all_devices_do_counts_together(shop: Workshop) -> None:
    await limited(shop)
    files, other = await made(shop, 8), await shop.add_device()
    other.kinds.update(shop.author.kinds)
    await shop.commit(*deleting(shop.author, files[:2]))
    with pytest.raises(Refused) as caught:
        await shop.send(other.commit(*deleting(other, files[2:3])), other.device)
    assert caught.value.code is Code.COMMIT


async def test_directories_dont_count(shop: Workshop) -> None:
    await limited(shop)
    directories = [shop.author.create_directory(f"d{number}") for number in range(9)]
    await shop.commit(*directories)
    await shop.commit(*(shop.author.delete(each.node, each.place.mark) for each in directories))


async def test_an_approval_lets_through_what_it_says_and_no_more(shop: Workshop) -> None:
    await limited(shop)
    files = await made(shop, 10)
    word = approval(shop.author, deletes=6)
    await shop.send(approved(shop.author, word, *deleting(shop.author, files[:4])))
    await refused(shop, approved(shop.author, word, *deleting(shop.author, files[4:9])))  # three past it
    await shop.send(approved(shop.author, word, *deleting(shop.author, files[4:6])))
    await refused(shop, approved(shop.author, word, *deleting(shop.author, files[6:9])))  # a replay of it
    delta = await shop.delta()
    assert {entry.commit.approval for entry in delta.entries if entry.commit is not None} == {None, word}
    await shop.check()


async def test_a_retry_takes_nothing_from_the_approval(shop: Workshop) -> None:
    await limited(shop)
    files = await made(shop, 8)
    word = approval(shop.author, deletes=6)
    commit = approved(shop.author, word, *deleting(shop.author, files[:3]))
    assert await shop.send(commit) == await shop.send(commit)
    await shop.send(approved(shop.author, word, *deleting(shop.author, files[3:6])))


async def test_a_commit_that_is_refused_takes_nothing_from_the_approval(shop: Workshop) -> None:
    await limited(shop)
    files = await made(shop, 8)
    word = approval(shop.author, deletes=4)
    await refused(shop, approved(shop.author, word, *deleting(shop.author, files)))
    await shop.send(approved(shop.author, word, *deleting(shop.author, files[:4])))


async def test_an_approval_doesnt_live_for_ever(shop: Workshop) -> None:
    await limited(shop)
    files = await made(shop, 10)
    word = approval(shop.author, deletes=8)
    await shop.send(approved(shop.author, word, *deleting(shop.author, files[:4])))
    shop.clock.advance(APPROVED_MS / 1000 + 1)
    await refused(shop, approved(shop.author, word, *deleting(shop.author, files[4:8])))


async def test_a_forged_approval_is_refused(shop: Workshop) -> None:
    await limited(shop)
    files, other = await made(shop, 8), await shop.add_device()
    word = approval(shop.author, deletes=3)
    larger = dataclasses.replace(word, deletes=8)
    foreign = approval(other, deletes=8)
    for forged in (larger, foreign, dataclasses.replace(word, id=ApprovalId(b"b" * 16))):
        with pytest.raises(BadSignature):
            await shop.send(approved(shop.author, forged, *deleting(shop.author, files)))
    assert await shop.head() == 1


async def test_the_limits_of_one_user_are_told_to_the_devices(shop: Workshop) -> None:
    async def told() -> Limits:
        return (await shop.database.read(workspaces_of, shop.account.user)).workspaces[0].limits

    assert await told() == Limits()
    await limited(shop)
    assert await told() == SMALL
    await limited(shop, Limits())
    assert await told() == Limits()
    with pytest.raises(Problem, match="no user"):
        await shop.database.transact(set_breaker, "nobody@example.org", SMALL)


async def test_limits_that_are_not_given_stay_as_they_are(shop: Workshop) -> None:
    async def change(reset: bool = False, **given: int) -> Limits:
        now = await shop.database.transact(change_breaker, shop.account.email.upper(), given, reset=reset)
        (listed,) = await shop.database.read(list_users)
        assert listed.breaker == now
        return now

    assert await change() == Limits()
    assert await change(delete_percent=40) == Limits(delete_percent=40)
    assert await change(overwrite_least=7) == Limits(delete_percent=40, overwrite_least=7)
    assert await change() == Limits(delete_percent=40, overwrite_least=7)
    assert await change(reset=True, delete_least=3) == Limits(delete_least=3)
    assert await change(reset=True) == Limits()
    with pytest.raises(Problem, match="no user"):
        await shop.database.transact(change_breaker, "nobody@example.org", {})
