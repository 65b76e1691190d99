# SPDX-License-Identifier: MIT
"""A host's disk that fails, under the guest's disk."""
from disks import MIB, answer, end, loop_device, md5, new_file, shell
from harness import Skip, case

SECTORS = 32 * MIB // 512


class Mapped:
    """A device-mapper device over a loop device. tables() changes what is behind it, under whoever uses it."""

    def __init__(self, t, name):
        self.t, self.name = t, name
        self.file = new_file(t.path(f"{name}.raw"), 32 * MIB)
        self.loop = loop_device(t, self.file)
        self.path = f"/dev/mapper/{name}"
        try:
            self.dmsetup("create", name, "--table", f"0 {SECTORS} linear {self.loop} 0", undo=("dmsetup", "remove", "--force", name))
        except Exception as fault:
            raise Skip("no device mapper here") from fault

    def dmsetup(self, *words, undo=()):
        """Without udev, which the lab has not."""
        self.t.host("env", "DM_DISABLE_UDEV=1", "dmsetup", *words, undo=("env", "DM_DISABLE_UDEV=1", *undo) if undo else ())

    def bad(self, first, count):
        """From now on `count` sectors from `first` fail. None: all is good again."""
        rest = first + count
        rows = [f"0 {first} linear {self.loop} 0", f"{first} {count} error", f"{rest} {SECTORS - rest} linear {self.loop} {rest}"]
        self.dmsetup("suspend", self.name)
        self.dmsetup("reload", self.name, "--table", "\n".join(row for row in rows if row.split()[1] != "0"))
        self.dmsetup("resume", self.name)

    def hang(self, hangs):
        """Whether all requests wait."""
        self.dmsetup("suspend" if hangs else "resume", self.name)


def cut_off(t, guest, disk, path):
    """A file that somebody cuts off under the guest reads as zeroes, and grows again when written."""
    with open(path, "r+b") as file:
        file.write(b"x" * MIB)
        file.truncate(1000)
    t.equal("the cut", answer(guest, f"dd if=/dev/{disk} bs=512 skip=1 count=1 2>/dev/null | tr '\\000' 0 | cut -c 486-490; "
                              f"dd if=/dev/{disk} bs=1M 2>/dev/null | wc -c"), f"xxx00 {8 * MIB}")
    t.equal("a write", answer(guest, f"echo again | dd of=/dev/{disk} bs=512 seek=8192 conv=sync,fsync 2>/dev/null; echo $?"), "0")
    with open(path, "rb") as file:
        file.seek(4 * MIB)
        t.equal("the file", file.read(512).rstrip(b"\0"), b"again\n")


@case
def disk_host_errors(t):
    """Bad sectors of the host are I/O errors of just those sectors, also when they come and go while the guest works."""
    cut = t.write("cut.raw", b"", 8 * MIB)
    direct, cached = Mapped(t, "kite-direct"), Mapped(t, "kite-cached")
    guest = shell(t, "-drive", f"file={direct.path},format=raw,if=virtio,cache=none",
                  "-drive", f"file={cached.path},format=raw,if=virtio,cache=directsync,aio=threads",
                  "-drive", f"file={cut},format=raw,if=virtio", tools=True)
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=8 2>/dev/null\n")
    for name, other, disk in (("a", "b", direct), ("b", "a", cached)):
        copy = f"dd if=/tmp/f of=/dev/vd{name} bs=64k oflag=direct >/tmp/dd 2>&1; echo $?"
        t.equal("a good write", answer(guest, copy), "0")
        disk.bad(8192, 8)  # 4 KiB at 4 MiB
        t.equal("bad sectors written", answer(guest, copy), "1")
        t.equal("bad sectors read", answer(guest, "echo 3 >/proc/sys/vm/drop_caches; "
                                           f"dd if=/dev/vd{name} iflag=direct of=/dev/null bs=4k skip=1024 count=1 2>/dev/null; echo $?"), "1")
        t.equal("those around them", answer(guest, f"for at in 1023 1025; do dd if=/dev/vd{name} iflag=direct bs=4k skip=$at count=1 2>/dev/null | "
                                            "md5sum | cut -c1-32; done"),
                " ".join(md5(disk.file, 4096, at * 4096) for at in (1023, 1025)))
        disk.bad(0, 0)
        t.equal("good again", answer(guest, copy), "0")
        t.equal("the data", md5(disk.file, 8 * MIB), answer(guest, "md5sum </tmp/f")[:32])
        disk.hang(True)
        guest.send(f"dd if=/tmp/f of=/dev/vd{name} bs=1M seek=8 oflag=direct 2>/dev/null && : >/tmp/{name} & echo wri''ting\n")
        guest.expect(rb"writing")
        t.equal("a guest whose host hangs", answer(guest, f"sleep 1; dd if=/dev/vd{other} of=/dev/null iflag=direct bs=4k count=1 "
                                                   f"2>/dev/null; echo $?; ls /tmp/{name} 2>/dev/null"), "0")
        disk.hang(False)
        t.equal("the host goes on", answer(guest, f"while [ ! -e /tmp/{name} ]; do sleep 0.1; done; dd if=/dev/vd{name} bs=1M skip=8 count=8 "
                                           "iflag=direct 2>/dev/null | cmp - /tmp/f; echo $?"), "0")
    t.equal("a file system over a disk that dies", answer(guest, "mkfs.ext4 -q /dev/vda; mkdir /mnt; mount -t ext4 -o errors=continue /dev/vda /mnt "
                                                          "&& cp /tools/fio /mnt && sync; echo $?"), "0")
    direct.bad(0, SECTORS)
    t.equal("its fsync", answer(guest, "dd if=/tmp/f of=/mnt/g conv=fsync 2>/dev/null; echo $?; umount -l /mnt"), "1")
    direct.bad(0, 0)
    t.equal("and lives again", answer(guest, "mkfs.ext4 -qF /dev/vdb; mkdir /m2; mount -t ext4 /dev/vdb /m2 && cp /tmp/f /m2 && umount /m2 && "
                                      "e2fsck -fn /dev/vdb >/dev/null; echo $?"), "0")
    cut_off(t, guest, "vdc", cut)
    end(guest)
    t.check("Input/output error" in guest.stderr(), f"it says {guest.stderr()!r}")
