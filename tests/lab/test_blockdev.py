# SPDX-License-Identifier: MIT
"""Block devices of the host as disks: loop devices with sectors of 512 bytes and 4 KiB, read-only ones; and who holds a file."""
import os
import re
import subprocess

from harness import STEP, case
from disks import MIB, answer, end, md5, shell


def loop(*options):
    """A loop device."""
    made = subprocess.run(["losetup", "--show", "-f", *options], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


def unloop(device):
    subprocess.run(["losetup", "-d", device], check=True)


def loop_disk(t, sector, cache):
    """Data, size, discard and its holes. The guest may always write 512 bytes, and is told what the device likes."""
    file = t.write("file", b"", 32 * MIB)
    device = loop("-b", str(sector), file)
    try:
        guest = shell(t, "-drive", f"file={device},format=raw,if=virtio,cache={cache},discard=unmap")
        t.equal("size and sectors", answer(guest, "cd /sys/block/vda; cat size queue/logical_block_size queue/physical_block_size; cd /"),
                f"{32 * MIB // 512} 512 {sector}")
        guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=8 2>/dev/null; dd if=/tmp/f of=/dev/vda bs=256k conv=fsync 2>/dev/null\n")
        written = answer(guest, "md5sum </tmp/f")[:32]
        t.equal("the file on the host", md5(file, 8 * MIB), written)
        guest.send("echo 3 >/proc/sys/vm/drop_caches\n")
        t.equal("read back", answer(guest, "dd if=/dev/vda bs=20k 2>/dev/null | head -c 8388608 | md5sum")[:32], written)
        guest.send("printf kite >/tmp/s; dd if=/tmp/s of=/dev/vda bs=512 seek=3 conv=sync,notrunc,fsync oflag=direct 2>/dev/null\n")
        t.equal("a sector of 512 bytes", answer(guest, "dd if=/dev/vda bs=512 skip=3 count=1 iflag=direct 2>/dev/null | head -c 4"), "kite")
        t.equal("discard's status", answer(guest, "blkdiscard -o 4194304 -l 4194304 /dev/vda; echo $?"), "0")
        t.check(os.stat(file).st_blocks * 512 <= 5 * MIB, f"the discarded half still takes {os.stat(file).st_blocks * 512} bytes")
        t.equal("what was not discarded", answer(guest, "dd if=/dev/vda bs=1M count=4 2>/dev/null | md5sum")[:32], md5(file, 4 * MIB))
        end(guest)
    finally:
        unloop(device)


@case
def blockdev_sectors(t):
    """Sectors of 4 KiB, through O_DIRECT."""
    loop_disk(t, 4096, "none")


@case
def blockdev_cached(t):
    """Sectors of 512 bytes, through the page cache."""
    loop_disk(t, 512, "writeback")


@case
def blockdev_read_only(t):
    """A read-only device is refused for writing, in a line that says what to do, and works with readonly=on."""
    device = loop("-r", t.write("file", b"kite" * 128, MIB))
    try:
        guest = t.run(*t.linux(), "-nodefaults", "-drive", f"file={device},format=raw")
        guest.ended(1)
        t.check(guest.stderr().count("\n") == 1 and re.search(r"read-?only", guest.stderr()), f"it says {guest.stderr()!r}")
        for option in ("readonly=on", "auto-read-only=on"):
            guest = shell(t, "-drive", f"file={device},format=raw,if=virtio,{option}")
            t.equal("what the guest is told", answer(guest, "cat /sys/block/vda/ro; head -c 4 /dev/vda"), "1 kite")
            end(guest)
    finally:
        unloop(device)


@case
def blockdev_locked(t):
    """A second Kite is told who has the disk, file or device; readers share."""
    file = t.write("file", b"", MIB)
    device = loop(t.write("other", b"", MIB))
    try:
        guest = shell(t, "-drive", f"file={file},format=raw,if=virtio", "-drive", f"file={device},format=raw,if=virtio")
        for disk in (file, device):
            other = t.run(*t.linux(), "-nodefaults", "-drive", f"file={disk},format=raw")
            other.ended(1)
            t.check(other.stderr().count("\n") == 1 and re.search(rf"\b{guest.pid}\b", other.stderr()), f"it says {other.stderr()!r}")
        end(guest)
        readers = [shell(t, "-drive", f"file={file},format=raw,if=virtio,readonly=on") for _ in range(2)]
        writer = t.run(*t.linux(), "-nodefaults", "-drive", f"file={file},format=raw")
        writer.ended(1, STEP)
        for reader in readers:
            end(reader)
    finally:
        unloop(device)
