"""What a commit may do: each reason for a refusal, each rule of marks, and what only the whole commit can show."""

import dataclasses
from random import Random

import pytest

from protocol.api import REASONS, VIEWER, CommitRefusal
from protocol.chunks import MAX_SEALED
from protocol.codec import decode
from protocol.commits import DIRECTORY, MOUNT, SYMLINK, Create, sign_commit
from protocol.errors import BadSignature, Code, Malformed, Refused
from protocol.hashing import digest
from protocol.identifiers import GIB, ROOT, RunId
from protocol.runs import run_id
from tests.support.tracker import author_of, version_of
from tests.tracker.workshop import Workshop
from tracker.metadata.rules import MAX_ROUNDS

# Commits that stand --------------------------------------------------------------------------------------------------


async def test_create_write_move_delete_restore(shop: Workshop) -> None:
    create = shop.author.create("a")
    first = await shop.commit(create)
    assert (first.since, first.revision, first.announced, first.missing) == (0, 1, (), ())
    write = shop.author.write(create.node, version_of(create))
    await shop.commit(write)
    move = shop.author.move(create.node, create.place.mark, "b")
    await shop.commit(move)
    delete = shop.author.delete(create.node, move.place.mark, version_of(write))
    await shop.commit(delete)
    assert (await shop.node(create.node)).deleted
    restore = shop.author.restore(create.node, delete.mark, "c", version_of(write))
    assert (await shop.commit(restore)).revision == 5
    node = await shop.node(create.node)
    assert (node.place, node.version, node.deleted) == (restore.place.mark, version_of(write), False)
    await shop.check()


async def test_a_tree_is_made_in_one_commit(shop: Workshop) -> None:
    outer = shop.author.create_directory("outer")
    inner = shop.author.create_directory("inner", outer.node)
    file = shop.author.create("file", inner.node)
    link = shop.author.create_symlink("link", inner.node)
    await shop.commit(outer, inner, file, link)
    assert (await shop.node(file.node)).parent == inner.node
    await shop.check()


async def test_two_names_are_swapped_in_one_commit(shop: Workshop) -> None:
    a, b = shop.author.create("a"), shop.author.create("b")
    await shop.commit(a, b)
    to_b = shop.author.move(a.node, a.place.mark, "b")
    to_a = shop.author.move(b.node, b.place.mark, "a")
    await shop.commit(to_b, to_a)
    assert ((await shop.node(a.node)).token, (await shop.node(b.node)).token) == (b.place.token, a.place.token)
    await shop.check()


async def test_a_name_is_free_once_its_node_is_deleted_or_moved_in_the_same_commit(shop: Workshop) -> None:
    a, b = shop.author.create("a"), shop.author.create("b")
    await shop.commit(a, b)
    await shop.commit(shop.author.delete(a.node, a.place.mark, version_of(a)), shop.author.create("a"))
    await shop.commit(shop.author.create("b"), shop.author.move(b.node, b.place.mark, "c"))
    await shop.check()


async def test_a_directory_and_all_in_it_are_deleted_in_one_commit_in_any_order(shop: Workshop) -> None:
    directory = shop.author.create_directory("d")
    file = shop.author.create("f", directory.node)
    await shop.commit(directory, file)
    await shop.commit(
        shop.author.delete(directory.node, directory.place.mark),
        shop.author.delete(file.node, file.place.mark, version_of(file)),
    )
    await shop.check()


async def test_a_directory_is_emptied_by_moving_its_child_out(shop: Workshop) -> None:
    directory = shop.author.create_directory("d")
    file = shop.author.create("f", directory.node)
    await shop.commit(directory, file)
    await shop.commit(
        shop.author.delete(directory.node, directory.place.mark),
        shop.author.move(file.node, file.place.mark, "f"),
    )
    await shop.check()


async def test_one_node_several_times_in_one_commit(shop: Workshop) -> None:
    create = shop.author.create("a")
    write = shop.author.write(create.node, version_of(create))
    move = shop.author.move(create.node, create.place.mark, "b")
    delete = shop.author.delete(create.node, move.place.mark, version_of(write))
    await shop.commit(create, write, move, delete)
    node = await shop.node(create.node)
    assert (node.deleted, node.place_at, node.content_at) == (True, (1, 3), (1, 1))
    await shop.check()


# Reasons -------------------------------------------------------------------------------------------------------------


async def test_stale_place(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    move = shop.author.move(create.node, create.place.mark, "b")
    await shop.commit(move)
    again = shop.author.move(create.node, create.place.mark, "c")
    refusal = await shop.refusal(again)
    assert [(each.index, each.reason) for each in refusal.operations] == [(0, "stale-place")]
    state = refusal.operations[0].state
    assert state is not None
    assert (state.place, state.token, state.version) == (move.place.mark, move.place.token, version_of(create))
    assert await shop.reasons(shop.author.delete(create.node, create.place.mark, version_of(create))) == {
        0: "stale-place"
    }


async def test_stale_content(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    write = shop.author.write(create.node, version_of(create))
    await shop.commit(write)
    assert await shop.reasons(shop.author.write(create.node, version_of(create))) == {0: "stale-content"}
    stale = shop.author.delete(create.node, create.place.mark, version_of(create))
    none = shop.author.delete(create.node, create.place.mark)
    assert await shop.reasons(stale) == {0: "stale-content"}
    assert await shop.reasons(none) == {0: "stale-content"}
    delete = shop.author.delete(create.node, create.place.mark, version_of(write))
    await shop.commit(delete)
    old = shop.author.restore(create.node, delete.mark, "a", version_of(create))
    assert await shop.reasons(old) == {0: "stale-content"}


async def test_name_taken(shop: Workshop) -> None:
    a, b = shop.author.create("a"), shop.author.create("b")
    await shop.commit(a, b)
    assert await shop.reasons(shop.author.create("a")) == {0: "name-taken"}
    assert await shop.reasons(shop.author.move(b.node, b.place.mark, "a")) == {0: "name-taken"}
    assert await shop.reasons(shop.author.create("c"), shop.author.create("c")) == {1: "name-taken"}
    gone = shop.author.delete(a.node, a.place.mark, version_of(a))
    await shop.commit(gone, shop.author.create("a"))
    assert await shop.reasons(shop.author.restore(a.node, gone.mark, "a", version_of(a))) == {0: "name-taken"}


async def test_a_name_freed_only_by_a_failing_operation_stays_taken(shop: Workshop) -> None:
    a = shop.author.create("a")
    await shop.commit(a)
    stale = shop.author.write(a.node, version_of(shop.author.create("x")))
    away = shop.author.move(a.node, stale.content.version, "b")  # type: ignore[arg-type]
    assert await shop.reasons(away, shop.author.create("a")) == {0: "stale-place", 1: "name-taken"}


async def test_no_parent(shop: Workshop) -> None:
    directory, file = shop.author.create_directory("d"), shop.author.create("f")
    await shop.commit(directory, file)
    assert await shop.reasons(shop.author.create("a", shop.author.new_node())) == {0: "no-parent"}
    assert await shop.reasons(shop.author.create("a", file.node)) == {0: "no-parent"}
    gone = shop.author.delete(directory.node, directory.place.mark)
    assert await shop.reasons(gone, shop.author.create("a", directory.node)) == {1: "no-parent"}
    await shop.commit(gone)
    assert await shop.reasons(shop.author.create("a", directory.node)) == {0: "no-parent"}


async def test_what_is_built_on_a_failed_create_fails_too(shop: Workshop) -> None:
    await shop.commit(shop.author.create("taken"))
    outer = shop.author.create_directory("taken")
    inner = shop.author.create_directory("inner", outer.node)
    file = shop.author.create("file", inner.node)
    write = shop.author.write(file.node, version_of(file))
    good = shop.author.create("good")
    assert await shop.reasons(outer, inner, file, write, good) == {
        0: "name-taken",
        1: "no-parent",
        2: "no-parent",
        3: "unknown-node",
    }


async def test_cycle(shop: Workshop) -> None:
    a = shop.author.create_directory("a")
    b = shop.author.create_directory("b", a.node)
    c = shop.author.create_directory("c", b.node)
    other = shop.author.create_directory("other")
    await shop.commit(a, b, c, other)
    assert await shop.reasons(shop.author.move(a.node, a.place.mark, "x", a.node)) == {0: "cycle"}
    assert await shop.reasons(shop.author.move(a.node, a.place.mark, "x", c.node)) == {0: "cycle"}
    into = shop.author.move(a.node, a.place.mark, "x", other.node)
    back = shop.author.move(other.node, other.place.mark, "y", c.node)
    assert await shop.reasons(into, back) == {1: "cycle"}
    node = shop.author.new_node()
    own = Create(node=node, kind=DIRECTORY, place=shop.author.place(node, "self", node))
    assert await shop.reasons(own) == {0: "cycle"}


async def test_a_directory_and_its_child_change_places(shop: Workshop) -> None:
    a = shop.author.create_directory("a")
    b = shop.author.create_directory("b", a.node)
    await shop.commit(a, b)
    await shop.commit(
        shop.author.move(a.node, a.place.mark, "a", b.node), shop.author.move(b.node, b.place.mark, "b", ROOT)
    )
    await shop.check()


async def test_not_empty(shop: Workshop) -> None:
    directory = shop.author.create_directory("d")
    one, two = shop.author.create("1", directory.node), shop.author.create("2", directory.node)
    await shop.commit(directory, one, two)
    delete = shop.author.delete(directory.node, directory.place.mark)
    assert await shop.reasons(delete) == {0: "not-empty"}
    only = shop.author.delete(one.node, one.place.mark, version_of(one))
    assert await shop.reasons(delete, only) == {0: "not-empty"}
    written = shop.author.write(two.node, version_of(two))
    assert await shop.reasons(delete, only, written) == {0: "not-empty"}


async def test_unknown_node(shop: Workshop) -> None:
    stranger = shop.author.create("never sent")
    assert await shop.reasons(
        shop.author.write(stranger.node, version_of(stranger)),
        shop.author.move(stranger.node, stranger.place.mark, "b"),
        shop.author.delete(stranger.node, stranger.place.mark, version_of(stranger)),
        shop.author.restore(stranger.node, stranger.place.mark, "b", None),
    ) == dict.fromkeys(range(4), "unknown-node")


async def test_deleted_and_not_deleted(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    restore = shop.author.restore(create.node, create.place.mark, "a", version_of(create))
    assert await shop.reasons(restore) == {0: "not-deleted"}
    delete = shop.author.delete(create.node, create.place.mark, version_of(create))
    await shop.commit(delete)
    assert await shop.reasons(
        shop.author.write(create.node, version_of(create)),
        shop.author.move(create.node, delete.mark, "b"),
        shop.author.delete(create.node, delete.mark, version_of(create)),
    ) == dict.fromkeys(range(3), "deleted")


async def test_node_exists(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    assert await shop.reasons(shop.author.create("b", node=create.node)) == {0: "node-exists"}
    assert await shop.reasons(shop.author.create("b", node=ROOT)) == {0: "node-exists"}
    fresh = shop.author.create("c")
    assert await shop.reasons(fresh, shop.author.create("d", node=fresh.node)) == {1: "node-exists"}


async def test_wrong_kind(shop: Workshop) -> None:
    directory = shop.author.create_directory("d")
    await shop.commit(directory)
    anything = version_of(shop.author.create("x"))
    assert await shop.reasons(shop.author.write(directory.node, anything)) == {0: "wrong-kind"}
    mount = dataclasses.replace(shop.author.create_directory("m"), kind=MOUNT)
    assert await shop.reasons(mount) == {0: "wrong-kind"}
    shop.author.kinds[directory.node] = SYMLINK
    assert await shop.reasons(shop.author.move(directory.node, directory.place.mark, "x")) == {0: "wrong-kind"}
    gone = shop.author.delete(directory.node, directory.place.mark)
    await shop.commit(gone)
    assert await shop.reasons(shop.author.restore(directory.node, gone.mark, "x", None)) == {0: "wrong-kind"}


async def test_mark_reused(shop: Workshop) -> None:
    a = shop.author.create("a")
    await shop.commit(a)
    move = shop.author.move(a.node, a.place.mark, "b")
    await shop.commit(move)
    b = shop.author.create("c")
    old_place = dataclasses.replace(b, place=dataclasses.replace(b.place, mark=a.place.mark))
    old_version = dataclasses.replace(b, content=a.content)
    back = dataclasses.replace(
        shop.author.move(a.node, move.place.mark, "a"),
        place=dataclasses.replace(shop.author.place(a.node, "a"), mark=a.place.mark),
    )
    assert a.content is not None
    same_version = dataclasses.replace(shop.author.write(a.node, version_of(a)), content=a.content)
    same_mark = dataclasses.replace(shop.author.delete(a.node, move.place.mark, version_of(a)), mark=move.place.mark)
    for operation in (old_place, old_version, back, same_version, same_mark):
        assert await shop.reasons(operation) == {0: "mark-reused"}
    twin = shop.author.create("d")
    doubled = dataclasses.replace(twin, place=dataclasses.replace(twin.place, mark=b.place.mark))
    assert await shop.reasons(b, doubled) == {1: "mark-reused"}


async def test_too_large(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, Random(1).randbytes(2 << 20))
    content = dataclasses.replace(sealed.content, runs=sealed.content.runs * 512)
    fits = shop.author.create("fits", content=dataclasses.replace(sealed, content=content), node=node)
    assert (await shop.reasons(fits, runs=sealed.runs)) == {0: "quota"}  # 1 GiB of content and its overhead
    larger = dataclasses.replace(sealed.content, runs=sealed.content.runs * 513)
    large = shop.author.create("large", content=dataclasses.replace(sealed, content=larger), node=node)
    assert (await shop.reasons(large, runs=sealed.runs)) == {0: "too-large"}


async def test_quota_is_exact(shop: Workshop) -> None:
    create = shop.author.create("a")
    assert create.content is not None
    cost = len(create.content.manifest)
    await shop.set_used(GIB - cost + 1)
    assert await shop.reasons(create) == {0: "quota"}
    await shop.set_used(GIB - cost)
    await shop.commit(create)
    assert await shop.used() == GIB


async def test_quota_refuses_only_what_does_not_fit(shop: Workshop) -> None:
    small, other = shop.author.create("a"), shop.author.create("b")
    node = shop.author.new_node()
    sealed = shop.author.seal(node, bytes(1000))
    big = shop.author.create("big", content=sealed, node=node)
    assert small.content is not None
    await shop.set_used(GIB - 2 * len(small.content.manifest))
    assert await shop.reasons(small, big, other) == {1: "quota"}
    await shop.commit(small, other)


async def test_past_the_quota_everything_that_frees_some_is_allowed(shop: Workshop) -> None:
    node = shop.author.new_node()
    create = shop.author.create("a", content=shop.author.seal(node, bytes(900)), node=node)
    await shop.commit(create)
    await shop.set_used(2 * GIB)
    write = shop.author.write(node, version_of(create), shop.author.seal(node, b"short"))
    await shop.commit(write, shop.author.move(node, create.place.mark, "b"))
    assert await shop.reasons(shop.author.create("c")) == {0: "quota"}


async def test_unknown_run(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, bytes(5000))
    create = shop.author.create("a", content=sealed, node=node)
    assert await shop.reasons(create) == {0: "unknown-run"}
    stranger = RunId(digest(b"other"))
    content = dataclasses.replace(sealed.content, runs=(*sealed.content.runs, stranger))
    both = shop.author.create("a", content=dataclasses.replace(sealed, content=content), node=node)
    assert await shop.reasons(both, runs=sealed.runs) == {0: "unknown-run"}
    await shop.commit(create, runs=sealed.runs)
    again = shop.author.new_node()
    same = dataclasses.replace(shop.author.seal(again, bytes(5000)), runs=())
    await shop.commit(shop.author.create("b", content=same, node=again))  # the tracker has the run by now
    await shop.check()


def test_each_reason_has_its_test() -> None:
    tested = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    tested |= {"quota", "deleted", "not-deleted"}  # told apart further
    tested |= {"held"}  # test_breaker.py
    assert set(REASONS) <= tested


# Refusals as a whole -------------------------------------------------------------------------------------------------


async def test_a_refusal_names_every_failing_operation_and_the_rest_stands(shop: Workshop) -> None:
    await shop.commit(shop.author.create("bad"))
    good = [shop.author.create(f"file {number}") for number in range(499)]
    bad = shop.author.create("bad")
    assert await shop.reasons(*good[:250], bad, *good[250:]) == {250: "name-taken"}
    assert (await shop.commit(*good)).revision == 2
    await shop.check()


async def test_several_failures_are_all_named(shop: Workshop) -> None:
    a = shop.author.create("a")
    await shop.commit(a)
    assert await shop.reasons(
        shop.author.create("a"),
        shop.author.create("fine"),
        shop.author.write(a.node, version_of(shop.author.create("x"))),
        shop.author.create("orphan", shop.author.new_node()),
    ) == {0: "name-taken", 2: "stale-content", 3: "no-parent"}


async def test_a_long_chain_of_renames_that_fails_at_its_end_is_answered(shop: Workshop) -> None:
    count = MAX_ROUNDS + 10
    files = [shop.author.create(f"{number}") for number in range(count)]
    await shop.commit(*files, shop.author.create(f"{count}"))
    moves = [shop.author.move(file.node, file.place.mark, f"{at + 1}") for at, file in enumerate(files)]
    reasons = await shop.reasons(*moves)
    assert set(reasons.values()) == {"name-taken"}
    assert len(reasons) >= MAX_ROUNDS


# Who, and under which keys -------------------------------------------------------------------------------------------


async def test_an_old_key_epoch_is_refused_with_the_present_one(shop: Workshop) -> None:
    with pytest.raises(Refused) as caught:
        await shop.send(shop.author.commit(shop.author.create("a"), epoch=2))
    assert caught.value.code is Code.COMMIT
    assert decode(CommitRefusal, caught.value.detail, 1000) == CommitRefusal(epoch=1)


async def test_another_users_workspace_is_not_found(shop: Workshop) -> None:
    stranger = await shop.sign_up("bob@example.org")
    author = author_of(stranger.first, shop.account.keys)
    with pytest.raises(Refused) as caught:
        await shop.send(author.commit(author.create("a")), stranger.first)
    assert caught.value.code is Code.NOT_FOUND


async def test_another_workspaces_ids_mean_nothing(shop: Workshop) -> None:
    """A node of somebody else's workspace is unknown in one's own, and its marks are free there."""
    create = shop.author.create("a")
    await shop.commit(create)
    stranger = await shop.sign_up("bob@example.org")
    author = author_of(stranger.first)
    with pytest.raises(Refused) as caught:
        await shop.send(author.commit(author.write(create.node, version_of(create))), stranger.first)
    refusal = decode(CommitRefusal, caught.value.detail, 1000)
    assert [(each.reason, each.state) for each in refusal.operations] == [("unknown-node", None)]
    await shop.send(author.commit(create), stranger.first)


async def test_a_viewer_may_not_write(shop: Workshop) -> None:
    viewer = await shop.sign_up("bob@example.org")
    await shop.add_member(viewer.user, VIEWER)
    author = author_of(viewer.first, shop.account.keys)
    with pytest.raises(Refused) as caught:
        await shop.send(author.commit(author.create("a")), viewer.first)
    assert caught.value.code is Code.FORBIDDEN


async def test_a_commit_signed_by_another_key_is_refused(shop: Workshop) -> None:
    other = shop.account.new_device()
    sent = author_of(other).commit(shop.author.create("a"))
    with pytest.raises(BadSignature):
        await shop.send(sent)


async def test_a_run_of_impossible_length_is_malformed(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, bytes(5000))
    at = sealed.runs[0].index(sealed.chunks[0][0]) + 32
    body = sealed.runs[0][:at] + (MAX_SEALED + 1).to_bytes(4, "big") + sealed.runs[0][at + 4 :]
    content = dataclasses.replace(sealed.content, runs=(run_id(body),))
    create = shop.author.create("a", content=dataclasses.replace(sealed, content=content), node=node)
    with pytest.raises(Malformed):
        await shop.commit(create, runs=(body,))


# Retries -------------------------------------------------------------------------------------------------------------


async def test_a_retry_gets_the_first_answer(shop: Workshop) -> None:
    sent = shop.author.commit(shop.author.create("a"))
    first = await shop.send(sent)
    await shop.commit(shop.author.create("b"))
    assert await shop.send(sent) == first
    assert await shop.head() == 2


async def test_a_retry_is_answered_before_any_other_check(shop: Workshop) -> None:
    sent = shop.author.commit(shop.author.create("a"))
    first = await shop.send(sent)
    await shop.set_used(2 * GIB)
    assert await shop.send(sent) == first


async def test_a_commit_id_stands_for_one_body_only(shop: Workshop) -> None:
    sent = shop.author.commit(shop.author.create("a"))
    await shop.send(sent)
    author = shop.author
    other = author.commit(author.create("b"))
    forged = sign_commit(
        workspace=author.workspace,
        device=author.device.id,
        epoch=1,
        commit=sent.id,
        seen=other.seen,
        operations=other.operations,
        runs=(),
        signing_key=author.device.signing,
    )
    with pytest.raises(Refused) as caught:
        await shop.send(forged)
    assert caught.value.code is Code.MALFORMED


async def test_a_refused_commit_may_be_sent_again(shop: Workshop) -> None:
    """A refusal leaves no record, so the same commit stands once nothing is in its way."""
    taken = shop.author.create("a")
    await shop.commit(taken)
    sent = shop.author.commit(shop.author.create("a"))
    with pytest.raises(Refused):
        await shop.send(sent)
    await shop.commit(shop.author.delete(taken.node, taken.place.mark, version_of(taken)))
    assert (await shop.send(sent)).revision == 3
