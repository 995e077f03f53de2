# SPDX-License-Identifier: GPL-2.0
"""Receive a TCP stream without copying it, and say at each step what happens.

`./run_tests.py demo` runs this in a guest; as root on a kernel with zctap it also runs by itself,
`python3 -m selftests.zctap.demo --help`. It is the example of docs/lib.md: receive() sets up all
that a receiver needs, show_frames() and drain() are two ways to receive.
"""

import argparse
import os
import socket
import sys
import time

from pyroute2.netlink.exceptions import NetlinkError

from lib.sizes import size_of
from lib.softirq import Flusher
from lib.trouble import Trouble
from lib.uring import PAGE, Ring, Setup
from lib.zctap import CopyRing, Drain, FillRing, Ifq, NoZctap, Receiver, probe
from lib.zctap.rest import wait_at_rest, wait_gone
from lib.zerocopy import Region
from netns import Unsupported, packet
from netns.dial import AnyLink
from netns.named import any_link
from netns.streamer import Streamer, streamer
from netns.tcp import listening
from selftests.zctap.demo_watch import Watch, tell

QUEUE, FILL, COPY, META = 1, 10, 20, 30  # the RX queue; groups: what is given by their number


def show_frames(
    link: AnyLink, receiver: Receiver, peer: Streamer, count: int, watch: Watch
) -> None:
    """Receive frame by frame: what a packet socket saw, and what has been reported to us."""
    with packet.tap(link.rx) as tap:
        for number in range(1, count + 1):
            peer.go_on()
            chunks = receiver.receive()  # a single RECV_ZC, whose iovs are checked one by one
            ether, ip, tcp, payload = packet.next_segment(tap, receiver.sock.getsockname()[1])
            tell(
                f"frame {number}", f"{ether}+{ip}+{tcp} bytes of Ethernet, IP and TCP header, into"
            )
            tell("", f"the kernel's memory; {payload} bytes of payload:")
            for chunk in chunks:
                place = "page {} of the region" if chunk.zero_copy else "copy buffer {}"
                text = (
                    f"{len(chunk.data)} bytes in {place.format(chunk.bid)}, offset {chunk.offset}"
                )
                tell("", f"{text}: {bytes(chunk.data[:8]).hex(' ', 4)} ...")
                watch.look(number, chunk.data, chunk.zero_copy)
            receiver.give_back(chunks)  # the pages by the fill ring


def drain(receiver: Receiver, peer: Streamer, watch: Watch) -> None:
    """Receive to the end of the stream, with one request and completions by the batch.

    A completion reports up to 64 KiB, in iovs that the kernel writes into a buffer of group META.
    step() waits for some of them, hands each piece to watch.look(), and then gives back what was
    used: pages, copy buffers, and those for iovs. If they had run out it makes the request again.
    """
    peer.go_on()
    begin, before = time.monotonic(), watch.total
    stream = Drain.of(receiver, META, watch.look)
    try:
        while stream.open:
            stream.step()
            watch.tick()
    finally:  # also if it is interrupted
        watch.say("total", (watch.total - before) / (time.monotonic() - begin))


def account(ifq: Ifq, region: Region, fill: FillRing, link: AnyLink) -> None:
    """See that nothing is left behind, as far as the kernel shows it."""
    if not ifq.entry:
        tell("at rest", "unknown: this kernel has no debugfs/zctap to read it from")
        return
    with link.rx.ns.entered():  # skbs that are yet to be freed lie on any CPU
        flusher = Flusher(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    wait_at_rest(ifq.entry, region, fill, flusher.flush)
    now = ifq.entry.accounting()
    tell("at rest", f"no skb has a page; {now.driver} are posted, {now.free} free,")
    tell("", f"{now.user} in the fill ring, for when none is free")
    ifq.close()
    wait_gone(ifq.entry, flusher.flush)
    flusher.close()
    tell("released", "the queue is free again; the memory is, once the ring is closed")


def receive(link: AnyLink, options: argparse.Namespace) -> int:
    """Set everything up, receive, and account for it; the exit status."""
    zctap = probe()
    tell("kernel", f"{os.uname().release} has zctap: numbers from {zctap.source}")
    tell("device", f"{link.rx.ifname}, " + (link.copies or "which knows zctap"))
    # One thread submits and waits, and completions are made when it does: the quickest way.
    flags = Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN
    with Region(options.pages) as region, Ring(64, flags, cq_entries=256) as ring:
        region.register(ring)
        tell("region", f"{region.pages} pages of {PAGE} bytes, pinned as fixed buffer 0")
        fill, copy = FillRing(ring, FILL, region), CopyRing(ring, COPY)
        tell("rings", f"pages go back through group {FILL}, copies come in buffers of group {COPY}")
        ns, ifindex, queue = link.place(QUEUE)
        with ns.entered():  # an interface's number is looked up in the caller's namespace
            ifq = Ifq(ring, zctap, region, ifindex=ifindex, queue_id=queue, fill_bgid=FILL)
        if link.copies:
            tell("queue", "the region is bound to a veth, where nothing arrives: all is copied")
        else:
            tell("queue", f"RX queue {queue} is bound to the region: its payload lands there")
            tell(
                "steering", f"TCP goes to queue {queue}, by flow rules, or tc at a veth's other end"
            )
            tell("split", "headers go into kernel memory, payload into the region, by the device")
        sizes = [100 * number for number in range(1, options.dump + 1)]
        # What is on its way has to fit the region: frames that find no page are dropped.
        with (
            listening(link.rx, options.family, region.size // 4) as listener,
            streamer(link, options.family, sizes, sum(sizes) + options.bytes) as peer,
        ):
            peer.connect(listener.getsockname()[1])
            with listener.accept()[0] as sock:
                tell("stream", f"{size_of(options.bytes)} over IPv{options.family}")
                receiver = Receiver(ring, zctap, sock, region=region, copy=copy, fill=fill)
                watch = Watch(ifq.entry)
                show_frames(link, receiver, peer, options.dump, watch)
                drain(receiver, peer, watch)
            good = watch.verdict(peer.checksum(), link)
        account(ifq, region, fill, link)
    return 0 if good else 1


def main(arguments: list[str]) -> int:
    """Run; 0 if all is well, 1 if not, 2 if it cannot run here, 130 if it is interrupted."""
    parser = argparse.ArgumentParser(prog="demo", description="receive without copying")
    parser.add_argument("--bytes", type=int, default=32 << 20, help="length of the stream")
    # Larger segments may be sent in two frames.
    parser.add_argument("--dump", type=int, choices=range(15), default=0, help="frames to show")
    parser.add_argument("--pages", type=int, default=512, help="of the region")
    parser.add_argument("--family", type=int, choices=(4, 6), default=4, help="IP version")
    options = parser.parse_args(arguments)
    try:
        with any_link(QUEUE) as link:
            return receive(link, options)
    except (NoZctap, Unsupported, Trouble, PermissionError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError, ValueError, AssertionError, NetlinkError) as error:
        print(f"demo: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
