# SPDX-License-Identifier: MIT
"""The guest finds the memory it was given, on both sides of the PCI hole."""
from harness import case


def sees(t, mib, size=None):
    """MemTotal is what was given less what a kernel takes for itself: its image, a 64th for page structures, some for ACPI."""
    guest = t.guest(do="poweroff", memory=size or mib, kernel=f"{t.cloud}/vmlinux")
    got = int(guest.facts()["memory"]) / 1024
    guest.ended(0)
    t.check(mib * 61 / 64 - 48 <= got <= mib, f"the guest sees {got:.0f} MiB of {mib}")


@case
def memory_128(t):
    sees(t, 128)


@case
def memory_3g(t):
    sees(t, 3072)


@case
def memory_5g(t):
    sees(t, 5120, "5G")
