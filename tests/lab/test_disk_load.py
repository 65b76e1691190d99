# SPDX-License-Identifier: MIT
"""Disks that are taken away, reset and restarted while requests are under way."""
import signal

from disks import MIB, answer, drivers_ready, end, fio, host_fs, new_file, shell
from harness import BOOT, STEP, case

LOAD = ("fio --thread --rw=randrw --bs=4k --direct=1 --ioengine=libaio --iodepth=32 --time_based --runtime=600 "
        "--filename=/dev/vda --name=a --name=b >/dev/null 2>&1 &\n")
MOVING = "a=$(cat /sys/block/vda/stat); sleep 0.5; [ \"$a\" = \"$(cat /sys/block/vda/stat)\" ]; echo $?"


def loaded(t, *options, disk=None, cache="writeback", **more):
    """A guest that keeps its first disk busy."""
    disk = disk or t.write("a.raw", b"", 32 * MIB)
    guest = shell(t, "-object", "iothread,id=io0", "-drive", f"file={disk},format=raw,if=none,id=d,cache={cache}",
                  "-device", "virtio-blk-pci,drive=d,addr=5.0,iothread=io0,num-queues=2", *options, tools=True, **more)
    start_load(t, guest)
    return guest


def start_load(t, guest):
    guest.send(LOAD)
    for _ in range(100):
        if answer(guest, MOVING) == "1":
            return
    t.check(False, "the load does not start")


@case
def disk_unbind_busy(t):
    """The driver let go of a busy disk, the function removed from the bus, found again: each time it works as new."""
    guest = loaded(t)
    pci, device = "/sys/bus/pci", "/sys/bus/pci/devices/0000:00:05.0"
    for text, away, back in (("virtio driver", "echo $(basename $(readlink -f $V)) >/sys/bus/virtio/drivers/virtio_blk/unbind",
                              "echo $(basename $(readlink -f $V)) >/sys/bus/virtio/drivers/virtio_blk/bind"),
                             ("PCI driver", f"echo 0000:00:05.0 >{pci}/drivers/virtio-pci/unbind", f"echo 0000:00:05.0 >{pci}/drivers/virtio-pci/bind"),
                             ("function", f"echo 1 >{device}/remove", f"echo 1 >{pci}/rescan")):
        guest.send(f"V={device}/virtio*; {away}; wait; ls /dev/vda; echo go''ne\n")
        guest.expect(rb"No such file[^\n]*\s+gone", STEP)
        guest.send(f"{back}; while [ ! -e /dev/vda ]; do sleep 0.1; done; echo ba''ck\n")
        guest.expect(rb"back")
        fio(t, guest, "--rw=randwrite --verify=crc32c --bs=4k --direct=1 --ioengine=libaio --iodepth=16 --size=1m --filename=/dev/vda", {"again": ""})
        if text != "function":
            start_load(t, guest)
    end(guest)
    t.equal("messages", guest.stderr(), "")


@case
def disk_reboot_busy(t):
    """A machine that restarts with its disk busy, by reboot -f and by the emergency key, and is told to end while it is."""
    guest = loaded(t, disk=new_file(f"{host_fs(t, 'fs', 64 * MIB)}/a.raw", 32 * MIB), cache="none", reboot=True)
    for how in ("reboot -f", "echo b >/proc/sysrq-trigger"):
        guest.send(f"{how}\n")
        guest.expect(rb"GUEST-INIT", BOOT)
        drivers_ready(guest)
        start_load(t, guest)
    guest.kill(signal.SIGTERM)
    guest.ended(0)
    t.check("SIGTERM" in guest.stderr() and guest.stderr().count("\n") == 1, f"it says {guest.stderr()!r}")
