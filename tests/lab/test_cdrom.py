# SPDX-License-Identifier: MIT
"""CDs to boot from (El Torito): sectors of our own, ejected and changed; GRUB with memtest86+. And a network card's own ROM."""
import os
import shutil

from guests import boot_code, boot_sector, disk, provided
from harness import BOOT, Skip, case
from test_firmware import network
from test_resize import controlled, order

SECTOR = 2048
GRUB_MODULES = ("iso9660", "biosdisk", "normal", "linux", "boot", "serial", "terminal", "echo")
GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_output serial
echo GRUB runs
linux /memtest console=ttyS0,115200
boot
"""


def bootable(t, name, image, *options, files=()):
    """A CD that boots from `image`, a file's name and its bytes, without emulating another medium; and `files`, {name: bytes}."""
    directory, path = t.path(f"{name}.d"), t.path(f"{name}.iso")
    os.mkdir(directory)
    for file, data in {**dict(files), image[0]: image[1]}.items():
        with open(f"{directory}/{file}", "wb") as out:
            out.write(data)
    t.host("genisoimage", "-quiet", "-R", "-V", name, "-b", image[0], "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", *options,
           "-o", path, directory)
    return path


def our_cd(t, name):
    """A CD with bootsector.S, which finds words in the medium's second sector."""
    path = bootable(t, name, ("boot.bin", boot_code(t, name).ljust(SECTOR, b"\0")))
    with open(path, "r+b") as file:  # the first 16 sectors are nobody's
        file.seek(SECTOR)
        file.write(f"sector of {name}\r\n".encode())
    return path


@case
def cdrom_boots(t):
    """A CD alone, then with `-boot d` before a disk; changed and ejected between resets, until the firmware finds a medium again."""
    cds = [our_cd(t, name) for name in ("ONE_", "TWO_")]
    guest = t.run("-m", "64", "-nographic", "-boot", "d", "-cdrom", cds[0], *disk(boot_sector(t, "DISK")))
    guest.expect(rb"BOOTED disk ONE_ time 1", BOOT)
    guest.send("d")
    guest.expect(rb"sector of ONE_")
    guest.close()
    fifo = controlled(t)
    guest = t.run("-m", "64", "-nographic", "-boot", "reboot-timeout=1000", "-device", "virtio-scsi-pci,id=s",
                  "-drive", f"if=none,id=c,media=cdrom,file={cds[0]}", "-device", "scsi-cd,drive=c,id=cd,bus=s.0")
    guest.expect(rb"BOOTED disk ONE_ time 1", BOOT)
    order(t, guest, fifo, f"change cd {cds[1]}", "ok")
    guest.send("r")
    guest.expect(rb"BOOTED disk TWO_ time 2", BOOT)
    guest.send("d")
    guest.expect(rb"sector of TWO_")
    order(t, guest, fifo, "eject cd", "ok")
    guest.send("r")
    guest.expect(rb"No bootable device.*Retrying", BOOT)
    order(t, guest, fifo, f"change cd {cds[0]}", "ok")
    guest.expect(rb"BOOTED disk ONE_ time 3", BOOT)
    guest.send("q")
    guest.ended(0)


@case
def cdrom_memtest(t):
    """A CD with GRUB, from which memtest86+ starts: it finds the memory that there is and tests it, on the serial console."""
    program = f"{provided('LAB_MEMTEST', 'memtest86+')}/boot/memtest86+x64.bin"
    if not shutil.which("grub-mkimage"):
        raise Skip("no grub-mkimage: install grub-pc-bin")
    config = t.write("grub.cfg", GRUB_CONFIG.encode())
    t.host("grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/", "-c", config, "-o", t.path("core"), *GRUB_MODULES)
    with open(program, "rb") as memtest, open(t.path("core"), "rb") as core:
        cd = bootable(t, "MEMTEST", ("grub.bin", core.read()), "-boot-info-table", files={"memtest": memtest.read()})
    guest = t.run("-m", "64", "-nographic", "-smp", "2", "-cdrom", cd)
    guest.expect(rb"GRUB runs", BOOT)
    guest.expect(rb"Memtest86\+", BOOT)
    guest.expect(rb"Address test", BOOT)


@case
def firmware_romfile(t):
    """romfile= names a card's ROM, here a copy of iPXE's that is nowhere else; the card boots by it."""
    rom = shutil.copy("/usr/lib/ipxe/qemu/pxe-virtio.rom", t.path("mine.rom"))
    guest = t.run("-m", "128", "-nographic", *network(t, b"#!ipxe\necho FETCHED ${net0/ip} ${net0/mac}\nexit\n")[:-1],
                  f"virtio-net-pci,netdev=n,mac=52:54:00:0a:0b:0c,bootindex=0,romfile={rom}")
    guest.expect(rb"iPXE", BOOT)
    guest.expect(rb"FETCHED 10\.0\.2\.15 52:54:00:0a:0b:0c", BOOT)
