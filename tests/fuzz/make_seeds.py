#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes small valid inputs for the fuzzers: make_seeds.py DIR gives DIR/<fuzzer>/<seed>."""
import gzip
import lzma
import os
import struct
import sys
import uuid
import zlib

PREF = 2 << 20


def elf(bits, segments, entry, note=b"", size=0x600):
    """An ELF executable; `segments` are (offset, vaddr, paddr, filesz, memsz), `note` lies at 0x200."""
    headers = [(1, *s) for s in segments] + ([(4, 0x200, 0, 0, len(note), len(note))] if note else [])
    machine = 62 if bits == 64 else 3
    out = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9)
    if bits == 64:
        out += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, len(headers), 0, 0, 0)
        for kind, offset, vaddr, paddr, filesz, memsz in headers:
            out += struct.pack("<IIQQQQQQ", kind, 7, offset, vaddr, paddr, filesz, memsz, 4)
    else:
        out += struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, 0, 52, 32, len(headers), 0, 0, 0)
        for kind, offset, vaddr, paddr, filesz, memsz in headers:
            out += struct.pack("<IIIIIIII", kind, offset, vaddr, paddr, filesz, memsz, 7, 4)
    out = out.ljust(0x200, b"\0") + note
    return out.ljust(size, b"\xc3")


def pvh_note(entry):
    return struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)


def multiboot(flags, addresses=()):
    magic = 0x1BADB002
    return struct.pack("<III", magic, flags, -(magic + flags) & 0xFFFFFFFF) + struct.pack("<%dI" % len(addresses), *addresses)


def lz4(data):
    """A block of literals only."""
    extra = len(data) - 15
    block = b"\xf0" + b"\xff" * (extra // 255) + bytes([extra % 255]) + data
    return struct.pack("<II", 0x184C2102, len(block)) + block


def zstd(data):
    """A frame with one raw block."""
    return b"\x28\xb5\x2f\xfd\x60" + struct.pack("<H", len(data) - 256) + (1 | len(data) << 3).to_bytes(3, "little") + data


def bzimage(payload, version=0x20F):
    part = b"\x90" * 0x240 + payload
    part = part.ljust(-(-len(part) // 16) * 16, b"\0")
    setup = bytearray(1024)
    struct.pack_into("<BHI", setup, 0x1F1, 1, 0, len(part) // 16)
    struct.pack_into("<HBB4sH", setup, 0x1FE, 0xAA55, 0xEB, 0x6A, b"HdrS", version)
    setup[0x211] = 1
    struct.pack_into("<IIBBHI", setup, 0x22C, 0x7FFFFFFF, 1 << 21, 1, 21, 1, 2047)
    struct.pack_into("<II", setup, 0x248, 0x240, len(payload))
    struct.pack_into("<QI", setup, 0x258, PREF, 1 << 20)
    return bytes(setup) + part


def kernels():
    vmlinux = elf(64, [(0x400, 0xFFFFFFFF81000000, PREF, 0x100, 0x1000), (0x500, 0, PREF + 0x2000, 0x80, 0x80)], PREF)
    size = struct.pack("<I", len(vmlinux))
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]
    xz = lzma.compress(vmlinux, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters)
    alone = lzma.compress(vmlinux, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}])
    yield "bzimage-gzip", bzimage(gzip.compress(vmlinux, mtime=0))
    yield "bzimage-xz", bzimage(xz + size)
    yield "bzimage-lzma", bzimage(alone + size)
    yield "bzimage-lz4", bzimage(lz4(vmlinux) + size)
    yield "bzimage-zstd", bzimage(zstd(vmlinux) + size)
    yield "bzimage-unknown", bzimage(b"BZh9" + bytes(64))
    yield "bzimage-old", bzimage(gzip.compress(vmlinux, mtime=0), 0x208)
    yield "vmlinux", vmlinux
    yield "pvh64", elf(64, [(0x400, 0, PREF, 0x100, 0x1000)], PREF, pvh_note(PREF + 16))
    yield "pvh32", elf(32, [(0x400, 0, PREF, 0x100, 0x1000)], PREF, pvh_note(PREF + 16))
    image = bytearray(elf(32, [(0x400, 0xC0200000, PREF, 0x100, 0x1000)], 0xC0200000))
    image[0x300:0x30C] = multiboot(3)
    yield "multiboot-elf", bytes(image)
    kludge = multiboot(0x10003, (PREF + 0x20, PREF, PREF + 0x100, PREF + 0x1000, PREF + 0x40))
    yield "multiboot-addresses", (bytes(0x20) + kludge).ljust(0x200, b"\xf4")


def options():
    """Command lines, one word after the other, of an odd length so that a kernel goes with them."""
    lines = (
        "-drive file=F,format=raw,if=virtio,cache=none,aio=native,readonly=on",
        "-drive file=F,if=none,id=d,throttling.iops-total=100,throttling.iops-total-max=200,discard=unmap -device virtio-blk-pci,drive=d,serial=s",
        "-blockdev driver=file,filename=F,node-name=f -blockdev driver=raw,file=f,node-name=r -device virtio-blk-pci,drive=r,num-queues=4",
        '-blockdev {"driver":"raw","node-name":"r","file":{"driver":"file","filename":"F","cache":{"direct":true}}} -device virtio-blk,drive=r',
        "-object iothread,id=t -drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,iothread=t,queue-size=8,logical_block_size=4096",
        "-device virtio-serial-pci,id=v -chardev null,id=c -device virtconsole,chardev=c,bus=v.0,nr=0",
        "-object rng-random,id=r,filename=/dev/urandom -device virtio-rng-pci,rng=r,max-bytes=9,period=1",
        "-blockdev qcow2,node-name=q,file=f,backing=b,l2-cache-size=1M -blockdev file,node-name=f,filename=F -blockdev vdi,node-name=b,file.driver=file,"
        "file.filename=B -device virtio-blk,drive=q",
        '-blockdev {"driver":"qcow2","node-name":"q","file":{"driver":"file","filename":"F"},"backing":null,"data-file":{"driver":"file","filename":"D"}}',
        "-snapshot -drive file=F,format=qcow2,backing.driver=qcow2,backing.file.filename=B,backing.backing=,lazy-refcounts=on",
        "-netdev tap,id=t,ifname=i,queues=4,vhost=on,script=no -device virtio-net-pci,netdev=t,mac=52:54:00:00:00:01,mq=on,rx-bps=5,tx-pps-max=9",
        "-netdev tap,id=t,fds=3:4,vhostfds=5:6 -netdev bridge,id=b,br=x -nic none -nic user,hostfwd=tcp::1-:2,restrict=on,model=virtio",
        "-netdev stream,id=s,addr.type=unix,addr.path=p,reconnect=1 -netdev dgram,id=d,local.type=fd,local.str=3 -net nic -net user",
        '-netdev {"type":"user","id":"u","hostfwd":[{"str":"tcp::1-:2"}]} -netdev socket,id=k,connect=[::1]:5 -device virtio-net,netdev=k',
        "-drive file=F,throttling.group=g,throttling.bps-read=5 -drive file=G,throttling.group=g,throttling.bps-read=5",
        "-device virtio-scsi-pci,id=s,num_queues=2,addr=5 -device scsi-cd,bus=s.0,scsi-id=1,lun=2 -drive file=F,if=none,id=d -device scsi-hd,drive=d,"
        "rotation_rate=1,serial=S,bootindex=1,logical_block_size=4096",
        "-cdrom C -hda H -drive file=G,if=scsi,index=3 -drive file=I,media=cdrom",
        "-chardev socket,id=a,host=h,port=1,server=on,wait=off -chardev socket,id=b,fd=9 -chardev socket,id=c,path=P,reconnect=3 -mon chardev=a,mode=control",
        "-qmp tcp:[::1]:5,server=on -qmp-pretty unix:P -serial tcp::1 -monitor none -no-shutdown -S",
        "-serial mon:stdio -serial none -device isa-serial,chardev=x,index=3 -chardev null,id=x,mux=on -debugcon file:F -action reboot=shutdown",
        "-machine microvm,acpi=off,pit=off,rtc=on,isa-serial=off -device virtio-blk-device,drive=d -drive if=none,id=d,file=F -device virtio-rng-device",
        "-smbios type=0,release=1.2,uefi=on -smbios type=4,processor-id=5,max-speed=9 -smbios type=11,value=a,value=b,path=P -smbios file=F -uuid "
        "12345678-1234-1234-1234-123456789abc",
        "-smp 4,sockets=1,cores=2 -m 1G -cpu host,+avx,-sse -rtc base=2020-01-02T03:04:05 -name guest=g,process=p -d debug -append x -initrd y",
        "-object throttle-group,id=g,x-iops-total=9,x-iops-total-max=10 -blockdev throttle,node-name=t,throttle-group=g,file.driver=file,file.filename=F "
        "-device virtio-blk,drive=t",
    )
    firmware = (
        "-bios B -boot order=cdn,once=d,menu=on,splash-time=5,reboot-timeout=-1,strict=on -fw_cfg opt/a,string=x -fw_cfg name=opt/b,file=F -L D",
        "-hda H -net nic,model=virtio -net user -vga none -usb",
    )
    for n, line in enumerate(lines + firmware):
        data = line.replace(" ", "\0").encode()
        yield f"line-{n}", data if len(data) % 2 == (line in lines) else data + b"\0"


MAGICS = (b"QFI\xfb\0\0\0\3", b"KDMV\1\0\0\0", b"COWD", b"conectix", b"vhdxfile", b"QED\0", b"LUKS\xba\xbe", b"WithoutFreeSpace",
          b"# comment\n# Disk DescriptorFile\nversion=1\n", b"\n \t# Disk DescriptorFile\n")


def probes():
    """A format's magic as the head; and as what a guest writes over a raw one."""
    for n, magic in enumerate(MAGICS):
        yield f"head-{n}", bytes([31, len(magic), 0]) + magic
        yield f"write-{n}", bytes([31, 0, 0, 6, 8]) + magic.ljust(1024, b"\0") + bytes(12)
    yield "zeroes", bytes([31, 0, 2]) + b"\1" * 512 + bytes([3, 0, 0, 4, 9, 1, 5, 0, 0])


def vmdk_head(capacity, flags, gd, algorithm, descriptor=0):
    head = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", 3 if algorithm else 1, flags, capacity, 8, descriptor, 1 if descriptor else 0, 512, gd, gd, 8, 0,
                       b"\n \r\n", algorithm)
    return head.ljust(512, b"\0")


def vmdks():
    text = b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW 64 SPARSE "x"\n'
    tables = struct.pack("<I", 3).ljust(512, b"\0") + struct.pack("<4I", 8, 0, 1, 16).ljust(2048, b"\0")
    yield "sparse", vmdk_head(64, 7, 2, 0, 1) + text.ljust(512, b"\0") + tables + bytes(512) + b"data" * 2048
    packed = zlib.compress(bytes(range(256)) * 16)
    grain = (struct.pack("<QI", 0, len(packed)) + packed).ljust(512, b"\0")
    tables = struct.pack("<I", 4).ljust(512, b"\0") + struct.pack("<2I", 1, 0).ljust(2048, b"\0")
    footer = struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + vmdk_head(64, 0x30001, 3, 1) + bytes(512)
    yield "stream", vmdk_head(64, 0x30001, 2**64 - 1, 1) + grain + bytes(512) + tables + footer
    yield "flat", text.replace(b'RW 64 SPARSE "x"', b'RW 1 FLAT "x" 0\nRW 8 ZERO').ljust(1024, b"\n")


def vdis():
    for kind in (1, 2):
        head = bytearray(512)
        struct.pack_into("<IIIII", head, 0x40, 0xBEDA107F, 0x10001, 400, kind, 0)
        struct.pack_into("<II", head, 0x154, 512, 1024)
        struct.pack_into("<I", head, 0x168, 512)
        struct.pack_into("<QIIII", head, 0x170, 4096, 1024, 0, 4, 2)
        yield f"type{kind}", bytes(head) + struct.pack("<4I", 1, 0xFFFFFFFF, 0, 0xFFFFFFFE).ljust(512, b"\0") + b"data" * 1024


def vpcs():
    def footer(kind, where):
        f = struct.pack(">8sIIQI4sIIQQHBBII16sB", b"conectix", 2, 0x10000, where, 0, b"win ", 0x50003, 0, 8192, 8192, 2, 2, 4, kind, 0, bytes(16), 0)
        return f.ljust(512, b"\0")
    head = struct.pack(">8sQQIIII", b"cxsparse", 2**64 - 1, 1536, 0x10000, 4, 2048, 0).ljust(1024, b"\0")
    yield "dynamic", footer(3, 512) + head + struct.pack(">4I", 4, 2**32 - 1, 9, 2**32 - 1).ljust(512, b"\xff") + b"data" * 1280 + footer(3, 512)
    yield "fixed", b"data" * 2048 + footer(2, 2**64 - 1)


def vhdxs():
    """The pieces that fuzz_vhdx puts where they belong."""
    def guid(text):
        return uuid.UUID(text).bytes_le
    head = struct.pack("<4sIQ16s16s16sHHIQ", b"head", 0, 1, bytes(16), bytes(16), bytes(16), 0, 1, 1 << 20, 1 << 20)
    regions = struct.pack("<4sIII", b"regi", 0, 2, 0) + guid("2dc27766-f623-4200-9d64-115e9bfd4a08") + struct.pack("<QII", 0x60000, 0x10000, 1) + \
        guid("8b7ca206-4790-4b9a-b8fe-575f050f886e") + struct.pack("<QII", 0x50000, 0x10000, 1)
    meta = b"metadata" + struct.pack("<HH20x", 0, 3)
    for at, (name, size) in enumerate((("caa16737-fa36-4d43-b3b6-33f0aa44e76b", 8), ("2fa54224-cd1b-4876-b211-5dbed83bf4b8", 8),
                                       ("8141bf1d-a96f-4709-ba47-f233a8faab5f", 4))):
        meta += guid(name) + struct.pack("<IIII", 2048 + 8 * at, size, 4, 0)
    meta = meta.ljust(2048, b"\0") + struct.pack("<IIQI", 1 << 20, 0, 3 << 20, 512)
    yield "dynamic", head + regions.ljust(336, b"\0") + meta.ljust(4096, b"\0") + struct.pack("<3Q", 6 | 1 << 20, 0, 2)


QCOW2_KINDS = 8  # of sound images that fuzz_qcow2 has: one for each group of features
QCOW2_FIELDS = ((8, 8, 4000), (16, 4, 9), (20, 4, 12), (24, 8, 1 << 40), (36, 4, 2), (40, 8, 4096), (48, 8, 8192), (56, 4, 2), (60, 4, 1),
                (60, 4, 2), (64, 8, 8192), (72, 8, 1), (72, 8, 2), (72, 8, 4), (72, 8, 16), (80, 8, 1), (88, 8, 1), (96, 4, 6), (104, 1, 1))


def qcow2s():
    """Places and bytes over one of the sound images, and in the last byte what is done with it."""
    def change(at, value, size):
        return at.to_bytes(3, "big") + value.to_bytes(size, "big").ljust(8, b"\0") + bytes([size])
    for kind in range(QCOW2_KINDS):
        for what in (0, 1 | 8, 2 | 4, 16, 64 | 16, 128):
            yield f"sound-{kind}-{what}", bytes([kind, what])
        for n, (at, size, value) in enumerate(QCOW2_FIELDS):
            yield f"header-{kind}-{n}", bytes([kind]) + change(at, value, size) + bytes([7])
        for n, at in enumerate(range(512, 40960, 1024)):
            value = (1 << 63 | 4096, 1 << 62 | 4096, 1, 3 << 62 | 512, 0)[n % 5]
            yield f"table-{kind}-{n}", bytes([kind]) + change(at + n % 4 * 8, value, 8) + bytes([7 | n % 2 * 16])


def tcp_frame(version, flags, options=b"", data=b"", dst=bytes([10, 0, 2, 2]), port=80):
    """An Ethernet frame with a TCP segment, its checksums zero."""
    tcp = struct.pack(">HHIIBBHHH", 1000, port, 1, 2, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0) + options + data
    if version == 4:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + bytes([10, 0, 2, 15]) + dst
    else:
        ip = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + bytes(range(32))
    return bytes(12) + (b"\x08\x00" if version == 4 else b"\x86\xdd") + ip + tcp


def wire(frame, hdr=bytes(12)):
    return struct.pack(">I", len(hdr) + len(frame)) + hdr + frame


def frames():
    """The stream from Kite to its helper, behind the guest's offloads."""
    mss = b"\2\4\5\xb4"
    csum = struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 16, 0)
    tso = struct.pack("<BBHHHHH", 1, 1, 54, 1460, 34, 16, 0)
    arp = b"\xff" * 6 + bytes(6) + bytes([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]) + bytes(16) + bytes([169, 254, 169, 254])
    for version in (4, 6):
        syn, large = tcp_frame(version, 2, mss + b"\1\1\1\0"), tcp_frame(version, 0x18, data=bytes(9000))
        yield f"tcp{version}", b"\x0e" + wire(syn) + wire(large, tso) + wire(syn, csum)
        yield f"cut{version}", b"\0" + wire(syn) + wire(large)
    yield "metadata", b"\x0e" + wire(tcp_frame(4, 2, mss, dst=bytes([169, 254, 169, 254])), csum) + wire(arp)


def streams():
    """Frames of a peer, behind how the guest takes them."""
    for n, start in enumerate((b"\3\0\0", b"\2\1\x0e", b"\7\2\0")):
        hdr = bytes(12) if start[1] & 1 else b""
        yield f"stream-{n}", start + b"".join(wire(bytes(size), hdr) for size in (14, 60, 1514, 20000, 13))


def requests():
    for n, text in enumerate(("GET /latest/meta-data/ HTTP/1.1\nHost: 169.254.169.254\nUser-Agent: curl/7.88\nAccept: */*\n\n",
                              "PUT /latest/api/token HTTP/1.1\nHost: x\nX-aws-ec2-metadata-token-ttl-seconds: 60\nContent-Length: 0\n\n",
                              "HEAD /a%20b?c HTTP/1.0\nConnection: keep-alive, close\nX-aws-ec2-metadata-token: abc\nX-Forwarded-For: y\n\n",
                              "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n")):
        yield f"request-{n}", text.replace("\n", "\r\n").encode()


def network_options():
    yield "addresses", b"net=192.168.76.0/24\nhost=192.168.76.1\ndhcpstart=192.168.76.9\nipv6-net=2001:db8::/48\nrestrict=on\nhostname=h\n"
    yield "rules", b"hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22\nguestfwd=tcp:10.0.2.100:80-cmd:sh -c 'a \\b'\ndnssearch=x\nmetadata=/d"
    yield "command", b"udp::53-:5353"


def qmp():
    """What clients say; the lengths of pieces follow from the first bytes."""
    def ask(name, args=""):
        return f'{{"execute":"{name}"{args}}}\n'.encode()

    names = ("query-commands", "query-block", "query-machines", "qom-list-types", "stop", "cont", "system_reset", "quit")
    yield "many", b"".join(map(ask, names))
    for name in names:
        yield name, ask(name)
    yield "types", ask("qom-list", ',"arguments":{"path":"/machine"},"id":1') + ask("device-list-properties", ',"arguments":{"typename":"isa-serial"}')
    yield "human", ask("human-monitor-command", ',"arguments":{"command-line":"info status"}')
    yield "capabilities", ask("migrate-set-capabilities", ',"arguments":{"capabilities":[{"capability":"events","state":true}]}')
    yield "limits", ask("block_set_io_throttle", ',"arguments":{"device":"d","bps":1,"bps_rd":0,"bps_wr":0,"iops":0,"iops_rd":0,"iops_wr":0}')
    yield "descriptors", ask("getfd", ',"arguments":{"fdname":"a"}') + ask("add-fd") + ask("query-fdsets")
    yield "deep", b"{" * 70 + b"\n" + ask("query-name")


def small_devices():
    """A few steps of everything, for the fuzzers whose input is a row of steps of one size."""
    for n, size in enumerate((6, 12)):
        yield f"steps-{n}", bytes((i * 37 + i // size * 11) & 0xff for i in range(size * 64))


def main():
    makers = {"serial": small_devices, "rtc": small_devices, "isa": small_devices, "virtio_regs": small_devices, "tables": small_devices,
              "user": small_devices, "kernel": kernels, "options": options, "probe": probes, "framed": streams, "usernet_frames": frames, "usernet_http": requests,
              "usernet_config": network_options, "qcow2": qcow2s, "vmdk": vmdks, "vdi": vdis, "vpc": vpcs, "vhdx": vhdxs,
              "qmp": qmp}
    for fuzzer, seeds in makers.items():
        where = os.path.join(sys.argv[1], fuzzer)
        os.makedirs(where, exist_ok=True)
        for name, data in seeds():
            with open(os.path.join(where, name), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
