# SPDX-License-Identifier: MIT
"""Many disks, and where they are on the bus."""
import re

from disks import MIB, answer, end, shell
from harness import case


@case
def disk_sixteen(t):
    """Sixteen disks with as many threads, sizes and contents: each is where it was put, and has what is its own."""
    options, slots = [], []
    for n in range(16):
        disk = t.write(f"{n}.raw", f"disk {n}\n".encode(), (n + 1) * MIB)
        slot = f"{0x10 + n // 8:x}.{n % 8:x}"  # two slots, full
        slots.append(f"0000:00:{slot}")
        options += ["-object", f"iothread,id=io{n}", "-drive", f"file={disk},format=raw,if=none,id=d{n}",
                    "-device", f"virtio-blk-pci,drive=d{n},addr=0x{slot},multifunction={'on' if n % 8 == 0 else 'off'},iothread=io{n},serial=S{n}"]
    guest = shell(t, *options, tools=True)
    t.equal("what is where", answer(guest, "for p in /sys/bus/pci/devices/0000:00:1[01].*; do s=$(cat $p/virtio*/block/*/serial); "
                                    "n=$(basename $p/virtio*/block/*); echo $(basename $p) $s $(cat /sys/block/$n/size) $(head -n 1 /dev/$n); done"),
            " ".join(f"{slot} S{n} {(n + 1) * MIB // 512} disk {n}" for n, slot in enumerate(slots)))
    guest.send("for p in /sys/bus/pci/devices/0000:00:1[01].*; do (n=$(basename $p/virtio*/block/*); s=$(cat $p/virtio*/block/*/serial); "
               "for i in 1 2 3 4; do echo \"$s in $n, time $i\" | dd of=/dev/$n bs=4096 seek=$i conv=sync,fsync 2>/dev/null; done) & done; "
               "wait; echo wr''itten\n")
    guest.expect(rb"written")
    t.equal("interrupts of their own", answer(guest, "grep -c 'virtio[0-9]*-req.0' /proc/interrupts"), "16")
    names = answer(guest, "for p in /sys/bus/pci/devices/0000:00:1[01].*; do basename $p/virtio*/block/*; done").split()
    end(guest)
    for n, name in enumerate(names):
        with open(t.path(f"{n}.raw"), "rb") as file:
            got = [file.read(4096).rstrip(b"\0").decode() for _ in range(5)]
        t.equal(f"disk {n}", got, [f"disk {n}\n", *(f"S{n} in {name}, time {i}\n" for i in range(1, 5))])


@case
def disk_interfaces(t):
    """The legacy interface, the modern one, and both, with the drivers of Debian's both kernels: lspci finds nothing odd, and they carry data."""
    disks = [t.write(f"{n}.raw", f"disk {n}\n".encode(), 16 * MIB) for n in range(3)]
    options = []
    for n, (disk, more) in enumerate(zip(disks, ("disable-modern=on", "disable-legacy=on", "disable-legacy=off"))):
        options += ["-drive", f"file={disk},format=raw,if=none,id=d{n}", "-device", f"virtio-blk-pci,drive=d{n},addr={n + 5}.0,{more}"]
    for kernel in (t.generic, t.cloud):
        guest = shell(t, *options, tools=True, kernel=f"{kernel}/vmlinux", memory=384)
        t.equal("IDs", answer(guest, "for n in 5 6 7; do lspci -n -s $n.0 | cut -d' ' -f3-; done"),
                "1af4:1001 1af4:1042 (rev 01) 1af4:1001")
        guest.send("lspci -vv 2>/dev/null; echo li''sted\n")
        listing = guest.expect(rb"(?s)00:05\.0(.*)listed", 60)[1].decode()
        t.equal("disks with MSI-X", listing.count("MSI-X: Enable+"), 3)
        odd = re.search(r".*(!!!|\[disabled\]|\[virtual\]|unassigned|ignored|access denied|Abort\+|[SP]ERR\+).*", listing)
        t.check(not odd, f"lspci shows {odd and odd[0]!r}")
        t.equal("VERSION_1", answer(guest, "for n in 5 6 7; do cut -c 33 /sys/bus/pci/devices/0000:00:0$n.0/virtio*/features; done"), "0 1 1")
        t.equal("what is read", answer(guest, "head -qn 1 /dev/vd[abc]"), "disk 0 disk 1 disk 2")
        check_file_systems(t, guest)
        end(guest)
        for n, disk in enumerate(disks):  # for the next kernel
            with open(disk, "r+b") as file:
                file.write(f"disk {n}\n".encode().ljust(4096, b"\0"))


def check_file_systems(t, guest):
    """A file system on each disk, all used at once.."""
    t.equal("made", answer(guest, "for d in a b c; do mkdir -p /$d; mkfs.ext4 -qF /dev/vd$d && mount -t ext4 /dev/vd$d /$d; done; echo $?", 90), "0")
    t.equal("used", answer(guest, "for d in a b c; do cp /tools/fio /$d/x & done; wait; for d in a b c; do umount /$d; mount -t ext4 /dev/vd$d /$d; done; "
                           "md5sum /tools/fio /[abc]/x | cut -c1-32 | sort -u | wc -l"), "1")
    t.equal("clean", answer(guest, "for d in a b c; do umount /$d && e2fsck -fn /dev/vd$d >/dev/null 2>&1; echo $?; done", 90), "0 0 0")
