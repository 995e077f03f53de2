# SPDX-License-Identifier: GPL-2.0
"""The virtual machine: what QEMU is told, and how much patience it takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PORT_NAME = "org.zctap.agent"

# A panic, an oops or a lock-up ends the guest at once, on pvpanic and with an exit status
# of its own. No KASLR: addresses in two logs of one kernel compare. No tunnels in every new
# namespace, and no bond: tests make those they need.
_APPEND = (
    "console=ttyS0 root=/dev/vda ro rootfstype=ext4 panic=-1 oops=panic softlockup_panic=1"
    " nokaslr mitigations=off random.trust_cpu=on fb_tunnels=none bonding.max_bonds=0"
    " init=/usr/bin/python3 {extra} -- -I -B /dev/vdb"
)
# Linux takes the time-stamp counters of an AMD machine without "constant TSC", which is what TCG
# shows, for unsynchronised (arch/x86/kernel/tsc.c), and reads the HPET instead: a trip to the
# emulator and its one lock for each look at the clock. QEMU's are one counter.
_ONE_TSC = " tsc=reliable"
# Of a card's driver. With MSI-X the guest hears of no change of an emulated e1000e's link: the
# count of that interrupt stays at 1 (QEMU 7.2, Linux 6.1). So: no MSI-X.
_DRIVER = {"e1000e": " e1000e.IntMode=1"}
# Where memory can be made to fail, heads of skbs alone can, too. A cache is chosen at boot: its
# file `failslab` is read-only (mm/slub.c).
_FAILSLAB = " slub_debug=A,skbuff_head_cache"
# KASAN is not for mutants, which come by the hundred: their objects are filled with poison instead.
_POISON = f"{_FAILSLAB};FZP,kmalloc-cg-*;FZP,kmalloc-1k"
_PROFILE = {"plain": "", "cover": _FAILSLAB, "debug": _FAILSLAB, "mutants": _POISON}
_MOST_GUESTS = 8
_MEMORY = {"plain": 1024, "cover": 1024, "debug": 2048, "mutants": 1024}  # MiB
# How much longer things take than on a plain kernel.
_SLOWNESS = {"debug": 5, "mutants": 2}


@dataclass(frozen=True)
class Machine:
    """A machine that can be started any number of times."""

    kernel: Path
    root: Path  # of image.image(): ext4, read-only, shared by all guests
    accel: str  # kvm or tcg
    profile: str = "plain"
    cpus: int = 2
    extra: str = ""  # more for the kernel's command line
    nic: str = ""  # a network card, as QEMU calls the device; joined to another machine's
    mac: str = ""  # its address
    # Of a modular kernel, see lib/vm/modular.py.
    initrd: Path | None = None
    modules: Path | None = None

    @property
    def memory(self) -> int:
        """MiB."""
        return _MEMORY[self.profile]

    @property
    def patience(self) -> float:
        """Return by how much longer things take here than on a good machine with KVM."""
        return (1 if self.accel == "kvm" else 5) * _SLOWNESS.get(self.profile, 1)

    @property
    def boot_deadline(self) -> float:
        """Seconds from QEMU's start to the agent's first word."""
        return 12 * self.patience

    @property
    def first_word_deadline(self) -> float:
        """Seconds from QEMU's start until the console must not be empty any more."""
        return 3 * self.patience

    @property
    def warm_deadline(self) -> float:
        """Seconds for the agent's imports."""
        return 15 * self.patience

    @property
    def answer_deadline(self) -> float:
        """Seconds for a restore, and for an answer to a small request."""
        return 5 * self.patience

    @property
    def test_deadline(self) -> float:
        """Seconds for one test, from its start to its result."""
        return 20 * self.patience

    @property
    def longest_wait(self) -> float:
        """Seconds for a single wait of a test, which then fails before it is past its deadline."""
        return 0.6 * self.test_deadline

    def arguments(self, agent: Path) -> list[str]:
        """Return QEMU's arguments but for the channels; `agent` is the disk with the agent.

        They are part of a snapshot's key: what is saved on one machine does not load on
        another.
        """
        cpu = "host,migratable=on" if self.accel == "kvm" else "max"
        extra = self.extra + _PROFILE[self.profile] + (_ONE_TSC if self.accel == "tcg" else "")
        extra += _DRIVER.get(self.nic, "")
        words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        # Not pc: KASAN makes ACPI's set-up of its interrupt links take 20 s each under TCG.
        words += ["-machine", "q35", "-accel", self.accel, "-cpu", cpu]
        words += ["-smp", str(self.cpus), "-m", f"{self.memory}M"]
        words += ["-kernel", str(self.kernel), "-append", _APPEND.format(extra=extra)]
        if self.initrd:
            words += ["-initrd", str(self.initrd)]
        # In this order they become vda, vdb, vdc.
        for name, path in (("root", self.root), ("agent", agent), ("modules", self.modules)):
            if not path:
                continue
            file = f"file={escaped(path)}"
            words += ["-drive", f"id={name},{file},format=raw,if=none,readonly=on"]
            words += ["-device", f"virtio-blk-pci,drive={name}"]
        words += ["-device", "virtio-rng-pci"]
        if self.nic:
            # Nobody boots from it, and its ROM is in a package that may not be there.
            # In a slot of its own: q35 lets nobody take out what is on the root bus.
            words += ["-device", "pcie-root-port,id=cage,chassis=1"]
            words += ["-device", f"{self.nic},id=nic,bus=cage,netdev=card,mac={self.mac},romfile="]
        words += ["-device", "pvpanic-pci", "-action", "panic=exit-failure"]
        return words


def escaped(path: Path) -> str:
    """Return a path as it can be the value of one of QEMU's options."""
    return str(path).replace(",", ",,")


def agent_disk(where: Path) -> Path:
    """Write the agent's source to a file that QEMU can use as a disk; return the file.

    Padded with empty lines to whole sectors, which is why Python can run the disk itself.
    """
    text = (Path(__file__).parent / "agent.py").read_bytes()
    path = where / "agent.py"
    path.write_bytes(text + b"\n" * (-len(text) % 512))
    return path


def cpus() -> int:
    """Return how many processors a guest gets: races need two, no test needs more."""
    return max(2, min(4, os.cpu_count() or 2))


def processor() -> str:
    """Return the model of this machine's processors."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line for line in lines if line.startswith("model name")), "")


def room_for(machine: Machine) -> int:
    """Return how many such guests to run at once: each keeps one processor busy."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return max(1, min(os.cpu_count() or 1, _MOST_GUESTS, available // 1024 // machine.memory))
