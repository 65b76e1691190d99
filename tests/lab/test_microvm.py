# SPDX-License-Identifier: MIT
"""The machine microvm with real kernels: virtio over MMIO, hardware-reduced ACPI, and no ACPI at all.

Debian's kernels have virtio_mmio as a module and without CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES, so they find transports by ACPI only; those on
the command line are tested by the bare-metal payload `microvm`, and here only that the kernel is told of them. Their cloud kernel does not
read MP tables either (CONFIG_X86_MPPARSE); the generic one does.
"""
import hashlib
import os
import signal
import socket

from harness import BOOT, STEP, case

MIB = 1 << 20
VIRTIO = "kite.modules=virtio"
MICROVM = ("-M", "microvm")


def shell(t, *options, board=MICROVM, append=VIRTIO, kernel=None):
    """A guest at its prompt."""
    guest = t.guest(*board, *options, append=append, kernel=f"{kernel or t.cloud}/vmlinux")
    guest.expect(rb"GUEST-READY", BOOT)
    guest.send("stty -echo; PS1=; echo sta''rt\n")
    guest.expect(rb"start")
    return guest


def answer(guest, command):
    """What a command prints, in one line."""
    guest.send(f"echo \"<$({{ {command}; }} | tr '\\n' ' ')>\"\n")
    return guest.expect(rb"<([^>]*)>", STEP)[1].decode().strip()


def end(guest):
    guest.send("poweroff -f\n")
    guest.ended(0)


def md5(path, length):
    with open(path, "rb") as file:
        return hashlib.md5(file.read(length)).hexdigest()


@case
def microvm_disk(t):
    """Disks found by ACPI: what is written stands in the file, also after the drivers were unloaded and loaded again; interrupts are level-triggered."""
    disk, other = t.write("a.raw", b"", 32 * MIB), t.write("b.raw", b"kite" * 128, MIB)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=none,id=a", "-device", "virtio-blk-device,drive=a,serial=KITE-1",
                  "-drive", f"file={other},format=raw,readonly=on", "-smp", "2")
    t.equal("size and serial", answer(guest, "cat /sys/block/vda/size /sys/block/vda/serial; echo; cat /sys/block/vdb/size /sys/block/vdb/ro; "
                                      "head -c 4 /dev/vdb"), f"{32 * MIB // 512} KITE-1 {MIB // 512} 1 kite")
    t.equal("where it is", answer(guest, "ls -d /sys/bus/platform/devices/LNRO0005:* | wc -l; ls /sys/bus/pci/devices 2>/dev/null | wc -l"), "2 0")
    t.equal("what is probed in vain", answer(guest, "dmesg | grep -i 'probing ports\\|rtc_cmos'"), "")
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=4; dd if=/tmp/f of=/dev/vda bs=256k conv=fsync\n")
    written = answer(guest, "md5sum </tmp/f")[:32]
    t.equal("the file on the host", md5(disk, 4 * MIB), written)
    t.equal("interrupts", answer(guest, "grep -c 'IO-APIC.*fasteoi.*virtio' /proc/interrupts"), "2")
    guest.send("cd /modules/$(uname -r); rmmod virtio_blk; rmmod virtio_mmio; insmod virtio_mmio.ko; insmod virtio_blk.ko; cd /\n")
    t.equal("read back", answer(guest, "dd if=/dev/vda bs=64k count=64 2>/dev/null | md5sum")[:32], written)
    end(guest)


@case
def microvm_channel_and_rng(t):
    """A named port works both ways; /dev/hwrng gives bytes."""
    path = t.path("agent")
    guest = shell(t, "-device", "virtio-serial-device", "-chardev", f"socket,id=c,path={path},server=on,wait=off",
                  "-device", "virtserialport,chardev=c,name=org.qemu.guest_agent.0", "-device", "virtio-rng-device")
    t.equal("the port's name", answer(guest, "cat /sys/class/virtio-ports/*/name"), "org.qemu.guest_agent.0")
    t.equal("random bytes", answer(guest, "dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c"), "64")
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


@case
def microvm_minimal(t):
    """Without 8259s, timer and clock: the kernel boots, on two CPUs, and switches off."""
    guest = t.guest("-M", "microvm,pic=off,pit=off,rtc=off", "-smp", "2", do="poweroff", facts=True, kernel=f"{t.cloud}/vmlinux")
    facts = guest.facts()
    t.equal("CPUs and clock", (facts["cpus"], facts["clocksource"], facts["rtc"]), ("2", "kvm-clock", ""))
    guest.ended(0, BOOT)


@case
def microvm_reboot(t):
    """A restart of the machine: the disk is found again."""
    disk = t.write("a.raw", b"", 16 * MIB)
    guest = t.guest(*MICROVM, "-drive", f"file={disk},format=raw", do="reboot", append=VIRTIO, reboot=True, kernel=f"{t.cloud}/vmlinux", facts=True)
    first = guest.facts()
    second = guest.facts()
    t.equal("after a restart", (second["cpus"], second["memory"]), (first["cpus"], first["memory"]))
    guest.expect(rb"GUEST-INIT", BOOT)
    guest.kill(signal.SIGTERM)
    guest.ended(0)


@case
def microvm_button(t):
    """The power button is an event of the generic event device: an input event in the guest, which powers itself off."""
    guest = t.guest(*MICROVM, do="button", console="-serial mon:stdio", tty=True, kernel=f"{t.cloud}/vmlinux")
    guest.expect(rb"GUEST-READY", BOOT)
    guest.send("\x01p")
    guest.expect(rb"GUEST-BUTTON", STEP)
    guest.ended(0)


@case
def microvm_bare(t):
    """acpi=off: the MP tables give it its CPUs and its IOAPIC, the command line names the disk's transport, a restart ends it."""
    disk = t.write("a.raw", b"", MIB)
    guest = shell(t, "-drive", f"file={disk},format=raw", "-smp", "2", board=("-M", "microvm,acpi=off"), append="reboot=t", kernel=t.generic)
    t.equal("CPUs", answer(guest, "nproc"), "2")
    t.equal("the command line", answer(guest, "sed 's/.* //' /proc/cmdline"), "virtio_mmio.device=512@0xfeb00000:16")
    t.equal("the serial port's interrupt", answer(guest, "grep -c 'IO-APIC.*ttyS0' /proc/interrupts"), "1")
    t.equal("ACPI", answer(guest, "ls /sys/firmware/acpi 2>/dev/null | wc -l"), "0")
    guest.send("reboot -f\n")
    guest.ended(0)


@case
def microvm_bare_keyboard_reset(t):
    """As Firecracker's guests do it: reboot=k."""
    guest = t.guest("-M", "microvm,acpi=off", do="reboot", append="reboot=k", kernel=f"{t.cloud}/vmlinux")
    guest.ended(0, BOOT)
    t.equal("starts", guest.console.count(b"GUEST-INIT"), 1)


@case
def microvm_generic(t):
    """Debian's generic kernel, as a bzImage."""
    guest = t.guest(*MICROVM, "-device", "virtio-rng-device", do="poweroff", append=VIRTIO, facts=True, kernel=f"{t.generic}/vmlinuz")
    t.equal("clock", guest.facts()["clocksource"], "kvm-clock")
    guest.ended(0, BOOT)
