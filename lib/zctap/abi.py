# SPDX-License-Identifier: GPL-2.0
"""zctap's own structures (docs/contract.md, "Numbers and layouts"), asserted at import."""

import ctypes
import struct

from lib.uring.abi import check_layout


class IfqReq(ctypes.Structure):
    """struct io_uring_ifq_req, the argument of REGISTER_IFQ and UNREGISTER_IFQ."""

    _fields_ = [
        ("ifindex", ctypes.c_uint32),
        ("queue_id", ctypes.c_uint16),
        ("ifq_id", ctypes.c_uint16),
        ("fill_bgid", ctypes.c_uint16),
        ("region_id", ctypes.c_uint16),
        ("pad", ctypes.c_uint16 * 2),
    ]


class ZctapIov(ctypes.Structure):
    """struct io_uring_zctap_iov: where a piece of payload lies."""

    _fields_ = [
        ("off", ctypes.c_uint32),
        ("len", ctypes.c_uint32),
        ("bgid", ctypes.c_uint16),
        ("bid", ctypes.c_uint16),
        ("resv", ctypes.c_uint16 * 2),
    ]


IOV = struct.Struct("<IIHHHH")  # the same, for arrays of them
IOV_SIZE = 16

check_layout(IfqReq, 16, ifindex=0, queue_id=4, ifq_id=6, fill_bgid=8, region_id=10, pad=12)
check_layout(ZctapIov, IOV_SIZE, off=0, len=4, bgid=8, bid=10, resv=12)
if IOV.size != IOV_SIZE:
    raise AssertionError(f"iov of {IOV.size} bytes")


def addr3(readlen: int, copy_bgid: int, ifq_id: int = 0) -> int:
    """RECV_ZC's sqe->addr3."""
    return readlen << 32 | copy_bgid << 16 | ifq_id
