# SPDX-License-Identifier: MIT
"""What a guest sees of its disks' settings: write caches, block sizes, limits."""
import time

from disks import MIB, answer, end, fio, host_fs, new_file, shell
from harness import case

CACHES = "for d in {}; do cat /sys/block/vd$d/cache_type /sys/block/vd$d/queue/write_cache; done"


@case
def disk_write_cache(t):
    """The write cache as each cache mode shows it, switched by the guest, and as it was for the next driver."""
    modes = ("writeback", "none", "writethrough", "directsync", "unsafe")
    directory = host_fs(t, "fs", 100 * MIB)
    options = []  # vda is the disk of -device: such are put on the bus before those of if=virtio
    for mode in modes:
        options += ["-drive", f"file={new_file(f'{directory}/{mode}.raw', 16 * MIB)},format=raw,if=virtio,cache={mode}"]
    options += ["-drive", f"file={t.write('f.raw', b'', 16 * MIB)},format=raw,if=none,id=f",
                "-device", "virtio-blk-pci,drive=f,config-wce=off,logical_block_size=4096,physical_block_size=16384"]
    guest = shell(t, *options, tools=True)
    back, through = "write back write back", "write through write through"
    t.equal("caches", answer(guest, CACHES.format("b c d e f")), " ".join((back, back, through, through, back)))
    guest.send("for d in b c d e f; do echo 'write through' >/sys/block/vd$d/cache_type; done\n")
    t.equal("caches, off", answer(guest, CACHES.format("b c d e f")), " ".join([through] * 5))
    write = "--rw=randwrite --verify=crc32c --direct=1 --bssplit=512/30:4k/40:32k/30 --size=512k --ioengine=libaio --iodepth=8"
    fio(t, guest, write, {f"off-{d}": f"--filename=/dev/vd{d}" for d in "bcdef"}, 60)
    guest.send("for d in b c d e f; do echo 'write back' >/sys/block/vd$d/cache_type; done\n")
    t.equal("caches, on", answer(guest, CACHES.format("b c d e f")), " ".join([back] * 5))
    fio(t, guest, f"{write} --fsync=4", {f"on-{d}": f"--filename=/dev/vd{d}" for d in "bcdef"}, 60)
    guest.send("cd /modules/$(uname -r); rmmod virtio_blk; insmod virtio_blk.ko; cd /\n")
    t.equal("caches of the next driver", answer(guest, CACHES.format("b c d e f")), " ".join((back, back, through, through, back)))
    t.equal("a cache without a switch", answer(guest, "cat /sys/block/vda/cache_type; echo 'write through' >/sys/block/vda/cache_type; "
                                               "cat /sys/block/vda/cache_type"), "write back write back")
    t.equal("block sizes", answer(guest, "cd /sys/block/vda/queue; cat logical_block_size physical_block_size minimum_io_size max_segments"),
            "4096 16384 16384 254")
    t.equal("a file system of large blocks", answer(guest, "mkfs.ext4 -q /dev/vda; mkdir /mnt; mount -t ext4 /dev/vda /mnt && cp /tools/fio /mnt && "
                                                    "umount /mnt && e2fsck -fn /dev/vda >/dev/null 2>&1; echo $?"), "0")
    end(guest)
    t.equal("messages", guest.stderr(), "")


@case
def disk_limited(t):
    """Limits hold for a guest, to a factor that this machine's business allows; a disk beside is not held up."""
    options = []
    for name, more in (("bps", "throttling.bps-total=1048576"), ("iops", "throttling.iops-write=50"), ("free", "file.locking=auto")):
        path = t.write(f"{name}.raw", b"", 16 * MIB)
        options += ["-drive", f"file={path},format=raw,if=virtio,{more}"]
    guest = shell(t, *options)
    guest.send("t() { s=$(cut -d. -f1 /proc/uptime); \"$@\" 2>/dev/null; e=$(cut -d. -f1 /proc/uptime); echo $((e - s)); }\n")
    start = time.monotonic()
    took = int(answer(guest, "t dd if=/dev/zero of=/dev/vda bs=64k count=80 oflag=direct"))  # 5 MiB at 1 MiB/s
    t.check(3 <= took <= 60 and time.monotonic() - start >= 3, f"5 MiB at 1 MiB/s take {took} s")
    took = int(answer(guest, "t dd if=/dev/zero of=/dev/vdb bs=4k count=250 oflag=direct"))  # at 50/s
    t.check(3 <= took <= 60, f"250 writes at 50/s take {took} s")
    # A busy machine has several tries, a limit fails them all.
    t.equal("reads are free", answer(guest, "for i in $(seq 10); do t dd if=/dev/vdb of=/dev/null bs=4k count=250 iflag=direct >/tmp/t; "
                                     "[ $(cat /tmp/t) -gt 2 ] || break; done; [ $(cat /tmp/t) -le 2 ]; echo $?"), "0")
    t.equal("a disk beside", answer(guest, "for i in $(seq 10); do dd if=/dev/zero of=/dev/vda bs=64k count=30 oflag=direct 2>/dev/null & "
                                    "t dd if=/dev/zero of=/dev/vdc bs=64k count=32 oflag=direct >/tmp/t; wait; [ $(cat /tmp/t) -gt 2 ] || break; "
                                    "done; [ $(cat /tmp/t) -le 2 ]; echo $?"), "0")
    end(guest)
