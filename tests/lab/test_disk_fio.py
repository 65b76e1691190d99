# SPDX-License-Identifier: MIT
"""fio writes in every way that a disk can be configured, and reads back what it wrote."""
import os
import sys

from disks import MIB, end, fio, host_fs, loop_device, new_file, shell
from harness import case

VERIFY = ("--rw=randwrite --verify=crc32c --verify_fatal=1 --verify_backlog=64 --direct=1 --size=6m --bssplit=512/20:4k/40:20k/20:64k/15:300k/5 "
          "--bs_unaligned=0 --randrepeat=0 --loops=1 --end_fsync=1")
ENGINES = ("--ioengine=libaio --iodepth=32", "--ioengine=io_uring --iodepth=32", "--ioengine=psync")


def verify_disks(t, guest, count):
    """All disks at once, each with an engine of its own, and two jobs in two halves of each."""
    fio(t, guest, VERIFY, {f"{disk}-{half}": f"--filename=/dev/{disk} --offset={half * 8}m {ENGINES[(n + half) % 3]}"
                           for n, disk in enumerate(f"vd{chr(ord('a') + n)}" for n in range(count)) for half in range(2)}, 150)


@case
def disk_fio_cache(t):
    """Every cache mode, on a file system with direct I/O; and a device of larger blocks than the guest writes."""
    directory = host_fs(t, "fs", 200 * MIB)
    options = ["-object", "iothread,id=io0"]
    for n, mode in enumerate(("none", "directsync", "writeback", "writethrough", "unsafe")):
        path = new_file(f"{directory}/{mode}.raw", 16 * MIB)
        options += ["-drive", f"file={path},format=raw,if=none,id=d{n},cache={mode}",
                    "-device", f"virtio-blk-pci,drive=d{n}" + (",iothread=io0" if n % 2 == 0 else "")]
    large = loop_device(t, new_file(f"{directory}/loop", 16 * MIB), "--sector-size", "4096")
    options += ["-drive", f"file={large},format=raw,if=none,id=d5,cache=none,discard=unmap",
                "-device", "virtio-blk-pci,drive=d5,logical_block_size=512"]
    guest = shell(t, *options, tools=True)
    verify_disks(t, guest, 6)
    end(guest)
    t.equal("messages", guest.stderr(), "")


@case
def disk_fio_threads(t):
    """Threads in io_uring's place, where the host forbids it and where the user chose them: the same data, the same errors."""
    directory = host_fs(t, "fs", 100 * MIB)
    disks = [new_file(f"{directory}/{name}.raw", 16 * MIB) for name in "abc"]
    guest = shell(t, "-drive", f"file={disks[0]},format=raw,if=virtio,cache=none", "-drive", f"file={disks[1]},format=raw,if=virtio",
                  "-drive", f"file={disks[2]},format=raw,if=virtio,cache=directsync,aio=threads", tools=True,
                  wrap=(sys.executable, f"{os.path.dirname(__file__)}/without-io-uring"))
    t.check(not any(os.readlink(f"/proc/{guest.pid}/fd/{fd}") == "anon_inode:[io_uring]" for fd in os.listdir(f"/proc/{guest.pid}/fd")),
            "io_uring is not forbidden")
    verify_disks(t, guest, 3)
    end(guest)
    t.equal("messages", guest.stderr(), "")


@case
def disk_fio_queues(t):
    """Four queues, with as many CPUs and with two: each carries what its CPUs ask for, by an interrupt of its own."""
    for cpus in (2, 4):
        disk = t.write(f"{cpus}.raw", b"", 32 * MIB)
        guest = shell(t, "-smp", cpus, "-object", "iothread,id=io0", "-drive", f"file={disk},format=raw,if=none,id=d",
                      "-device", "virtio-blk-pci,drive=d,num-queues=4,iothread=io0", tools=True)
        queues = queue_interrupts(t, guest)
        t.equal(f"queues with {cpus} CPUs", len(queues), cpus)
        fio(t, guest, VERIFY, {f"cpu{n}": f"--filename=/dev/vda --offset={n * 8}m --cpus_allowed={n} {ENGINES[n % 2]}"
                               for n in range(cpus)}, 150)
        after = queue_interrupts(t, guest)
        t.check(all(after[q] > queues[q] for q in queues), f"interrupts of the queues: {queues}, then {after}")
        end(guest)


def queue_interrupts(t, guest):
    """How often each queue's interrupt came: {name: count}."""
    guest.send("ls /sys/block/vda/mq | wc -l; cat /proc/interrupts; echo e''nd\n")
    text = guest.expect(rb"(?s)([0-9]+)\s+CPU0(.*)end")
    lines = [line.split() for line in text[2].decode().splitlines() if "-req." in line]
    t.equal("rows of /proc/interrupts", len(lines), int(text[1]))
    return {line[-1]: sum(int(word) for word in line[1:] if word.isdigit()) for line in lines}
