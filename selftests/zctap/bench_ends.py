# SPDX-License-Identifier: GPL-2.0
"""The two processes of `bench`: what receives, in every way there is, and what sends."""

import cProfile
import io
import itertools
import json
import pstats
import resource
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from lib.bench.measurement import Cpu
from lib.child import Hear, Say
from lib.cpus import allowed, stay_on
from lib.pattern import Pattern
from lib.uring import BufferPool, Ring, Setup
from lib.uring.drain import RecvDrain
from lib.zctap import CopyRing, Drain, FillRing, Ifq, Zctap
from lib.zctap.drain import IOVS
from lib.zerocopy import Region
from netns.dial import AnyLink
from netns.tcp_info import segments

BOUND, UNBOUND = 1, 0  # queues
PAGES = 2048
_BUFFER, _BUFFERS = 64 << 10, 16
_BATCH = 8  # completions: half of the buffers, so that the kernel has some in the meantime
_FILL, _COPY, _META, _RECV = 10, 20, 30, 40  # buffer groups
_FLAGS = Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_BLOCK = 1 << 20


def _cpu() -> Cpu:
    """CPU time of this process, io_uring's workers included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Cpu(used.ru_utime, used.ru_stime)


def _since(before: Cpu) -> dict[str, float]:
    now = _cpu()
    return {"user": now.user - before.user, "system": now.system - before.system}


class Receiving:
    """All that the ways need, made once and kept, so that they meet warm memory."""

    def __init__(self, link: AnyLink, zctap: Zctap) -> None:
        self.zctap = zctap
        self.buffers = [bytearray(_BUFFER) for _ in range(_BUFFERS)]
        self.ring, self.plain = Ring(64, _FLAGS, cq_entries=1024), Ring(64, _FLAGS, cq_entries=1024)
        self.pool = BufferPool(self.plain, _RECV, _BUFFERS, _BUFFER)
        self.region = Region(PAGES)
        self.region.register(self.ring)
        self.fill = FillRing(self.ring, _FILL, self.region)
        self.copy = CopyRing(self.ring, _COPY, _BUFFERS, _BUFFER)
        # As many as the others have buffers: a batch is as much of the stream, and fits the region.
        self.meta = BufferPool(self.ring, _META, _BUFFERS, IOVS * 16)
        ns, ifindex, queue = link.place(BOUND)
        with ns.entered():
            self.ifq = Ifq(
                self.ring,
                zctap,
                self.region,
                ifindex=ifindex,
                queue_id=queue,
                fill_bgid=_FILL,
            )

    def way(self, name: str, socks: Sequence[socket.socket]) -> Callable[[], dict[str, int]]:
        """What receives to the end of all these, and then says what it counted."""
        if name == "recv":
            return lambda: _recv(socks, self.buffers)
        if name == "uring":
            plain = RecvDrain(self.plain, socks, self.pool, batch=_BATCH)

            def run_plain() -> dict[str, int]:
                plain.run()
                calls = plain.batches.calls
                return {"bytes": plain.total, "cqes": plain.completions, "calls": calls}

            return run_plain
        drain = Drain(
            self.ring,
            self.zctap,
            socks,
            region=self.region,
            fill=self.fill,
            copy=self.copy,
            meta=self.meta,
            readlen=_BUFFER,
            batch=_BATCH,
        )

        def run() -> dict[str, int]:
            done = drain.run()
            return {
                "bytes": done.total,
                "zero_copy": done.zero_copy,
                "copied": done.copied,
                "cqes": done.completions,
                "calls": drain.batches.calls,
            }

        return run


def _recv(socks: Sequence[socket.socket], buffers: Sequence[bytearray]) -> dict[str, int]:
    """recv(2) until all have ended; epoll where there are several.

    Into one buffer after the other, as the other ways do: one alone would stay in the cache.
    """
    total = calls = 0
    turns = itertools.cycle(buffers)
    if len(socks) == 1:
        receive = socks[0].recv_into
        while count := receive(next(turns)):
            total += count
            calls += 1
        return {"bytes": total, "calls": calls + 1}
    by_fd = {sock.fileno(): sock for sock in socks}
    with select.epoll() as poll:
        for fd, sock in by_fd.items():
            sock.setblocking(False)
            poll.register(fd, select.EPOLLIN)
        while by_fd:
            ready = poll.poll()
            calls += 1 + len(ready)
            for fd, _ in ready:
                # What epoll reports as readable is so until we read it.
                if count := by_fd[fd].recv_into(next(turns)):
                    total += count
                else:
                    poll.unregister(fd)
                    del by_fd[fd]
    return {"bytes": total, "calls": calls}


def receiver(link: AnyLink, zctap: Zctap) -> Callable[[Say, Hear], None]:
    """The receiving process: for each order that it hears a listening port, then what came."""

    def body(say: Say, hear: Hear) -> None:
        stay_on(allowed()[-1])
        receiving = Receiving(link, zctap)
        say("made")
        while text := hear():
            order = json.loads(text)
            with link.rx.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                # What is on its way has to fit the region, with all flows together.
                room = receiving.region.size // 4 // order["flows"]
                listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, room)
                listener.bind((link.rx.address(4), 0))
                listener.listen(order["flows"])
                say(str(listener.getsockname()[1]))
                socks = [listener.accept()[0] for _ in range(order["flows"])]
            run = receiving.way(order["way"], socks)
            profile = cProfile.Profile(time.process_time) if order.get("profile") else None
            say("ready")
            before = _cpu()
            found: dict[str, Any] = dict(profile.runcall(run) if profile else run())
            found |= {"end": time.monotonic(), "receiver": _since(before)}
            for sock in socks:
                sock.close()
            if profile:
                found["profile"] = _shown(profile)
            say(json.dumps(found))

    return body


def _shown(profile: cProfile.Profile) -> str:
    """Where the CPU time went, by function."""
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(14)
    return text.getvalue()


def sender(link: AnyLink) -> Callable[[Say, Hear], None]:
    """The sending process."""

    def body(say: Say, hear: Hear) -> None:
        stay_on(allowed()[0])
        block = Pattern(1).slice(0, _BLOCK)
        while text := hear():
            order = json.loads(text)
            socks = [
                link.tx.ns.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(order["flows"])
            ]
            for sock in socks:
                sock.connect((link.rx.address(4), order["port"]))
            say("connected")
            hear()
            before, begin = _cpu(), time.monotonic()
            writes = order["bytes"] // order["size"] // len(socks)
            piece, send = block[: order["size"]], [sock.sendall for sock in socks]
            for _ in range(writes):
                for each in send:
                    each(piece)
            for sock in socks:
                sock.shutdown(socket.SHUT_WR)
            for sock in socks:
                sock.recv(1)  # until the other end has closed
            found = {"begin": begin, "sender": _since(before), "writes": writes * len(socks)}
            found["again"] = sum(segments(sock).again for sock in socks)
            for sock in socks:
                sock.close()
            say(json.dumps(found))

    return body
