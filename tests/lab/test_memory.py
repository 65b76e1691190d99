# SPDX-License-Identifier: MIT
"""The guest finds the memory it was given, on both sides of the PCI hole; what Kite itself takes."""
from harness import BOOT, case
from test_blockdev import loop, unloop
from disks import MIB, end, shell


def sees(t, mib, size=None):
    """MemTotal is what was given less what a kernel takes for itself: its image, a 64th for page structures, some for ACPI."""
    guest = t.guest(do="poweroff", facts=True, memory=size or mib, kernel=f"{t.cloud}/vmlinux")
    got = int(guest.facts()["memory"]) / 1024
    guest.ended(0)
    t.check(mib * 61 / 64 - 48 <= got <= mib, f"the guest sees {got:.0f} MiB of {mib}")


@case
def memory_128(t):
    sees(t, 128)


@case
def memory_3g(t):
    sees(t, 3072)


@case
def memory_5g(t):
    sees(t, 5120, "5G")


def beyond_guest(guest, sizes):
    """Resident KiB of all but the mappings that have one of `sizes`, the guest's memory."""
    total = size = 0
    with open(f"/proc/{guest.pid}/smaps", encoding="ascii") as file:
        for line in file:
            if line.startswith("Size:"):
                size = int(line.split()[1])
            elif line.startswith("Rss:") and size not in sizes:
                total += int(line.split()[1])
    return total


@case
def memory_disk(t):
    """With a disk under load, O_DIRECT in aligned requests and odd ones, less than 4 MiB beyond what is the guest's."""
    device = loop("-b", "4096", t.write("a.raw", b"", 64 * MIB))
    guest = shell(t, "-drive", f"file={device},format=raw,if=virtio,cache=none")
    guest.send("for i in 1 2 3 4; do dd if=/dev/zero of=/dev/vda bs=1M count=16 seek=$((i * 12)) conv=fsync 2>/dev/null & done; wait; "
               "for i in 1 2 3 4; do dd if=/dev/vda of=/dev/null bs=20k skip=$i iflag=direct 2>/dev/null & done; wait; echo do''ne\n")
    guest.expect(rb"done", BOOT)
    kib = beyond_guest(guest, {640, 256 * 1024 - 768})
    print(f"memory_disk: {kib} KiB beyond the guest's", flush=True)
    t.check(0 < kib < 4096, f"{kib} KiB are resident beyond the guest's memory")
    end(guest)
    unloop(device)
