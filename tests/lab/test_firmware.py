# SPDX-License-Identifier: MIT
"""Firmware: SeaBIOS, what it boots and in which order, resets into it, and what it and the guest are told."""
from guests import SLOW, boot_sector, cirros_raw, disk, metadata, type_command
from harness import BOOT, add_case, case

NOTHING = rb"No bootable device"


@case
def firmware_resets(t):
    """Every kind of reset ends in the firmware again, which boots again; the disk is read through INT 13h; the power button's end is status 0."""
    guest = t.run(*disk(boot_sector(t, "DISK", b"the second sector\r\n")), "-m", "64", "-nographic")
    guest.expect(rb"SeaBIOS", BOOT)
    guest.expect(rb"BOOTED disk DISK time 1", BOOT)
    for count, key in enumerate("rkpt", 2):
        guest.send("d")
        guest.expect(rb"the second sector")
        guest.send(key)
        guest.expect(rb"SeaBIOS", BOOT)
        guest.expect(rb"BOOTED disk DISK time %d" % count, BOOT)
    guest.send("q")
    guest.ended(0)


@case
def firmware_iothread(t):
    """The same from a disk with its own thread, many queues and four vCPUs."""
    guest = t.run(*disk(boot_sector(t, "DISK", b"the second sector\r\n"), "if=none", "id=d"), "-object", "iothread,id=io",
                  "-device", "virtio-blk-pci,drive=d,iothread=io,num-queues=4", "-smp", "4", "-nographic")
    guest.expect(rb"BOOTED disk DISK", BOOT)
    guest.send("d")
    guest.expect(rb"the second sector")
    guest.send("q")
    guest.ended(0)


@case
def firmware_modern(t):
    """The same from a disk with the modern interface alone."""
    guest = t.run(*disk(boot_sector(t, "DISK", b"the second sector\r\n"), "if=none", "id=d"),
                  "-device", "virtio-blk-pci,drive=d,disable-legacy=on", "-nographic")
    guest.expect(rb"BOOTED disk DISK", BOOT)
    guest.send("d")
    guest.expect(rb"the second sector")


@case
def firmware_order(t):
    """bootindex= decides, then the order on the bus; ESC opens the menu, which is on the console."""
    first, second = (disk(boot_sector(t, name), "if=none", f"id={name}") for name in ("AAAA", "BBBB"))
    for indexes, want in ((("", ""), b"AAAA"), (("", ",bootindex=7"), b"BBBB"), ((",bootindex=2", ",bootindex=1"), b"BBBB")):
        guest = t.run(*first, *second, "-device", f"virtio-blk-pci,drive=AAAA{indexes[0]}", "-device", f"virtio-blk-pci,drive=BBBB{indexes[1]}",
                      "-nographic")
        guest.expect(rb"BOOTED disk " + want, BOOT)
        guest.close()
    guest = t.run(*first, *second, "-device", "virtio-blk-pci,drive=AAAA", "-device", "virtio-blk-pci,drive=BBBB",
                  "-boot", "menu=on,splash-time=60000", "-nographic")
    guest.expect(rb"Press ESC for boot menu", BOOT)
    guest.send("\x1b")
    guest.expect(rb"Select boot device", BOOT)
    guest.expect(rb"2\. ", BOOT)
    guest.send("2")
    guest.expect(rb"BOOTED disk BBBB", BOOT)


@case
def firmware_scsi(t):
    """A SCSI disk is booted from, and bootindex= finds one by its target and LUN."""
    first, second = (disk(boot_sector(t, name), "if=none", f"id={name}") for name in ("AAAA", "BBBB"))
    for index, want in (("", b"AAAA"), (",bootindex=1", b"BBBB")):
        guest = t.run(*first, *second, "-device", "virtio-scsi-pci,id=s", "-device", "scsi-hd,drive=AAAA,bus=s.0",
                      "-device", f"scsi-hd,drive=BBBB,bus=s.0,scsi-id=11,lun=1{index}", "-nographic")
        guest.expect(rb"BOOTED disk " + want, BOOT)
        guest.close()


@case
def firmware_strict(t):
    """strict=on: what has no bootindex is not tried, not even the floppy drive that every PC might have."""
    bad = t.write("bad.raw", b"", 1 << 20)
    options = (*disk(bad, "if=none", "id=a"), "-device", "virtio-blk-pci,drive=a,bootindex=1", "-nographic")
    guest = t.run(*options)
    guest.expect(rb"not a bootable disk", BOOT)
    guest.expect(rb"Booting from Floppy", BOOT)
    guest.close()
    guest = t.run(*options, "-boot", "strict=on")
    guest.expect(rb"not a bootable disk", BOOT)
    guest.expect(rb"No bootable device", BOOT)
    t.check(b"Floppy" not in guest.console, "a drive without a bootindex was tried")


def network(t, script):
    """-netdev of user-mode networking that boots an iPXE script."""
    t.write("boot.ipxe", script)
    return ("-netdev", f"user,id=n,tftp={t.dir},bootfile=boot.ipxe", "-device", "virtio-net-pci,netdev=n")


@case
def firmware_network(t):
    """Network boot: iPXE's ROM gets an address and a file, and runs it; which is asked for by the order of classes, or a card's bootindex."""
    for options in (("-boot", "n", *network(t, b"#!ipxe\necho FETCHED ${net0/ip}\nexit\n")),
                    (*network(t, b"#!ipxe\necho FETCHED ${net0/ip}\nexit\n")[:-1], "virtio-net-pci,netdev=n,bootindex=1,disable-legacy=on")):
        guest = t.run("-m", "128", "-nographic", *options)
        guest.expect(rb"iPXE", BOOT)
        guest.expect(rb"FETCHED 10\.0\.2\.15", BOOT)
        guest.close()


@case
def firmware_no_network(t):
    """Without being asked for, or with romfile= empty, there is no ROM to wait for."""
    for options in (network(t, b""), ("-boot", "n", *network(t, b"")[:-1], "virtio-net-pci,netdev=n,romfile=")):
        guest = t.run("-m", "128", "-nographic", *options)
        guest.expect(NOTHING, BOOT)
        t.check(b"iPXE" not in guest.console, "there is a ROM")
        guest.close()
    guest = t.run("-m", "128", "-nographic", *network(t, b"")[:-1], "virtio-net-pci,netdev=n,romfile=nosuch.rom")
    guest.ended(1)
    t.check("there is no expansion ROM nosuch.rom" in guest.stderr(), guest.stderr())


@case
def firmware_once(t):
    """once= counts until the first reset."""
    guest = t.run(*disk(boot_sector(t, "DISK")), "-m", "128", "-nographic", "-boot", "once=n,order=c",
                  *network(t, b"#!ipxe\necho FETCHED\nexit\n"))
    guest.expect(rb"FETCHED", BOOT)
    guest.expect(rb"BOOTED disk DISK time 1", BOOT)
    guest.send("r")
    guest.expect(rb"SeaBIOS", BOOT)
    at = guest.position
    guest.expect(rb"BOOTED disk DISK time 2", BOOT)
    t.check(b"FETCHED" not in guest.console[at:], "the second start is from the network, too")


def says(t, options, *words):
    """What does not boot says so on the console."""
    guest = t.run(*options, "-m", "64", "-nographic")
    for word in words:
        guest.expect(word, BOOT)


for row in (
        ("nothing", lambda t: (), NOTHING),
        ("no_boot_sector", lambda t: disk(t.write("d.raw", b"", 1 << 20)), rb"not a bootable disk", NOTHING),
        ("truncated", lambda t: disk(t.write("d.raw", b"\x33\xc0\xfa" * 100)), rb"Boot failed", NOTHING),
        ("large_sectors", lambda t: (*disk(boot_sector(t, "DISK"), "if=none", "id=d"),
                                     "-device", "virtio-blk-pci,drive=d,logical_block_size=4096,physical_block_size=4096"), NOTHING),
):
    add_case(f"firmware_{row[0]}", lambda t, row=row: says(t, row[1](t), *row[2:]))


@case
def firmware_retries(t):
    """reboot-timeout: where nothing boots it starts again."""
    guest = t.run("-m", "64", "-nographic", "-boot", "reboot-timeout=1000")
    guest.expect(rb"Retrying in 1 seconds", BOOT)
    guest.expect(rb"SeaBIOS", BOOT)


@case
def firmware_missing(t):
    """One line says what is wrong with the firmware, and with what it would be told."""
    short = t.write("short.bin", b"x" * 1000)
    for options, words in ((("-bios", "nosuch.bin"), "there is no firmware nosuch.bin"), (("-bios", short), "its size, 1000 bytes"),
                           (("-bios", t.dir), "not a regular file"), (("-fw_cfg", f"opt/x,file={t.dir}/nosuch"), "-fw_cfg: cannot open"),
                           (("-smbios", f"file={short}"), "does not end with its strings")):
        guest = t.run(*options, "-m", "64", "-nographic")
        guest.ended(1)
        t.equal("lines", guest.stderr().count("\n"), 1)
        t.check(words in guest.stderr(), f"no '{words}' in: {guest.stderr()}")
    guest = t.run("-L", t.dir, "-bios", "short.bin", "-m", "64", "-nographic")
    guest.ended(1)
    t.check("its size, 1000 bytes" in guest.stderr(), f"-L: {guest.stderr()}")


@case
def firmware_debugcon(t):
    """SeaBIOS tells its story on port 0x402: it finds fw_cfg, the tables, and no keyboard to wait for."""
    log = t.path("log")
    guest = t.run("-m", "64", "-nographic", "-chardev", f"file,id=d,path={log}", "-device", "isa-debugcon,iobase=0x402,chardev=d")
    guest.expect(NOTHING, BOOT)
    with open(log, encoding="ascii", errors="replace") as file:
        text = file.read()
    for words in ("QEMU fw_cfg DMA interface supported", "ACPI: parse DSDT", "no PS/2 keyboard present", "Copying SMBIOS"):
        t.check(words in text, f"SeaBIOS does not say '{words}'")


@case
def firmware_cirros(t):
    """A disk image through its own boot loader to a shell; what the guest is told by SMBIOS, fw_cfg and ACPI; power-off is status 0."""
    secret = t.write("secret", b"from a file")
    guest = t.run(*disk(cirros_raw(t)), "-m", "256", "-nographic", "-smp", "2,sockets=2", "-uuid", "00112233-4455-6677-8899-aabbccddeeff",
                  "-smbios", "type=1,manufacturer=Maker,product=Product,serial=S-1", "-smbios", "type=3,asset=A-1", "-smbios", "type=2,serial=B-1",
                  "-fw_cfg", "opt/text,string=a text", "-fw_cfg", f"opt/file,file={secret}",
                  "-nic", f"user,{metadata(t, 'i-cirros')}")
    for words in (rb"SeaBIOS", rb"GRUB", rb"Linux version", rb"cirros login:"):
        guest.expect(words, SLOW)
    guest.send("cirros\n")
    guest.expect(rb"assword:")
    guest.send("gocubsgo\n")
    guest.expect(rb"\$ ")
    dmi = type_command(guest, "cd /sys/class/dmi/id; sudo head -n 1 sys_vendor product_name product_serial product_uuid chassis_asset_tag board_serial bios_vendor")
    for words in ("Maker", "Product", "S-1", "00112233-4455-6677-8899-aabbccddeeff", "A-1", "B-1", "SeaBIOS"):
        t.check(words in dmi, f"no {words} in: {dmi}")
    told = type_command(guest, "sudo modprobe qemu_fw_cfg; cd /sys/firmware/qemu_fw_cfg/by_name; sudo cat opt/text/raw opt/file/raw; ls")
    t.check("a textfrom a file" in told, f"fw_cfg: {told}")
    t.check("etc" in told, f"fw_cfg: {told}")
    t.check("2" in type_command(guest, "grep -c ^processor /proc/cpuinfo"), "not two CPUs")
    errors = type_command(guest, "sudo dmesg | grep -iE 'ACPI (Error|Warning|BIOS Error)|can.t claim|no space for' | head")
    t.equal("complaints", errors.strip(), "")
    guest.send("sudo poweroff\n")
    guest.ended(0, BOOT)


@case
def firmware_cirros_pic(t):
    """Without ACPI and the IOAPIC, PCI's interrupts come by the 8259s, as the firmware's tables and the ISA bridge's router say."""
    image = cirros_raw(t)
    with open(image, "r+b") as file:  # the boot loader's file in the image, to the same length
        at = file.read().index(b"LABEL=cirros-rootfs ro console=tty1 console=ttyS0")
        file.seek(at)
        file.write(b"LABEL=cirros-rootfs acpi=off noapic console=ttyS0")
    guest = t.run(*disk(image, "if=none", "id=d"), "-device", "virtio-blk-pci,drive=d,vectors=0", "-m", "256", "-nographic",
                  "-nic", "user,model=virtio-net-pci")
    guest.expect(rb"cirros login:", SLOW)
    guest.send("cirros\n")
    guest.expect(rb"assword:")
    guest.send("gocubsgo\n")
    guest.expect(rb"\$ ")
    told = type_command(guest, "cat /proc/cmdline; grep virtio /proc/interrupts; ip -4 addr")
    for words in ("acpi=off noapic", "XT-PIC", "10.0.2.15"):
        t.check(words in told, f"no {words}: {told}")


@case
def smbios_dmidecode(t):
    """A kernel that is entered directly is told the same: its tables, read by dmidecode."""
    guest = t.guest("-smbios", "type=1,manufacturer=Maker,uuid=00112233-4455-6677-8899-aabbccddeeff", "-smbios", "type=11,value=one,value=two",
                    "-smbios", "type=17,speed=2666", "-fw_cfg", "opt/x,string=y", append="kite.modules=virtio")
    guest.expect(rb"GUEST-READY", BOOT)
    guest.send("cd /sys/firmware/dmi/tables; od -A n -v -t x1 smbios_entry_point; echo TA''BLE; od -A n -v -t x1 DMI; echo do''ne\n")
    entry = bytes.fromhex(guest.expect(rb"\n((?: [0-9a-f ]+\r?\n)+)TABLE")[1].decode())
    table = bytes.fromhex(guest.expect(rb"\n((?: [0-9a-f ]+\r?\n)+)done")[1].decode())
    where = int.from_bytes(entry[16:24], "little")
    t.equal("entry point", entry[:5], b"_SM3_")
    dump = t.write("dump", entry)
    with open(dump, "r+b") as file:
        file.seek(where)
        file.write(table)
    text = t.host("dmidecode", "--from-dump", dump)
    for words in ("Manufacturer: Maker", "UUID: 00112233-4455-6677-8899-aabbccddeeff", "String 1: one", "String 2: two", "Speed: 2666 MT/s"):
        t.check(words in text, f"dmidecode does not say '{words}': {text}")
