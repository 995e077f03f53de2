# SPDX-License-Identifier: GPL-2.0
"""Receive a TCP stream without copying it, and say at each step what happens.

`./run_tests.py demo` runs this in a guest; as root on a kernel with zctap it also runs by itself,
`python3 -m selftests.zctap.demo --help`. It is the example for lib/: receive() sets up all that a
receiver needs, stream() is the loop that it consists of.
"""

import argparse
import os
import socket
import sys
import time
import zlib

from lib.procfs import status_kib
from lib.sizes import size_of
from lib.softirq import Flusher
from lib.uring import PAGE, Ring
from lib.zctap import CopyRing, Drain, FillRing, Ifq, NoZctap, Receiver, probe
from lib.zctap.rest import wait_at_rest, wait_gone
from lib.zerocopy import Chunk, Region
from netns import Link, Unsupported, packet
from netns.streamer import Streamer
from netns.tcp import listening

QUEUE, FILL, COPY, META = 1, 10, 20, 30


def tell(what: str, text: str) -> None:
    """Print a line, at once."""
    print(f"{what:<9} {text}", flush=True)


class Watch:
    """Counts what arrives, and says every second how it goes."""

    def __init__(self, ifq: Ifq) -> None:
        self.came = {True: 0, False: 0}  # bytes without a copy, and others
        self.checksum, self._entry = 0, ifq.entry
        self._begin = self._said = time.monotonic()
        self._warm: int | None = None  # KiB of memory, once all of it has been in use

    def look(self, _number: int, data: memoryview, zero_copy: bool) -> None:
        """This is the next piece of the stream."""
        self.checksum = zlib.crc32(data, self.checksum)
        self.came[zero_copy] += len(data)

    def tick(self) -> None:
        """Say how it goes, every second."""
        if time.monotonic() - self._said >= 1:
            self._said = time.monotonic()
            self.say(f"{self._said - self._begin:.0f} s")
            if self._warm is None:
                self._warm = status_kib("RssAnon")

    def say(self, when: str) -> None:
        """Print where the bytes and the pages are."""
        rate = sum(self.came.values()) / max(time.monotonic() - self._begin, 1e-9)
        text = f"{size_of(self.came[True])} zero-copy, {size_of(self.came[False])} copied"
        text += f", {size_of(rate)}/s"
        if self._entry:
            now = self._entry.accounting()
            text += f"; pages: {now.free} free, {now.driver} driver, {now.skb} skb, {now.user} user"
        if self._warm is not None:
            text += f"; memory: {status_kib('RssAnon') - self._warm:+} KiB"
        tell(when, text)


def dump(number: int, frame: bytes, chunks: list[Chunk]) -> None:
    """Show where a frame went: what a packet socket saw, and what has been reported to us."""
    payload = sum(len(chunk.data) for chunk in chunks)
    tell(f"frame {number}", f"{len(frame) - payload} bytes of headers, into the kernel's memory")
    for chunk in chunks:
        way = f"page {chunk.bid} of the region" if chunk.zero_copy else f"copy buffer {chunk.bid}"
        begin = bytes(chunk.data[:8]).hex(" ", 4)
        tell("", f"{len(chunk.data)} bytes of payload, into {way}, offset {chunk.offset}: {begin}")


def stream(link: Link, receiver: Receiver, ifq: Ifq, peer: Streamer, single: int) -> Watch:
    """Receive to the end of the stream; give back what has been looked at."""
    watch = Watch(ifq)
    with packet.tap(link.rx) as tap:
        for number in range(1, single + 1):
            peer.go_on()
            chunks = receiver.receive()
            dump(number, tap.recv(1 << 16), chunks)
            for chunk in chunks:
                watch.look(number, chunk.data, chunk.zero_copy)
            receiver.give_back(chunks)
    peer.go_on()
    drain = Drain.of(receiver, META, watch.look)  # one request, and completions by the batch
    while drain.open:
        drain.step()
        watch.tick()
    watch.say("total")
    return watch


def account(ifq: Ifq, region: Region, fill: FillRing, link: Link) -> None:
    """See that nothing is left behind, as far as the kernel shows it."""
    if not ifq.entry:
        return
    flusher = Flusher(link.rx.ns.socket(socket.AF_INET, socket.SOCK_DGRAM))
    wait_at_rest(ifq.entry, region, fill, flusher.flush)
    now = ifq.entry.accounting()
    tell("at rest", f"no skb has a page; {now.driver} are posted, {now.free} free,")
    tell("", f"{now.user} in the fill ring, for when none is free")
    ifq.close()
    wait_gone(ifq.entry, flusher.flush)
    flusher.close()
    tell("released", "the queue is free again, and so is the memory")


def receive(options: argparse.Namespace) -> int:
    """Set everything up, receive, and account for it; the exit status."""
    zctap = probe()
    tell("kernel", f"{os.uname().release} has zctap: numbers from {zctap.source}")
    with Link() as link, Region(options.pages) as region, Ring(64) as ring:
        ifname, ifindex = link.rx.ifname, link.rx.ifindex
        tell("device", f"{ifname}, an end of a veth pair; the peer is in another namespace")
        region.register(ring)
        tell("region", f"{region.pages} pages of {PAGE} bytes, pinned as fixed buffer 0")
        fill, copy = FillRing(ring, FILL, region), CopyRing(ring, COPY)
        tell("rings", f"pages go back through group {FILL}, copies come in buffers of group {COPY}")
        with link.rx.ns.entered():
            ifq = Ifq(ring, zctap, region, ifindex=ifindex, queue_id=QUEUE, fill_bgid=FILL)
        tell("queue", f"RX queue {QUEUE} is bound to the region: its payload lands there")
        link.steer(QUEUE)
        tell("steering", f"what the peer sends goes to queue {QUEUE}: here by tc, else a flow rule")
        tell("split", "headers go into kernel memory, payload into the region: by veth, or a card")
        sizes = [100 * number for number in range(1, options.dump + 1)]
        # What is on its way has to fit the region: frames that find no page are dropped.
        with (
            listening(link.rx, options.family, region.size // 4) as listener,
            Streamer(link, options.family, sizes, options.bytes) as peer,
        ):
            peer.connect(listener.getsockname()[1])
            with listener.accept()[0] as sock:
                tell("stream", f"{size_of(options.bytes)} over IPv{options.family}")
                receiver = Receiver(ring, zctap, sock, region=region, copy=copy, fill=fill)
                watch = stream(link, receiver, ifq, peer, options.dump)
            theirs, ours = peer.checksum(), f"{watch.checksum:08x}"
        share = watch.came[True] / max(sum(watch.came.values()), 1)
        tell("share", f"{share:.2%} of the bytes without a copy")
        tell("checksum", f"sent {theirs}, received {ours}" + ("" if theirs == ours else ": WRONG"))
        account(ifq, region, fill, link)
    return 0 if theirs == ours else 1


def main(arguments: list[str]) -> int:
    """Run; 0 if every byte arrived, 1 if not, 2 if it cannot run here."""
    parser = argparse.ArgumentParser(prog="demo", description="receive without copying")
    parser.add_argument("--bytes", type=int, default=32 << 20, help="length of the stream")
    parser.add_argument("--dump", type=int, default=0, help="frames to show one by one first")
    parser.add_argument("--pages", type=int, default=512, help="of the region")
    parser.add_argument("--family", type=int, choices=(4, 6), default=4, help="IP version")
    options = parser.parse_args(arguments)
    # The frames that are shown are the first of the stream, and there is something behind them.
    options.bytes = max(options.bytes, 50 * options.dump * (options.dump + 1) + 1)
    try:
        return receive(options)
    except (NoZctap, Unsupported, PermissionError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
