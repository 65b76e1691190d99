# SPDX-License-Identifier: MIT
"""The PCI bus as Linux and lspci see it: what is where, interrupts of both kinds, functions that go, move and come back."""
import base64
import gzip
import re

from disks import MIB, answer, drivers_ready, end
from harness import BOOT, STEP, add_case, case
from test_errors import refused

# What the kernel says when a bus, its windows or its tables are not as they should be; and lspci of a function that is not. For grep, in
# the guest: its serial port is slow.
COMPLAINTS = ("can.t claim|no compatible bridge window|failed to assign|can.t assign|no space for|Firmware Bug|ACPI.*(Error|Warning)|ACPI BIOS|"
              "AE_[A-Z]|not an E820|not reserved|conflicts? with|address space collision|invalid BAR|unknown header type|nobody cared|spurious|"
              "no GSI|can.t find IRQ|BAR [0-9]+.*error")
ODD = r"unassigned|\[disabled\]|<ignored>|unknown header|!!!|chain (looped|broken)|\[virtual\]|access denied|<[?]|unknown"
BASE = {"00:00.0": "0600", "00:01.0": "0601"}  # the bridges
DISK, SERIAL, RNG = "0100", "0780", "00ff"


def disk(t, name, *words):
    """The options of a disk at -device's `words`."""
    path = t.write(name, name.encode() * 16, MIB)
    return ("-drive", f"file={path},format=raw,if=none,id={name}", "-device", ",".join((f"virtio-blk-pci,drive={name},id=dev-{name}", *words)))


def output(guest, command, seconds=2 * STEP):
    """What a command prints, in lines."""
    guest.send(f"echo 'BEG''IN'; {command}; echo 'EN''D'\n")
    text = guest.expect(rb"(?s)BEGIN\r*\n(.*?)END\r*\n", seconds)[1].decode(errors="replace")
    return text.replace("\r", "").splitlines()


def check_log(t, guest):
    """Nothing in the kernel's log complains."""
    t.equal("what the kernel complains of", output(guest, f"dmesg | grep -i -E '{COMPLAINTS}'"), [])


def check_odd(t, guest, functions):
    """lspci -vv finds nothing odd. It does not know the virtio capability that is a window of configuration space."""
    t.equal("how many lspci -vv shows", answer(guest, "lspci -vv 2>/dev/null >/tmp/lspci; grep -c '^[0-9]' /tmp/lspci"), str(functions))
    t.equal("what is odd in lspci -vv", output(guest, f"grep -v 'VirtIO: <unknown>' /tmp/lspci | grep -i -E '{ODD}'"), [])


def config_spaces(guest, functions):
    """The first 256 bytes of each of `functions`, by address."""
    text = "".join(output(guest, "for d in /sys/bus/pci/devices/*; do head -c 256 $d/config; done | gzip | base64"))
    data = gzip.decompress(base64.b64decode(text))
    return {address: data[256 * i : 256 * (i + 1)] for i, address in enumerate(sorted(functions))}


def check_capabilities(t, address, space):
    """The list is there if the status register says so, ends, and its parts neither overlap nor leave the first 256 bytes."""
    has, at, ends = bool(space[6] & 0x10), space[0x34], []
    t.equal(f"{address}: whether it has a list", bool(at), has)
    while at:
        kind = space[at]
        t.check(at >= 0x40 and at % 4 == 0 and kind in (0x09, 0x11), f"{address}: a capability {kind:#x} at {at:#x}")
        length = space[at + 2] if kind == 0x09 else 12
        t.check(length >= 12 and at + length <= 256, f"{address}: the capability at {at:#x} has {length} bytes")
        t.check(all(at >= end or at + length <= start for start, end in ends), f"{address}: the capability at {at:#x} overlaps another")
        ends.append((at, at + length))
        at = space[at + 1]


def check_lspci(t, guest, wanted):
    """Just the functions `wanted`, an address and a class each, and nothing odd about them."""
    found = dict(re.match(r"(\S+) (\w{4}):", line).groups() for line in output(guest, "lspci -n"))
    t.equal("the functions", found, BASE | wanted)
    check_odd(t, guest, len(found))
    for address, space in config_spaces(guest, found).items():
        t.check(len(space) == 256, f"{address}: {len(space)} bytes")
        t.check(space[0x0e] & 0x7f == 0, f"{address}: header type {space[0x0e]:#x}")
        check_capabilities(t, address, space)


@case
def pci_functions(t):
    """Explicit places, several functions, all kinds of devices: lspci and the kernel find nothing odd. MSI-X masked and steered, INTx, a
    function taken out, moved and found again."""
    guest = t.guest(*disk(t, "a", "addr=0x3"), *disk(t, "b", "addr=5", "multifunction=on"), *disk(t, "c", "addr=5.1", "vectors=0"),
                    *disk(t, "d", "addr=1f.0", "disable-legacy=on"), *disk(t, "e", "disable-modern=on,disable-legacy=off"),
                    *disk(t, "f", "addr=0x10", "multifunction=on"), *disk(t, "g", "addr=10.7", "vectors=1"),
                    "-device", "virtio-serial-pci,addr=6", "-device", "virtio-rng-pci", "-device", "virtio-rng-pci,vectors=0,addr=1.3", "-smp", "2",
                    append="kite.modules=virtio,tools", kernel=f"{t.cloud}/vmlinux", tools=True)
    drivers_ready(guest)
    # The automatic ones are in the first free slots.
    check_lspci(t, guest, {"00:03.0": DISK, "00:05.0": DISK, "00:05.1": DISK, "00:1f.0": DISK, "00:02.0": DISK, "00:10.0": DISK,
                           "00:10.7": DISK, "00:06.0": SERIAL, "00:04.0": RNG, "00:01.3": RNG})
    t.equal("lspci -t", output(guest, "lspci -t"), ["-[0000:00]-+-00.0", *(f"           +-{x}" for x in
            ("01.0", "01.3", "02.0", "03.0", "04.0", "05.0", "05.1", "06.0", "10.0", "10.7")), "           \\-1f.0"])
    check_log(t, guest)

    guest.send('disk() { basename $(echo /sys/bus/pci/devices/0000:00:$1/virtio*/block/*); }; '
               'rd() { echo 3 >/proc/sys/vm/drop_caches; head -c 1 /dev/$(disk $1); }; '
               'irqs() { grep -c "$1" /proc/interrupts; }\n')
    t.equal("what the disks hold", answer(guest, "for d in 03.0 05.0 05.1 1f.0 02.0 10.0 10.7; do rd $d; done"), "abcdefg")
    # INTx, through _PRT: 05.1 and 01.3 share a line; 10.7 has another, as the driver wants two vectors or none.
    t.equal("interrupts of functions without vectors", answer(guest, "ls /sys/bus/pci/devices/0000:00:05.1/msi_irqs | wc -l; irqs 'IO-APIC.*virtio'"),
            "0 2")

    # Every vector masked at once: a read waits, and ends when the interrupt that was pending comes.
    guest.send("setpci -s 03.0 CAP_MSIX+2.w=c000:c000; rd 03.0 >/tmp/read & R=$!; sleep 2; kill -0 $R && echo wai''ting\n")
    guest.expect(rb"waiting")
    guest.send("setpci -s 03.0 CAP_MSIX+2.w=8000:c000; wait $R; echo \"got $(cat /tmp/read)\"\n")
    guest.expect(rb"got a")
    # A vector written again and again under load; those of the disks are the kernel's own to steer.
    guest.send("I=$(ls /sys/bus/pci/devices/0000:00:04.0/msi_irqs | tail -n 1); echo virtio_rng.0 >/sys/class/misc/hw_random/rng_current\n")
    guest.send("((while [ ! -e /tmp/stop ]; do head -c 64 /dev/hwrng >/dev/null || echo fai''led; done; echo sto''pped) &)\n")
    guest.send("for i in $(seq 50); do echo $((i % 2 + 1)) >/proc/irq/$I/smp_affinity || echo fai''led; done; touch /tmp/stop\n")
    guest.expect(rb"stopped", 2 * STEP)
    t.check(b"failed" not in guest.console, "a read or a vector's new place failed")

    # Out and in again: the kernel gives its BARs other places; also when it finds none, as if firmware had seen to nothing.
    guest.send("D=/sys/bus/pci/devices/0000:00:03.0; where() { sed -n 's/ .*//; /0x[0-9a-f]*[1-9a-f]/p' $D/resource; }; W=$(where)\n")
    for what, change in (("as it was", ":"), ("without a place", "setpci -s 03.0 COMMAND=0:3 "
                         "BASE_ADDRESS_0=0 BASE_ADDRESS_1=0 BASE_ADDRESS_4=0 BASE_ADDRESS_5=0")):
        guest.send(f"echo 1 >$D/remove; {change}; echo 1 >/sys/bus/pci/rescan; sleep 1\n")
        t.equal(f"the disk found again, {what}", answer(guest, "rd 03.0"), "a")
        t.equal("how many BARs it has", answer(guest, "where | wc -l"), "3")
    t.equal("whether it moved", answer(guest, '[ "$(where)" != "$W" ] && echo moved'), "moved")
    check_log(t, guest)
    check_odd(t, guest, 12)
    end(guest)


@case
def pci_many(t):
    """28 devices with the generic kernel: all slots but one, on four lines, since it is told to use no MSI; BARs placed again."""
    disks = [option for i in range(26) for option in disk(t, f"d{i:02}")]
    guest = t.guest(*disks, "-device", "virtio-serial-pci", "-device", "virtio-rng-pci", append="kite.modules=virtio,tools pci=nomsi,realloc",
                    kernel=f"{t.generic}/vmlinux", tools=True, memory=512)
    drivers_ready(guest)
    check_lspci(t, guest, {f"00:{slot:02x}.0": DISK for slot in range(2, 28)} | {"00:1c.0": SERIAL, "00:1d.0": RNG})
    t.equal("what the disks hold", answer(guest, "for i in /sys/bus/pci/devices/*/virtio*/block/*; do head -c 3 /dev/${i##*/}; done"),
            "".join(f"d{i:02}" for i in range(26)))
    t.equal("the lines in use", answer(guest, "grep -c 'IO-APIC.*fasteoi.*virtio' /proc/interrupts"), "4")
    guest.send("for i in /sys/block/vd*; do dd if=/dev/${i##*/} of=/dev/null bs=64k iflag=direct 2>/dev/null & done; wait; echo al''l\n")
    guest.expect(rb"all", 2 * STEP)
    t.equal("what rng says", answer(guest, "head -c 16 /dev/hwrng | wc -c"), "16")
    check_log(t, guest)
    end(guest)


RNG_AT = "-device virtio-rng-pci,addr="

# Name, options, pattern.
OPTIONS = (
    ("occupied", f"{RNG_AT}4,id=first {RNG_AT}4,id=second", r"second.*04\.0.*first"),
    ("occupied_by_bridge", f"{RNG_AT}1", r"01\.0.*ISA bridge"),
    ("single_function", f"{RNG_AT}5 {RNG_AT}5.1", r"05\.1 needs multifunction=on.*05\.0"),
    ("no_function_0", f"{RNG_AT}5.1", r"05\.1.*05\.0.*multifunction=on"),
    ("no_slot", f"{RNG_AT}20", r"addr.*1f\.7.*'20'"),
    ("no_function", f"{RNG_AT}3.8", r"addr.*'3\.8'"),
    ("no_number", f"{RNG_AT}three", r"addr.*'three'"),
    ("no_bus", "-device virtio-rng-pci,bus=pci.1", r"bus.*pci\.0"),
    ("nothing_left", "-device virtio-rng-pci,disable-legacy=on,disable-modern=on", r"disable-modern"),
    ("vectors", "-device virtio-rng-pci,vectors=2049", r"vectors.*2048"),
)

for row in OPTIONS:
    add_case(f"pci_error_{row[0]}", lambda t, row=row: refused(t, t.run(*t.linux(), "-nodefaults", "-serial", "null", *row[1].split()), row[2]))
