# SPDX-License-Identifier: GPL-2.0
"""BUF-5: what the application does to its buffers and its memory while an ifq has the pages."""

import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.regions import Mappings
from fixtures.registration import accepted, active, answer, receives, valid
from fixtures.stations import Flow, MakeStation, Station
from lib.child import Child, Hear, Say
from lib.cpus import allowed, on_cpu
from lib.deadline import scaled, wait_until
from lib.procfs import status_kib
from lib.uring import PAGE, Memory
from lib.zerocopy import Chunk, Region

contract = pytest.mark.contract
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return", "prompt_frees")]

PAGES = 64
FLAGS = "/proc/kpageflags"
FRAME = (1 << 55) - 1  # of an entry of pagemap: its page frame
BUDDY = 1 << 10  # KPF_BUDDY, include/uapi/linux/kernel-page-flags.h; one that is free may have none
LENGTH = 30_000  # bytes: what an unread socket takes without any tuning
MARK = 0xA5


def park(station: Station) -> Flow:
    """A connection with LENGTH bytes of the stream unread in its socket, in the region."""
    flow = station.flow()
    flow.tcp.send(LENGTH)
    flow.tcp.wait_queued(LENGTH)
    return flow


@contextmanager
def everything_free_taken() -> Iterator[None]:
    """Whatever pages came free last, on any CPU, have a new owner inside.

    He fills them with a mark and finds that mark at the end: neither has he written into somebody's
    data, nor anybody into his.
    """
    taken = []
    try:
        for cpu in allowed():
            with on_cpu(cpu):
                taken.append(Memory(512 * PAGE))
                taken[-1].view[:] = bytes([MARK]) * taken[-1].size
        yield
        for memory in taken:
            strange = memory.size - bytes(memory.view).count(MARK)
            assert not strange, f"{strange} bytes were written into someone else's memory"
    finally:
        for memory in taken:
            memory.close()


def entries(path: str, numbers: Iterable[int]) -> list[int]:
    """A file with eight bytes for each page: Documentation/admin-guide/mm/pagemap.rst."""
    found = []
    with open(path, "rb") as file:
        for number in numbers:
            file.seek(8 * number)
            found.append(int.from_bytes(file.read(8), sys.byteorder))
    return found


@contextmanager
def no_page_freed(memory: Memory) -> Iterator[None]:
    """What happens inside leaves all pages taken; where the kernel tells: CONFIG_PROC_PAGE_MONITOR.

    A page that is free may stay as it was for long, and nobody be the wiser for its contents.
    """
    if not Path(FLAGS).exists():
        yield
        return
    pages = range(memory.addr // PAGE, (memory.addr + memory.size) // PAGE)
    frames = [entry & FRAME for entry in entries("/proc/self/pagemap", pages)]
    assert all(frames), "pages of a region are not in memory"
    yield
    flags = entries(FLAGS, frames)
    free = sum(not flag or bool(flag & BUDDY) for flag in flags)
    assert not free, f"{free} of {len(frames)} pages of the region are free"


def pages_are_still_the_kernels(station: Station, parked: Flow) -> None:
    """The parked data is intact, and what still arrives in the region, is, too."""
    with everything_free_taken():
        parked.tcp.read(LENGTH)
        later = station.flow()
        for _ in range(2 * station.region.size // LENGTH):
            later.tcp.send(LENGTH)
            later.tcp.read(LENGTH)
    active(station)


# -- the registered buffer -----------------------------------------------------------------


def emptied(station: Station, _other: Region) -> None:
    """The slot of the table is emptied."""
    station.ring.update_buffer(0, 0, 0)


def replaced(station: Station, other: Region) -> None:
    """Other memory takes its slot."""
    station.ring.update_buffer(0, other.addr, other.size)


def unregistered(station: Station, _other: Region) -> None:
    """The whole table goes."""
    station.ring.unregister_buffers()


def unregistered_and_replaced(station: Station, other: Region) -> None:
    """The table goes, and a new one has other memory in that slot."""
    station.ring.unregister_buffers()
    station.ring.register_buffers([(other.addr, other.size)])


Change = Callable[[Station, Region], None]
changes = pytest.mark.parametrize(
    "change", [emptied, replaced, unregistered, unregistered_and_replaced]
)


def promptly(call: Callable[[], None]) -> None:
    """It returns in good time."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(scaled(2))
    assert not thread.is_alive(), "the call waits for the ifq"
    if caught:
        raise caught[0]


@contract("BUF-5", "RECV-21")
@changes
def test_buffer_goes_and_the_region_stays(make_station: MakeStation, change: Change) -> None:
    """With its buffer gone the ifq goes on: nothing waits, and payload lands where it did."""
    with Region(PAGES) as other:
        station = make_station(pages=PAGES)
        waiting, flow = station.flow(), park(station)
        station.ring.push(waiting.receiver.sqe(1000))
        station.ring.submit()
        promptly(lambda: change(station, other))
        chunks = flow.take(LENGTH)
        assert flow.tally.zero_copy, "what was in the region already has been copied"
        flow.receiver.give_back(chunks)
        receives(station, 2 * station.region.size)
        assert not any(other.memory.view), "payload landed in the buffer that took its place"
        waiting.tcp.send(1000)
        waiting.receiver.give_back(waiting.accept(waiting.receiver.decode(station.ring.wait(1)[0])))
        station.close()


@contract("BUF-5", "REG-10")
def test_replacement_belongs_to_nobody(make_station: MakeStation, bystander: Station) -> None:
    """The buffer that took the region's place can be a region; the old memory cannot."""
    with Region(PAGES) as other:
        station = make_station(pages=PAGES)
        replaced(station, other)
        bystander.close()
        second = make_station(pages=PAGES, register=False, queue=bystander.queue)
        second.ring.update_buffer(1, station.region.addr, station.region.size)
        second.ring.update_buffer(2, other.addr, other.size)
        assert answer(second, valid(second, region_id=1)) == "EEXIST"
        assert answer(second, valid(second, region_id=2)) == ""
        second.close()
        station.close()


# -- the memory ----------------------------------------------------------------------------


def dropped(memory: Memory) -> None:
    """The application has no use for its contents."""
    memory.advise(mmap.MADV_DONTNEED)


def removed(memory: Memory) -> None:
    """Nobody has a use for its contents."""
    memory.advise(mmap.MADV_REMOVE)


def unmapped(memory: Memory) -> None:
    """Other memory is mapped there."""
    memory.overlay()


@contract("BUF-5", "REL-9")
@pytest.mark.parametrize(
    ("flags", "change"),
    [
        pytest.param(mmap.MAP_PRIVATE, dropped, id="private-dropped"),
        pytest.param(mmap.MAP_PRIVATE, unmapped, id="private-unmapped"),
        pytest.param(mmap.MAP_SHARED, removed, id="shared-removed"),
        pytest.param(mmap.MAP_SHARED, unmapped, id="shared-unmapped"),
    ],
)
def test_memory_goes_under_the_ifq(
    make_station: MakeStation, change: Callable[[Memory], None], flags: int
) -> None:
    """Without fixed buffer and memory data stays whole, and nobody else's memory is written."""
    with Region(PAGES, flags) as region:
        station = make_station(region=region)
        flow = park(station)
        with no_page_freed(region.memory):
            station.ring.unregister_buffers()
            change(region.memory)
        pages_are_still_the_kernels(station, flow)
        station.close()


@contract("BUF-5", "REL-9")
def test_file_shrinks_under_the_ifq(make_station: MakeStation) -> None:
    """The file under the region is cut to nothing: the same."""
    fd = os.memfd_create("region")
    try:
        os.ftruncate(fd, PAGES * PAGE)
        with Memory(PAGES * PAGE) as memory:
            memory.overlay(fd)
            station = make_station(region=Region(PAGES, memory=memory))
            flow = park(station)
            with no_page_freed(memory):
                station.ring.unregister_buffers()
                os.ftruncate(fd, 0)
            pages_are_still_the_kernels(station, flow)
            station.close()
    finally:
        os.close(fd)


@contract("BUF-5", "REL-9", "REL-7")
def test_memory_goes_under_the_draining_region(make_station: MakeStation, explicit: None) -> None:
    """Ring closed, memory unmapped, data unread: it is whole when it is read."""
    with Region(PAGES) as region:
        station = make_station(region=region)
        flow = park(station)
        before = status_kib("VmPin")
        with no_page_freed(region.memory):
            station.close_ring()
            region.memory.overlay()
            # The ring lets go of its registered buffer later, in a work of its own.
            wait_until(
                lambda: status_kib("VmPin") <= before - region.size // 1024,
                lambda: f"VmPin is {status_kib('VmPin')} kB, with the buffer it was {before}",
            )
        with everything_free_taken():
            flow.tcp.read(LENGTH)
        station.close()


def reads_elsewhere(station: Station, where: Memory) -> None:
    """Payload that RECV_ZC reports is seen through another mapping of the region's pages."""
    mirror = Region(PAGES, memory=where)
    flow = station.flow()
    flow.tcp.send(LENGTH)
    while flow.tcp.check.offset < LENGTH:
        chunks = flow.receiver.run(flow.receiver.sqe(LENGTH)).chunks
        for chunk in chunks:
            flow.tcp.check.check(seen_through(mirror, chunk))
        flow.tally.add(chunks)
        flow.receiver.give_back(chunks)
    assert flow.tally.zero_copy, f"nothing arrived in the region: {flow.tally}"


def seen_through(mirror: Region, chunk: Chunk) -> memoryview:
    """The bytes of a piece, in the other mapping if they are in the region."""
    if not chunk.zero_copy:
        return chunk.data
    return mirror.piece(chunk.bid, chunk.offset, len(chunk.data))


@contract("BUF-5", "RECV-19", "RECV-21")
def test_other_mapping_stays(mappings: Mappings, make_station: MakeStation) -> None:
    """Of two mappings the one that was registered goes: the other shows what arrives."""
    ours, theirs = mappings(PAGES)
    station = make_station(region=Region(PAGES, memory=ours))
    ours.overlay()
    reads_elsewhere(station, theirs)
    station.ring.unregister_buffers()
    reads_elsewhere(station, theirs)


@contract("BUF-5", "RECV-19", "RECV-21", "FILL-1")
def test_memory_moves(make_station: MakeStation) -> None:
    """Moved elsewhere, they are the region's pages still, and go by the addresses they had."""
    with Region(PAGES) as region, Memory(PAGES * PAGE) as elsewhere:
        station = make_station(region=region)
        region.memory.move_to(elsewhere)
        for _ in range(2 * PAGES * PAGE // LENGTH):
            reads_elsewhere(station, elsewhere)
        station.close()


@contract("BUF-5", "RECV-19")
@pytest.mark.parametrize("buffer", [True, False], ids=["with buffer", "without buffer"])
def test_fork_does_not_part_user_and_device(make_station: MakeStation, buffer: bool) -> None:
    """After fork(2) the parent writes to the region, and sees payload there all the same."""
    with Region(PAGES) as region:
        station = make_station(region=region)
        if not buffer:
            station.ring.unregister_buffers()

        def body(say: Say, hear: Hear) -> None:
            say("forked")
            hear()

        with Child(body) as child:
            child.expect("forked")
            # Copy-on-write must leave the pages that are pinned with the parent.
            for page in range(PAGES):
                region.memory.view[page * PAGE] = MARK
            receives(station, 2 * region.size)
            child.finish()
        station.close()


@contract("REL-6", "REG-20")
def test_memory_is_ordinary_again(make_station: MakeStation, explicit: None) -> None:
    """After the release the memory is the application's alone: no frame changes it any more."""
    with Region(PAGES) as region:
        station = make_station(region=region)
        receives(station)
        assert station.ifq is not None
        station.ifq.close()
        station.gone()
        region.memory.view[:] = bytes([MARK]) * region.size
        flow = station.flow()
        flow.transfer(2 * region.size)
        assert not flow.tally.zero_copy
        assert bytes(region.memory.view).count(MARK) == region.size
        station.close()
        accepted(make_station(region=region, register=False))
