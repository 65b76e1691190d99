# SPDX-License-Identifier: MIT
"""Space on the host: given back by discards, not there, and there again."""
import os

from disks import MIB, answer, blocks, end, fio, host_fs, md5, new_file, shell
from harness import case

FILL = "dd if=/dev/urandom of={} bs=1M count={} conv=fsync 2>/dev/null"


@case
def disk_discard(t):
    """Discards give the host its space back where discard=unmap says so, through fstrim and blkdiscard, and elsewhere nothing."""
    directory = host_fs(t, "fs", 160 * MIB)  # knows holes and ranges of zeroes; tmpfs holes only
    trim, unmap, ignore = (new_file(f"{directory}/{name}.raw", 32 * MIB) for name in ("trim", "unmap", "ignore"))
    held = t.write("tmpfs.raw", b"", 32 * MIB)
    guest = shell(t, *(word for path, more in ((trim, "cache=none,discard=unmap"), (unmap, "discard=unmap"), (ignore, "discard=ignore"),
                                               (held, "discard=unmap,aio=threads"))
                       for word in ("-drive", f"file={path},format=raw,if=virtio,{more}")), tools=True)
    guest.send("for d in b c d; do " + FILL.format("/dev/vd$d", 32) + "; done; mkfs.ext4 -q -E nodiscard /dev/vda; mkdir /mnt; "
               "mount -t ext4 /dev/vda /mnt; " + FILL.format("/mnt/f", 20) + "; echo keep >/mnt/keep; sync; echo fi''lled\n")
    guest.expect(rb"filled")
    before = {path: blocks(path) for path in (trim, unmap, ignore, held)}
    t.check(all(before[path] >= 20 * MIB for path in before), f"what the disks take: {before}")

    t.equal("fstrim", answer(guest, "rm /mnt/f; sync; /tools/fstrim /mnt; echo $?"), "0")
    t.check(blocks(trim) <= before[trim] - 19 * MIB, f"after fstrim {blocks(trim)} bytes are there, of {before[trim]}")
    t.equal("a file beside", answer(guest, "echo 3 >/proc/sys/vm/drop_caches; cat /mnt/keep; umount /mnt && e2fsck -fn /dev/vda >/dev/null; "
                                    "echo $?"), "keep 0")
    t.equal("who is told of it", answer(guest, "for d in a b c d; do [ $(cat /sys/block/vd$d/queue/discard_max_bytes) = 0 ]; echo $?; done"), "1 1 0 1")
    t.equal("blkdiscard", answer(guest, "for d in b c d; do /tools/blkdiscard -o 8388608 -l 16777216 /dev/vd$d 2>/dev/null; echo $?; done"), "0 1 0")
    t.equal("unmap on ext4, ignore, unmap on tmpfs", [before[path] - blocks(path) for path in (unmap, ignore, held)], [16 * MIB, 0, 16 * MIB])

    zeroes = md5(new_file(t.path("zeroes"), 4 * MIB), 4 * MIB)
    for name, path in (("b", unmap), ("c", ignore), ("d", held)):
        around = md5(path, 4 * MIB), md5(path, 2 * MIB, 6 * MIB)
        t.equal(f"write zeroes to {name}", answer(guest, f"/tools/blkdiscard -z -o 4194304 -l 1048576 /dev/vd{name} && /tools/fallocate -z -o 5242880 -l 524288 "
                                                  f"/dev/vd{name} && /tools/fallocate -p -o 5767168 -l 524288 /dev/vd{name}; echo $?"), "0")
        t.equal("the zeroes", md5(path, 2 * MIB, 4 * MIB), md5(t.path("zeroes"), 2 * MIB))
        t.equal("what is around them", (md5(path, 4 * MIB), md5(path, 2 * MIB, 6 * MIB)), around)
    t.equal("discarded space", md5(held, 4 * MIB, 8 * MIB), zeroes)
    fio(t, guest, "--rw=randtrimwrite --direct=1 --bs=16k --size=8m --ioengine=libaio --iodepth=16 --filename=/dev/vdb",
        {"trimwrite": ""}, 60)
    end(guest)
    t.equal("messages", guest.stderr(), "")


@case
def disk_no_space(t):
    """A full host is an I/O error in the guest, which goes on; once there is space its writes work again."""
    full = host_fs(t, "fs", 48 * MIB)
    os.mkdir(t.path("tmpfs"))
    t.host("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", t.path("tmpfs"), undo=("umount", "-l", t.path("tmpfs")))
    places = (full, t.path("tmpfs"))
    options = []
    for directory, cache in zip(places, ("none", "writeback")):
        path = new_file(f"{directory}/d.raw", 64 * MIB)
        options += ["-drive", f"file={path},format=raw,if=virtio,cache={cache}"]
    guest = shell(t, *options, tools=True)
    for disk, directory in zip("ab", places):
        with open(f"{directory}/ballast", "wb") as ballast:
            ballast.write(bytes(8 * MIB))
        t.equal(f"writing vd{disk} on a full host", answer(guest, f"dd if=/dev/urandom of=/dev/vd{disk} bs=64k oflag=direct >/tmp/dd 2>&1; "
                                                           "echo $?; grep -c 'error\\|No space' /tmp/dd"), "1 1")
        t.equal("the guest's reads", answer(guest, f"dd if=/dev/vd{disk} of=/dev/null bs=64k 2>&1 | sed 1q"), "1024+0 records in")
        os.unlink(f"{directory}/ballast")
        t.equal("writing with space again", answer(guest, f"dd if=/dev/urandom of=/tmp/f bs=1M count=4 2>/dev/null; dd if=/tmp/f of=/dev/vd{disk} "
                                                   "bs=64k seek=960 oflag=direct 2>/dev/null; echo $?"), "0")
        t.equal("the data", answer(guest, "md5sum </tmp/f")[:32], md5(f"{directory}/d.raw", 4 * MIB, 60 * MIB))
    end(guest)
    t.check("No space left on device" in guest.stderr(), f"it says {guest.stderr()!r}")
    t.check(guest.stderr().count("\n") < 20, "it floods its messages")
