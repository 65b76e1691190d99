# SPDX-License-Identifier: MIT
"""File systems on disks, made and checked by Debian's own programs on both sides."""
import subprocess

from disks import MIB, answer, end, shell
from harness import case


@case
def disk_ext4(t):
    """ext4 made in the guest: files stay whole over a new mount, and both guest and host find the file system clean."""
    disk = t.write("a.raw", b"", 64 * MIB)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=virtio", tools=True)
    t.equal("made", answer(guest, "mkfs.ext4 -q /dev/vda; mkdir /mnt; mount -t ext4 /dev/vda /mnt; echo $?"), "0")
    guest.send("for i in $(seq 20); do mkdir /mnt/$i; head -c ${i}0000 /dev/urandom >/mnt/$i/f; ln /mnt/$i/f /mnt/l$i; done; "
               "rm -r /mnt/7; cp /tools/fio /mnt/fio; cd /mnt; md5sum fio */f >/tmp/sums; cd /; sync; echo fi''lled\n")
    guest.expect(rb"filled")
    guest.send("umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 /dev/vda /mnt; cd /mnt\n")
    t.equal("the files", answer(guest, "md5sum -c /tmp/sums | grep -c OK; md5sum -c /tmp/sums | grep -v OK"), "20")
    guest.send("cd /\n")
    t.equal("clean, says the guest", answer(guest, "umount /mnt && e2fsck -fn /dev/vda >/tmp/fsck 2>&1; echo $?"), "0")
    end(guest)
    checked = subprocess.run(["e2fsck", "-fn", disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    t.equal("clean, says the host", (checked.returncode, checked.stdout if checked.returncode else ""), (0, ""))
