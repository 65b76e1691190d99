# SPDX-License-Identifier: MIT
"""Every kind of kernel file boots, and the kernel finds the machine it should."""
import base64
import datetime
import gzip
import re

from harness import BOOT, case


def boots(t, kernel, release):
    """The kernel starts, finds one CPU and KVM's clock and timers, and powers off through ACPI."""
    guest = t.guest(kernel=kernel, do="poweroff", facts=True)
    facts = guest.facts()
    guest.ended(0)
    with open(f"{release}/release", encoding="ascii") as file:
        t.equal("the release", facts["release"], file.read().strip())
    t.equal("the command line", facts["cmdline"], "console=ttyS0 quiet loglevel=1 panic=-1 kite.do=poweroff kite.facts=yes")
    t.equal("CPUs", facts["cpus"], "1")
    t.equal("the clock source", facts["clocksource"], "kvm-clock")
    t.equal("the CPU's timer", facts["percpu_timer"], "lapic-deadline")
    t.equal("the hypervisor", facts["hypervisor"], "KVM")
    t.equal("lines about x2APIC", facts["x2apic"], "1")
    t.check(not re.search(r"^kite: .*(error|fail)", guest.stderr(), re.M | re.I), f"stderr: {guest.stderr()}")


@case
def boot_cloud_bzimage(t):
    boots(t, f"{t.cloud}/vmlinuz", t.cloud)


@case
def boot_generic_bzimage(t):
    boots(t, f"{t.generic}/vmlinuz", t.generic)


@case
def boot_cloud_pvh(t):
    boots(t, f"{t.cloud}/vmlinux", t.cloud)


@case
def boot_generic_pvh(t):
    boots(t, f"{t.generic}/vmlinux", t.generic)


@case
def boot_elf64(t):
    """An ELF file without a PVH note, by the 64-bit entry."""
    boots(t, f"{t.cloud}/vmlinux-nonote", t.cloud)


@case
def boot_opaque_bzimage(t):
    """A bzImage that only its own code can unpack, by its own 64-bit entry."""
    boots(t, f"{t.cloud}/vmlinuz-opaque", t.cloud)


def without_xsave_warning(log):
    """The kernel's log without the warning that QEMU's emulated CPU earns: its XSAVE leaf does not add up."""
    return re.sub(r"(?s)-+\[ cut here \]-+\n[^\n]*XSAVE consistency problem.*?---\[ end trace \w+ \]---", "", log)


def report(t, uuid):
    """Boots; what guest-init says, between when and when that was, and the kernel's log."""
    start = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    guest = t.guest("-uuid", uuid, "-serial", "null", "-serial", "null", "-serial", "null", do="report", append="log_buf_len=1M", facts=True)
    facts = guest.facts()
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    guest.expect(rb"GUEST-LOG-END", BOOT)
    guest.ended(0)
    text = guest.console.replace(b"\r", b"").split(b"GUEST-LOG\n")[1].split(b"GUEST-LOG-END")[0]
    text = gzip.decompress(base64.b64decode(text)).decode(errors="replace")
    guest.console += text.encode()  # for people, in the test's log
    return facts, (start, now), without_xsave_warning(text)


def longest_gap(t, log):
    """The longest time between two lines of a log, and when it began."""
    times = [float(stamp) for stamp in re.findall(r"^\[ *(\d+\.\d+)\]", log, re.M)]
    t.check(len(times) > 100, "the log is short")
    return max((after - before, before) for before, after in zip(times, times[1:]))


@case
def boot_log(t):
    """Nothing in the kernel's log speaks of a machine that is wrong, or that made it wait."""
    uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    facts, (start, now), log = report(t, uuid)

    t.equal("the UUID", facts["uuid"], uuid)
    t.equal("serial ports", facts["serials"], "4")
    t.equal("where the kernel is (1000000: entered without its decompressor)", facts["kernel"], "01000000")
    for clock in ("rtc", "date"):
        said = datetime.datetime.fromisoformat(facts[clock])
        off = max((start - said).total_seconds(), (said - now).total_seconds())
        t.check(off < 10, f"the guest's {clock} is {off} s off")
    for wanted in (r"rtc_cmos .*setting system clock", r"kvm-clock: [Uu]sing msrs", r"TSC deadline timer available",
                   r"ACPI: Interpreter enabled", r"ACPI: PM: \(supports S0.* S5\)",
                   r"PCI: (ECAM|MMCONFIG) .*\[mem 0xe0000000-0xe00fffff\]", r"PCI: Using (ECAM|MMCONFIG)|PCI: Using configuration type 1",
                   r"pci_bus 0000:00: root bus resource \[mem 0xc0000000-0xdfffffff", r"pci 0000:00:01.0: \[8086:7000\]"):
        t.check(re.search(wanted, log), f"the log has no {wanted!r}")
    for bad in (r"ACPI (BIOS )?(Error|Warning|Exception).*", r".*\[Firmware Bug\].*", r"WARNING: CPU.*", r"BUG: .*", r".*unchecked MSR.*",
                r"i8042: .*(Can't|failed|No controller).*", r"rtc_cmos.*(broken|not accessible|fail).*", r".*probe of .* failed.*",
                r".*can't (claim|assign) .*", r"(?i)pci.*(fail|not reserved|conflict|disabl(ed|ing) .*BAR|no compatible|bogus|invalid).*",
                r".*irq \d+: nobody cared.*", r".*[Cc]alibrat\w+ .*fail.*"):
        found = re.search(bad, log)
        t.check(not found, f"the log says: {found and found[0]}")
    # What waits does so each time; a busy host holds a guest up anywhere.
    gap, at = longest_gap(t, log)
    for _ in range(6):
        if gap >= 2:
            gap, at = min((gap, at), longest_gap(t, report(t, uuid)[2]))
    t.check(gap < 2, f"the kernel waited {gap:.1f} s, {at} s after its start")
