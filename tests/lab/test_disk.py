# SPDX-License-Identifier: MIT
"""Virtio over PCI with Linux's drivers: disks, random numbers, a channel to the host."""
import os
import signal
import socket

from disks import MIB, answer, end, md5, shell
from harness import BOOT, STEP, case


@case
def disk_data(t):
    """What the guest writes stands in the file, and comes back after its cache is dropped; a file system works; size and serial."""
    disk, other = t.write("a.raw", b"", 64 * MIB), t.write("b.raw", b"", 32 * MIB)
    guest = shell(t, "-object", "iothread,id=io0", "-drive", f"file={disk},format=raw,if=none,id=a",
                  "-device", "virtio-blk-pci,drive=a,serial=KITE-1,iothread=io0,num-queues=2",
                  "-drive", f"file={other},format=raw,if=virtio,aio=threads", "-smp", "2")
    t.equal("size and serial", answer(guest, "cat /sys/block/vda/size /sys/block/vda/serial; echo; cat /sys/block/vdb/size"),
            f"{64 * MIB // 512} KITE-1 {32 * MIB // 512}")
    t.equal("queues", answer(guest, "ls /sys/block/vda/mq | wc -l"), "2")
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=8; dd if=/tmp/f of=/dev/vda bs=256k conv=fsync\n")
    written = answer(guest, "md5sum </tmp/f")[:32]
    t.equal("the file on the host", md5(disk, 8 * MIB), written)
    guest.send("echo 3 >/proc/sys/vm/drop_caches\n")
    t.equal("read back", answer(guest, "dd if=/dev/vda bs=64k count=128 2>/dev/null | md5sum")[:32], written)
    t.equal("a file system", answer(guest, "mke2fs /dev/vdb >/dev/null 2>&1; mkdir /mnt; mount -t ext2 /dev/vdb /mnt && cp /tmp/f /mnt && "
                                    "umount /mnt && mount -t ext2 /dev/vdb /mnt && md5sum </mnt/f; umount /mnt")[:32], written)
    end(guest)


@case
def disk_read_only(t):
    """Read-only is Kite's to keep."""
    disk = t.write("a.raw", b"kite" * 128, MIB)
    before = md5(disk, MIB)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=virtio,readonly=on")
    t.equal("what the guest is told", answer(guest, "cat /sys/block/vda/ro; head -c 4 /dev/vda"), "1 kite")
    guest.send("blockdev --setrw /dev/vda; dd if=/dev/zero of=/dev/vda bs=4096 count=4 conv=fsync; echo do''ne\n")
    guest.expect(rb"done", STEP)
    end(guest)
    t.equal("the file", md5(disk, MIB), before)


@case
def disk_modules(t):
    """Drivers unloaded and loaded again, with the legacy interface, then with the modern one alone."""
    disk = t.write("a.raw", b"", 16 * MIB)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=virtio")
    for count, option in enumerate(("force_legacy=1", "")):
        text = f"driver {count}"
        guest.send("cd /modules/$(uname -r); rmmod virtio_blk; rmmod virtio_pci; "
                   f"insmod virtio_pci.ko {option}; insmod virtio_blk.ko; cd /\n")
        guest.send(f"echo {text} | dd of=/dev/vda bs=512 seek={count} conv=sync,fsync\n")
        t.equal("read back", answer(guest, f"dd if=/dev/vda bs=512 skip={count} count=1 2>/dev/null | head -n 1"), text)
    end(guest)
    with open(disk, "rb") as file:
        t.equal("the file", file.read(521)[512:], b"driver 1\n")


@case
def disk_reboot(t):
    """A restart of the machine resets disks as well: they are found again."""
    disk = t.write("a.raw", b"", 16 * MIB)
    guest = t.guest("-drive", f"file={disk},format=raw,if=virtio", do="reboot", append="kite.modules=virtio", reboot=True, kernel=f"{t.cloud}/vmlinux")
    for _ in range(2):
        guest.expect(rb"GUEST-INIT", BOOT)
    guest.expect(rb"GUEST-INIT", BOOT)
    guest.kill(signal.SIGTERM)
    guest.ended(0)


@case
def disk_errors(t):
    """One line says what is wrong with a disk."""
    disk = t.write("a.raw", b"", MIB)
    for option, words in ((f"file={disk}x,format=raw", rb"No such file"), (f"file={t.dir},format=raw", rb"directory"),
                          (f"file={disk},format=nope", rb"nope"), (f"file={disk},fromat=raw", rb"did you mean 'format'")):
        guest = t.run(*t.linux(), "-nodefaults", "-drive", option)
        guest.ended(1)
        t.check(words in guest.stderr().encode() and guest.stderr().count("\n") == 1, f"-drive {option}: it says {guest.stderr()!r}")
    t.host("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", t.path("q.img"))
    guest = t.run(*t.linux(), "-nodefaults", "-drive", f"file={t.path('q.img')}")
    guest.ended(1)
    t.check("format=qcow2" in guest.stderr(), f"a probed qcow2 that names another file: it says {guest.stderr()!r}")


@case
def channel_and_rng(t):
    """A named port connects a program in the guest with a socket on the host, both ways; /dev/hwrng gives bytes."""
    path = t.path("agent")
    guest = shell(t, "-device", "virtio-serial-pci", "-chardev", f"socket,id=c,path={path},server=on,wait=off",
                  "-device", "virtserialport,chardev=c,name=org.qemu.guest_agent.0", "-object", "rng-random,id=r,filename=/dev/urandom",
                  "-device", "virtio-rng-pci,rng=r")
    t.equal("the port's name", answer(guest, "cat /sys/class/virtio-ports/*/name"), "org.qemu.guest_agent.0")
    t.equal("random bytes", answer(guest, "cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c"),
            "virtio_rng.0 64")
    with socket.socket(socket.AF_UNIX) as host:
        host.settimeout(STEP)
        host.connect(path)
        guest.send("exec 5<>/dev/$(basename /sys/class/virtio-ports/*); head -n 1 <&5 >/tmp/heard; echo 'guest speaks' >&5\n")
        host.sendall(b"host speaks\n")
        heard = b""
        while not heard.endswith(b"\n"):
            heard += host.recv(100)
        t.equal("what the host heard", heard, b"guest speaks\n")
    t.equal("what the guest heard", answer(guest, "cat /tmp/heard"), "host speaks")
    end(guest)
    t.check(not os.path.exists(path), "the socket is left behind")
