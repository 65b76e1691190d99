# SPDX-License-Identifier: MIT
"""Restart, power-off, panic and the power button. (Power-off ends with status 0: test_boot.)"""
import signal

from harness import BOOT, STEP, add_case, case


@case
def power_reboot(t):
    """The guest restarts itself, twice, in one Kite; memory and devices are as at the first start."""
    guest = t.guest(do="reboot", reboot=True, facts=True)
    first = guest.facts()
    second = guest.facts()
    third = guest.facts()
    for name in ("release", "cmdline", "cpus", "memory", "clocksource", "serials"):
        t.equal(f"{name} after a restart", (second[name], third[name]), (first[name],) * 2)
    guest.kill(signal.SIGTERM)
    guest.ended(0)


def restart_ends(t, way):
    """-no-reboot: a restart ends it. `way` is the kernel's reboot=, how it asks for one."""
    guest = t.guest(do="reboot", append=f"reboot={way}", kernel=f"{t.cloud}/vmlinux")
    guest.ended(0, BOOT)
    t.equal("starts", guest.console.count(b"GUEST-INIT"), 1)
    if way == "t":
        t.check(guest.stderr().count("triple fault") <= 1, "it speaks of the triple fault more than once")


for letter, what in (("k", "keyboard"), ("a", "acpi"), ("t", "triple_fault"), ("p", "pci"), ("b", "bios")):
    add_case(f"power_no_reboot_{what}", lambda t, way=letter: restart_ends(t, way))


@case
def power_panic(t):
    """panic=-1 restarts at once."""
    guest = t.guest(do="panic", reboot=True, kernel=f"{t.cloud}/vmlinux")
    guest.expect(rb"GUEST-INIT", BOOT)
    guest.expect(rb"GUEST-INIT", BOOT)
    guest.kill(signal.SIGTERM)
    guest.ended(0)


@case
def power_panic_no_reboot(t):
    guest = t.guest(do="panic", kernel=f"{t.cloud}/vmlinux")
    guest.ended(0, BOOT)
    t.equal("starts", guest.console.count(b"GUEST-INIT"), 1)


@case
def power_button(t):
    """Ctrl-a p is the power button: the guest gets an input event, and powers itself off."""
    guest = t.guest(do="button", console="-serial mon:stdio", tty=True)
    guest.expect(rb"GUEST-READY", BOOT)
    guest.send("\x01p")
    guest.expect(rb"GUEST-BUTTON", STEP)
    guest.ended(0)
