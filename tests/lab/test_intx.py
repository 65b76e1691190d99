# SPDX-License-Identifier: MIT
"""Virtio without MSI-X: level interrupts on lines that devices share."""
import re
import signal

from harness import BOOT, case
from disks import MIB, answer, end, md5, shell


def disks(t, names, slots):
    """Options for disks without vectors, each with a thread of its own, in slots that share a line where they are equal modulo 4."""
    options = []
    for name, slot in zip(names, slots):
        t.write(f"{name}.raw", b"", 16 * MIB)
        options += ["-object", f"iothread,id=io-{name}", "-drive", f"file={t.path(name)}.raw,format=raw,if=none,id={name}", "-device",
                    f"virtio-blk-pci,drive={name},vectors=0,addr={slot:#x},iothread=io-{name}"]
    return options


def write_and_compare(t, guest, devices):
    """Writes to all at once, and reads all back at once, without the page cache; then compares."""
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=4 2>/dev/null; for d in " + " ".join(devices) +
               "; do dd if=/tmp/f of=/dev/$d bs=16k conv=fsync 2>/dev/null & done; wait; echo 3 >/proc/sys/vm/drop_caches\n")
    want = answer(guest, "md5sum </tmp/f | head -c 32")
    got = answer(guest, "for d in " + " ".join(devices) + "; do dd if=/dev/$d bs=16k count=256 2>/dev/null | md5sum | head -c 32 >/tmp/$d & "
                 "done; wait; cd /tmp; for d in " + " ".join(devices) + "; do cat $d; echo; done; cd /")
    t.equal("read back", got.split(), [want] * len(devices))
    return want


@case
def intx_shared(t):
    """Three disks on one line and a fourth on another, all at work at once, on two CPUs: data, and no interrupt that nobody claims."""
    guest = shell(t, *disks(t, "abcd", (4, 8, 12, 5)), "-smp", "2")
    lines = answer(guest, "grep virtio /proc/interrupts").split("virtio")
    t.check(all("fasteoi" in lines[i] for i in (0,)) and "MSI" not in "".join(lines), f"/proc/interrupts: {lines}")
    t.check(re.search(r"virtio\d, *virtio\d, *virtio\d", "virtio".join(lines)), f"no line is shared: {lines}")
    written = write_and_compare(t, guest, ("vda", "vdb", "vdc", "vdd"))
    for name in "abcd":
        t.equal(f"the file of {name}", md5(t.path(f"{name}.raw"), 4 * MIB), written)
    t.equal("the kernel's complaints", answer(guest, "dmesg | grep -c -i -e 'nobody cared' -e 'i/o error' -e 'lost interrupt'"), "0")
    end(guest)


@case
def intx_reboot(t):
    """After a restart of the machine, in the middle of what the disks do, the lines work again; with the legacy driver as well."""
    guest = shell(t, *disks(t, "ab", (4, 8)), reboot=True)
    for turn in range(2):
        write_and_compare(t, guest, ("vda", "vdb"))
        if turn == 0:
            guest.send("dd if=/dev/vda of=/dev/null bs=4k & dd if=/dev/vdb of=/dev/null bs=4k & reboot -f\n")
            guest.expect(rb"GUEST-READY", BOOT)
            guest.send("stty -echo; PS1=; echo sta''rt\n")
            guest.expect(rb"start")
    guest.send("cd /modules/$(uname -r); rmmod virtio_blk; rmmod virtio_pci; insmod virtio_pci.ko force_legacy=1; insmod virtio_blk.ko; cd /\n")
    write_and_compare(t, guest, ("vda", "vdb"))
    guest.kill(signal.SIGTERM)
    guest.ended(0)


@case
def intx_without_acpi(t):
    """-no-acpi, and a kernel that is entered directly: its CPUs, its IOAPIC and the PCI bus's lines are those of the MP tables."""
    guest = shell(t, "-no-acpi", "-smp", "2", *disks(t, ("a", "b"), (5, 6)), append="reboot=t", kernel=f"{t.generic}/vmlinux")
    t.equal("CPUs", answer(guest, "nproc"), "2")
    t.equal("ACPI", answer(guest, "ls /sys/firmware/acpi 2>/dev/null | wc -l"), "0")
    lines = answer(guest, "grep virtio /proc/interrupts")
    t.equal("lines of the disks", sorted(re.findall(r"IO-APIC +(\d+)-fasteoi +virtio\d", lines)), ["17", "18"])
    write_and_compare(t, guest, ("vda", "vdb"))
    guest.send("reboot -f\n")
    guest.ended(0)
