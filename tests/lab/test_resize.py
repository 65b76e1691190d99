# SPDX-License-Identifier: MIT
"""Sizes that change while the guest runs: disks, by a Kite that takes orders (tests/guest/host/kite_control.c), and the terminal."""
import os
import signal
import socket
import subprocess
import time

from harness import BOOT, STEP, Peer, Skip, case
from test_blockdev import loop, unloop
from disks import MIB, answer, end, shell


def controlled(t):
    """From now on the test's Kite is the one that takes orders; the name of its FIFO."""
    kite = os.path.join(os.path.dirname(t.kite), "guest/kite-control")
    if not os.path.exists(kite):
        raise Skip("make payloads builds guest/kite-control")
    t.kite = kite
    fifo = t.path("control")
    os.mkfifo(fifo)
    os.environ["KITE_CONTROL"] = fifo
    return fifo


def order(t, guest, fifo, text, want):
    """Gives an order, and checks the answer."""
    with open(fifo, "w", encoding="ascii") as file:
        file.write(text + "\n")
    deadline = time.monotonic() + STEP
    while f"control: {text}: " not in guest.stderr() and time.monotonic() < deadline:
        guest.pump(0.1)
    t.check(f"control: {text}: {want}\n" in guest.stderr(), f"it says {guest.stderr()!r}, not {want!r}")


def wait_size(t, guest, disk, size):
    """Until the guest knows."""
    deadline = time.monotonic() + STEP
    while (got := answer(guest, f"cat /sys/block/{disk}/size")) != str(size // 512) and time.monotonic() < deadline:
        time.sleep(0.2)
    t.equal(f"the size of {disk} in the guest", got, str(size // 512))


@case
def resize_disk(t):
    """A file grows and shrinks under MSI-X and INTx, by a throttled node too; Linux logs it, and the new end is there."""
    fifo = controlled(t)
    disks = [t.write(f"{i}.raw", b"", 16 * MIB) for i in range(2)]
    guest = shell(t, "-object", "throttle-group,id=g,x-iops-total=1000", "-object", "iothread,id=io",
                  "-blockdev", f"driver=throttle,node-name=a,throttle-group=g,file.driver=file,file.filename={disks[0]}",
                  "-device", "virtio-blk-pci,drive=a,iothread=io", "-drive", f"file={disks[1]},format=raw,if=none,id=b",
                  "-device", "virtio-blk-pci,drive=b,vectors=0")
    for node, disk, file in (("a", "vda", disks[0]), ("b", "vdb", disks[1])):
        order(t, guest, fifo, f"resize {node} {24 * MIB}", "ok")
        wait_size(t, guest, disk, 24 * MIB)
        t.equal("the file's size", os.stat(file).st_size, 24 * MIB)
        guest.send(f"printf kite >/tmp/s; dd if=/tmp/s of=/dev/{disk} bs=1M seek=23 conv=sync,fsync 2>/dev/null\n")
        t.equal("the new end", answer(guest, f"dd if=/dev/{disk} bs=1M skip=23 2>/dev/null | head -c 4"), "kite")
        order(t, guest, fifo, f"resize {node} {8 * MIB}", "ok")
        wait_size(t, guest, disk, 8 * MIB)
    changes = answer(guest, "dmesg | grep -c 'detected capacity change'")
    t.check(int(changes) >= 4, f"Linux logs {changes} changes")
    order(t, guest, fifo, "resize c 1048576", "No such file or directory")
    order(t, guest, fifo, "resize a 1000", "Invalid argument")
    end(guest)


@case
def resize_device(t):
    """A block device that its owner made larger: the guest may have what is there, and not more."""
    fifo = controlled(t)
    file = t.write("file", b"", 16 * MIB)
    device = loop(file)
    try:
        guest = shell(t, "-drive", f"file={device},format=raw,if=none,id=d,cache=none", "-device", "virtio-blk-pci,drive=d")
        order(t, guest, fifo, f"resize d {24 * MIB}", "Invalid argument")
        os.truncate(file, 24 * MIB)
        subprocess.run(["losetup", "-c", device], check=True)
        order(t, guest, fifo, f"resize d {24 * MIB}", "ok")
        wait_size(t, guest, "vda", 24 * MIB)
        end(guest)
    finally:
        unloop(device)


@case
def resize_terminal(t):
    """hvc0 has the terminal's size, at the start and when it changes. The shell is on the serial port, a socket."""
    path = t.path("serial")
    guest = t.guest("-serial", f"unix:{path},server=on,wait=on", "-chardev", "stdio,id=c", "-device", "virtio-serial-pci,max_ports=1",
                    "-device", "virtconsole,chardev=c", append="kite.modules=virtio", kernel=f"{t.cloud}/vmlinux", console="-nodefaults", tty=True,
                    size=(33, 101))
    with socket.socket(socket.AF_UNIX) as host:
        deadline = time.monotonic() + STEP
        while host.connect_ex(path) and time.monotonic() < deadline:
            time.sleep(0.05)
        peer = Peer(guest, host.fileno())
        peer.expect(rb"GUEST-READY", BOOT)
        peer.send("stty -echo; PS1=; echo sta''rt\n")
        peer.expect(rb"start")
        for turn, (rows, columns) in enumerate(((33, 101), (50, 132), (24, 80))):
            want = f"{rows} {columns}"
            if turn:
                guest.resize(rows, columns)
                guest.kill(signal.SIGWINCH)  # which the kernel sends where the terminal is the process's own
            deadline = time.monotonic() + STEP
            while (got := answer(peer, "stty size </dev/hvc0")) != want and time.monotonic() < deadline:
                time.sleep(0.2)
            t.equal("the size", got, want)
        peer.send("poweroff -f\n")
        guest.ended(0)
