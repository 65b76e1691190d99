# SPDX-License-Identifier: MIT
"""virtio-scsi with Linux's drivers: disks and CD-ROM drives."""
import os

from disks import MIB, answer, blocks, end, fio, md5, new_file, shell
from test_resize import controlled, order, wait_size
from harness import STEP, case

FLAT_300 = 0x4000 | 300  # Linux shows a LUN with its addressing method
DISKS = 5  # scsi-hd, beside two CD-ROM drives and one that a -drive makes

# Names of block devices are given in the order of finding them, so tests ask for them by target and LUN.
NODE = "n() { ls /sys/bus/scsi/devices/0:0:$1:$2/block; }\n"


def iso(t, name, label, files):
    """An image of a CD with `files`, {name: bytes}."""
    directory, path = t.path(f"{name}.d"), t.path(f"{name}.iso")
    os.mkdir(directory)
    for file, data in files.items():
        with open(f"{directory}/{file}", "wb") as out:
            out.write(data)
    t.host("genisoimage", "-quiet", "-R", "-V", label, "-o", path, directory)
    return path


def adapter(t):
    """An adapter with eight units: options, and the disks' files."""
    files = [new_file(t.path(f"s{n}.raw"), 32 * MIB) for n in range(DISKS + 1)]
    cd = iso(t, "first", "KITE", {"hello": b"from the CD\n", "big": bytes(range(256)) * 4096})
    options = ["-smp", "2", "-object", "iothread,id=io0", "-device", "virtio-scsi-pci,id=a,num_queues=2,iothread=io0"]
    units = ["scsi-id=0,lun=0,serial=KITE-1,wwn=0x5000c500a0000001,rotation_rate=1", "scsi-id=0,lun=3,product=NAMED,vendor=TEST,ver=7",
             "scsi-id=2,lun=300,logical_block_size=4096", "scsi-id=5", "scsi-id=255,lun=1,write-cache=off"]
    for n, unit in enumerate(units):
        flags = {1: ",discard=unmap", 3: ",readonly=on"}.get(n, "")
        options += ["-drive", f"if=none,id=d{n},file={files[n]},format=raw{flags}", "-device", f"scsi-hd,drive=d{n},bus=a.0,{unit}"]
    options += ["-drive", f"if=none,id=cd0,file={cd}", "-device", "scsi-cd,drive=cd0,scsi-id=6,bus=a.0", "-device", "scsi-cd,scsi-id=7,bus=a.0",
                "-drive", f"if=scsi,file={files[DISKS]},format=raw,index=9"]
    return options, files, cd


@case
def scsi_units(t):
    """Eight units on one adapter, as Linux and sg3-utils see them; data, file systems, discards, caches, resets, CDs."""
    options, files, cd = adapter(t)
    guest = shell(t, *options, tools=True, drivers="scsi")
    guest.send(NODE)
    t.equal("units", answer(guest, "ls /sys/bus/scsi/devices | grep -c '^0:0'"), "8")
    listed = answer(guest, "/tools/lsscsi -s")
    for words in ("[0:0:0:0]", "disk KITE KITE HARDDISK 1.0", "disk TEST NAMED 7", f"[0:0:2:{FLAT_300}]", "cd/dvd KITE KITE CD-ROM"):
        t.check(words in " ".join(listed.split()), f"lsscsi says {listed!r}, without {words!r}")
    t.equal("queues", answer(guest, "ls /sys/block/$(n 0 0)/mq | wc -l"), "2")
    t.equal("serial", answer(guest, "sg_inq -p sn /dev/$(n 0 0) | grep -o KITE-1"), "KITE-1")
    t.equal("pages", answer(guest, "for p in sv di ei bl bdc lbpv; do sg_vpd -q -p $p /dev/$(n 0 3) >/tmp/p 2>&1; echo $?; done"), "0 0 0 0 0 0")
    t.equal("wwn", answer(guest, "sg_vpd -p di /dev/$(n 0 0) | grep -o -i 5000c500a0000001 | head -n 1"), "5000c500a0000001")
    t.equal("capacity", answer(guest, "sg_readcap -l /dev/$(n 2 16684) | grep -o 'Logical block length=[0-9]*\\|Last LBA=[0-9]*'"),
            f"Last LBA={32 * MIB // 4096 - 1} Logical block length=4096")
    t.equal("rotational", answer(guest, "cat /sys/block/$(n 0 0)/queue/rotational /sys/block/$(n 0 3)/queue/rotational"), "0 1")
    t.equal("read-only", answer(guest, "cat /sys/block/$(n 5 0)/ro /sys/block/$(n 9 0)/ro"), "1 0")
    t.check("nvalid" in answer(guest, "sg_persist -k /dev/$(n 0 0) 2>&1"), "persistent reservations are not refused")
    caches(t, guest)
    data(t, guest, files)
    resets(t, guest)
    discs(t, guest, cd)
    t.check("rror" not in answer(guest, "dmesg | grep -i 'i/o error\\|virtio_scsi.*rror\\|medium error'"), "the guest's log tells of errors")
    end(guest)


def caches(t, guest):
    """Write caches: what is configured, and that the driver's switch works."""
    cache = "/sys/class/scsi_disk/0:0:{}/cache_type"
    t.equal("cache", answer(guest, f"cat {cache.format('0:0')} {cache.format('255:1')}"), "write back write through")
    guest.send(f"echo 'write through' >{cache.format('0:0')}\n")
    t.equal("cache off", answer(guest, f"echo 1 >/sys/class/scsi_disk/0:0:0:0/device/rescan; cat {cache.format('0:0')}"), "write through")
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=4 2>/dev/null; dd if=/tmp/f of=/dev/$(n 0 0) bs=64k oflag=direct 2>/dev/null\n")
    guest.send(f"echo 'write back' >{cache.format('0:0')}\n")
    t.equal("cache on", answer(guest, f"echo 1 >/sys/class/scsi_disk/0:0:0:0/device/rescan; cat {cache.format('0:0')}"), "write back")


def data(t, guest, files):
    """What is written comes back, here and on the host; a file system works, and gives back what it no longer needs."""
    t.equal("the file on the host", md5(files[0], 4 * MIB), answer(guest, "md5sum </tmp/f")[:32])
    verify = "--verify=crc32c --verify_fatal=1 --direct=1 --size=8m --iodepth=8"
    nodes = answer(guest, "n 0 0; n 2 16684").split()
    fio(t, guest, verify, {"one": f"--filename=/dev/{nodes[0]} --rw=randwrite --ioengine=libaio --bs=4k-64k --bsrange=4k-64k",
                           "two": f"--filename=/dev/{nodes[1]} --rw=randrw --ioengine=libaio --bs=4k"}, 4 * STEP)
    t.equal("ext4", answer(guest, "mkfs.ext4 -q /dev/$(n 0 3) && mkdir -p /mnt && mount -t ext4 /dev/$(n 0 3) /mnt && cp /tmp/f /mnt/f && sync && "
                                  "umount /mnt && mount -t ext4 /dev/$(n 0 3) /mnt && cmp /mnt/f /tmp/f; echo $?"), "0")
    before = blocks(files[1])
    t.equal("fstrim", answer(guest, "rm /mnt/f; sync; /tools/fstrim /mnt; echo $?; umount /mnt"), "0")
    t.check(blocks(files[1]) < before - 3 * MIB, f"after the discard the file has {blocks(files[1])} bytes, before {before}")
    t.equal("zeroes", answer(guest, "/tools/blkdiscard -z -o 1048576 -l 1048576 /dev/$(n 0 0); dd if=/dev/$(n 0 0) bs=1M skip=1 count=1 "
                                    "iflag=direct 2>/dev/null | tr -d '\\0' | wc -c"), "0")


def resets(t, guest):
    """Resets of a unit under load (Linux's driver knows no others): every one is answered, and the data are right."""
    load = "(for i in 1 2 3 4 5 6; do dd if=/tmp/f of=/dev/$(n 9 0) bs=64k oflag=direct 2>/dev/null; echo $?; done >/tmp/loaded) &"
    t.equal("resets", answer(guest, f"{load} for k in 1 2 3 4; do sg_reset -d /dev/$(n 9 0) >/dev/null 2>&1; echo $?; done; wait; cat /tmp/loaded", 5 * STEP),
            "0 0 0 0 0 0 0 0 0 0")
    t.equal("after resets", answer(guest, "dd if=/dev/$(n 9 0) bs=1M count=4 iflag=direct 2>/dev/null | cmp - /tmp/f; echo $?"), "0")


def discs(t, guest, cd):
    """A CD is mounted and read, ejected and loaded; an empty drive says so."""
    mount = "mount -t iso9660 -o ro /dev/$(n 6 0) /mnt"
    t.equal("a CD", answer(guest, f"{mount} && cat /mnt/hello && wc -c </mnt/big; umount /mnt"), f"from the CD {MIB}")
    t.equal("the whole CD", answer(guest, "md5sum </dev/$(n 6 0)", 2 * STEP)[:32], md5(cd, os.path.getsize(cd)))
    t.equal("ejected", answer(guest, f"sg_start --eject /dev/$(n 6 0); {mount} 2>/dev/null; echo $?; sg_start --load /dev/$(n 6 0); sleep 1; {mount}; echo $?; umount /mnt"),
            "255 0")
    t.check("o medium found" in answer(guest, "sg_inq /dev/$(n 7 0) >/dev/null && "
                                                 "dd if=/dev/$(n 7 0) of=/dev/null count=1 2>&1"), "an empty drive does not say so")


@case
def scsi_cdrom(t):
    """-cdrom alone, with the legacy interface, then with the modern one; it is read-only, also to those who ask nobody."""
    cd = iso(t, "alone", "ALONE", {"hello": b"hello\n"})
    before = md5(cd, os.path.getsize(cd))
    guest = shell(t, "-cdrom", cd, drivers="scsi")
    for option in ("force_legacy=1", ""):
        guest.send(f"cd /modules/$(uname -r); rmmod virtio_scsi; rmmod virtio_pci; insmod virtio_pci.ko {option}; insmod virtio_scsi.ko; cd /; sleep 1\n")
        t.equal("a CD", answer(guest, "mkdir -p /mnt; mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/hello; umount /mnt"), "hello")
    t.check(answer(guest, "dd if=/dev/zero of=/dev/sr0 bs=2048 count=1 2>/dev/null; echo $?") != "0", "a CD is written to")
    end(guest)
    t.equal("the image", md5(cd, os.path.getsize(cd)), before)


@case
def scsi_microvm(t):
    """Over MMIO: a disk and a CD."""
    disk, cd = new_file(t.path("m.raw"), 16 * MIB), iso(t, "micro", "MICRO", {"hello": b"hello\n"})
    guest = shell(t, "-M", "microvm", "-device", "virtio-scsi-device,id=a", "-drive", f"if=none,id=d,file={disk},format=raw", "-device", "scsi-hd,drive=d",
                  "-cdrom", cd, drivers="scsi")
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=4 2>/dev/null; dd if=/tmp/f of=/dev/sda bs=256k conv=fsync 2>/dev/null\n")
    t.equal("the file on the host", answer(guest, "md5sum </tmp/f")[:32], md5(disk, 4 * MIB))
    t.equal("a CD", answer(guest, "mkdir -p /mnt; mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/hello; umount /mnt"), "hello")
    end(guest)


@case
def scsi_changes(t):
    """The user ejects and changes a CD, by force where the guest holds it; a disk grows: Linux hears of all of it."""
    fifo = controlled(t)
    cds = [iso(t, name, name.upper(), {"name": name.encode() + b"\n"}) for name in ("one", "two")]
    disk = new_file(t.path("d.raw"), 16 * MIB)
    guest = shell(t, "-device", "virtio-scsi-pci,id=a", "-drive", f"if=none,id=d,file={disk},format=raw", "-device", "scsi-hd,drive=d,scsi-id=3,lun=1",
                  "-drive", f"if=none,id=c,media=cdrom,file={cds[0]}", "-device", "scsi-cd,drive=c,id=cd", drivers="scsi")
    read = "mkdir -p /mnt; mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/name"
    t.equal("the first", answer(guest, f"{read}; umount /mnt"), "one")
    order(t, guest, fifo, f"change c {cds[1]}", "ok")
    t.equal("the second", answer(guest, read), "two")
    # Mounted: the guest holds it.
    order(t, guest, fifo, "eject c", "the guest holds the medium of 'c'; it has been asked to let it go: try again, or use force")
    t.equal("still there", answer(guest, "cat /mnt/name; umount /mnt"), "two")
    order(t, guest, fifo, "eject cd", "ok")
    t.check("o medium" in answer(guest, "dd if=/dev/sr0 of=/dev/null bs=2048 count=1 2>&1"), "a medium in an empty drive")
    order(t, guest, fifo, f"change cd {cds[0]}", "ok")
    t.equal("the first again", answer(guest, read), "one")
    order(t, guest, fifo, "eject! cd", "ok")
    t.check("rror" in answer(guest, "echo 3 >/proc/sys/vm/drop_caches; cat /mnt/name 2>&1 || echo error; umount /mnt"), "a medium that is gone is read")
    order(t, guest, fifo, "eject d", "the medium of 'd' cannot be changed: the device is not removable")
    order(t, guest, fifo, f"resize d {24 * MIB}", "ok")
    wait_size(t, guest, "sda", 24 * MIB)
    end(guest)
