/* SPDX-License-Identifier: MIT */
/*
 * The options, one row each; no include guard, since cli_options.c expands it once for the parser and once for -help.
 *
 *   GROUP(title)                     a heading of -help
 *   OPTION(name, value, help, ...)   takes a value, shown as `value`
 *   SWITCH(name, help, ...)          takes none
 *   HIDDEN(name, takes_arg, ...)     not shown: other names
 */
GROUP("Machine")
OPTION("machine", "[type=]pc|microvm|none[,accel=kvm][,PROPERTY=VALUE...]", "the board, also as -M; -machine help lists them",
	.kind = CLI_OPTION_CALL, .handle = cli_machine)
HIDDEN("no-acpi", false, .kind = CLI_OPTION_CALL, .handle = cli_no_acpi)
HIDDEN("M", true, .kind = CLI_OPTION_CALL, .handle = cli_machine)
OPTION("m", "[size=]SIZE", "guest memory, in MiB or with a suffix k, M, G or T; 128 MiB if not given", .kind = CLI_OPTION_CALL,
	.handle = cli_memory)
OPTION("smp", "[cpus=]N[,sockets=N][,cores=N][,threads=N]", "1 to 64 vCPUs and their topology", .kind = CLI_OPTION_CALL,
	.handle = cli_smp)
OPTION("cpu", "host|max[,+FEATURE][,-FEATURE][,FEATURE=on|off]", "what vCPUs offer; -cpu help lists the features",
	.kind = CLI_OPTION_CALL, .handle = cli_cpu)
OPTION("name", "[guest=]NAME[,process=NAME][,debug-threads=on|off]", "the machine's name", .kind = CLI_OPTION_PROPS,
	.props = &cli_name_props)
OPTION("uuid", "UUID", "the machine's UUID, shown to the guest by SMBIOS", .kind = CLI_OPTION_CALL, .handle = cli_uuid)
OPTION("smbios", "type=0|1|2|3|4|11|17[,PROPERTY=TEXT...]|file=FILE",
	"what the guest is told of BIOS, system, board, chassis, CPUs, OEM strings, memory; or a structure of any type",
	.kind = CLI_OPTION_CALL, .handle = cli_smbios)
OPTION("rtc", "[base=utc|localtime|DATE]", "what the clock shows at start; DATE is YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS",
	.kind = CLI_OPTION_CALL, .handle = cli_rtc)
SWITCH("no-reboot", "end when the guest asks for a reset", .kind = CLI_OPTION_FLAG, .offset = offsetof(struct vm_config, no_reboot))
SWITCH("no-shutdown", "stay when the guest is off, until a monitor says quit or resets it", .kind = CLI_OPTION_FLAG,
	.offset = offsetof(struct vm_config, no_shutdown))
SWITCH("S", "wait for a monitor's cont before the first instruction", .kind = CLI_OPTION_FLAG, .offset = offsetof(struct vm_config, paused))
OPTION("action", "reboot=reset|shutdown,shutdown=poweroff|pause,panic=shutdown|pause|exit-failure|none,watchdog=ACTION",
	"the first two by QEMU's newer name, what becomes of a guest that tells of its crash (-device pvpanic), and of one\n"
	"          whose watchdog runs out (-device i6300esb): reset, shutdown, poweroff, inject-nmi, pause, debug or none",
	.kind = CLI_OPTION_CALL, .handle = cli_action_option)
HIDDEN("watchdog-action", true, .kind = CLI_OPTION_CALL, .handle = cli_watchdog_action)

GROUP("Boot")
OPTION("kernel", "FILE", "the kernel to start: bzImage, ELF or multiboot", .kind = CLI_OPTION_STRING,
	.offset = offsetof(struct vm_config, kernel), .min = 1)
OPTION("initrd", "FILE", "its initial RAM disk", .kind = CLI_OPTION_STRING, .offset = offsetof(struct vm_config, initrd), .min = 1)
OPTION("append", "TEXT", "its command line", .kind = CLI_OPTION_STRING, .offset = offsetof(struct vm_config, append))
OPTION("bios", "FILE", "the firmware that runs where there is no -kernel, and boots from disks; SeaBIOS if not given", .kind = CLI_OPTION_STRING,
	.offset = offsetof(struct vm_config, bios), .min = 1)
OPTION("boot", "[order=]DRIVES[,once=DRIVES][,menu=on|off][,splash-time=MS][,reboot-timeout=MS][,strict=on|off]",
	"what the firmware boots from: c disk, d CD, n network; once: until the first reset; menu: offers a choice;\n"
	"          reboot-timeout: tries again after that; strict: only devices with a bootindex", .kind = CLI_OPTION_CALL, .handle = cli_boot)
OPTION("fw_cfg", "[name=]NAME,file=FILE|string=TEXT", "a file that firmware and the guest find in fw_cfg; the name begins with opt/",
	.kind = CLI_OPTION_CALL, .handle = cli_fw_cfg)
OPTION("L", "DIR", "looks there first for firmware and expansion ROMs; may be repeated", .kind = CLI_OPTION_CALL, .handle = cli_data_dir)

GROUP("Disks")
OPTION("drive", "file=FILE[,format=raw|qcow2|vmdk|vdi|vpc|vhdx][,if=virtio|scsi|none][,PROPERTY=VALUE...]",
	"a disk image or host disk as a virtio disk, or with if=none for -device drive=ID; others:\n"
	"          id=, index=, media=disk|cdrom, readonly=, serial=, cache=none|writeback|writethrough|directsync|unsafe,\n"
	"          aio=io_uring|threads, discard=unmap|ignore, detect-zeroes=, snapshot=on (changes end with the machine),\n"
	"          l2-cache-size=, throttling.iops-total= and the like, throttling.group=,\n"
	"          werror=report|enospc|stop|ignore, rerror=: report tells the guest, stop pauses it until Ctrl-a r or SIGCONT",
	.kind = CLI_OPTION_CALL, .handle = cli_drive)
OPTION("hda", "FILE", "the first disk, and -hdb, -hdc, -hdd the next, as does FILE alone; a virtio disk (vda), not IDE",
	.kind = CLI_OPTION_CALL, .handle = cli_hda)
OPTION("cdrom", "FILE", "an image in a CD-ROM drive, as it is and read-only; a virtio-scsi drive (sr0), not IDE", .kind = CLI_OPTION_CALL,
	.handle = cli_cdrom)
HIDDEN("hdb", true, .kind = CLI_OPTION_CALL, .handle = cli_hdb)
HIDDEN("hdc", true, .kind = CLI_OPTION_CALL, .handle = cli_hdc)
HIDDEN("hdd", true, .kind = CLI_OPTION_CALL, .handle = cli_hdd)
SWITCH("snapshot", "every -drive with snapshot=on", .kind = CLI_OPTION_CALL, .handle = cli_snapshot)
OPTION("blockdev", "driver=file|host_device|raw|qcow2|vmdk|throttle...,node-name=ID,filename=FILE|file=NODE[,PROPERTY=VALUE...]",
	"a file for -device drive=ID, also as a JSON object; others: read-only=, auto-read-only=, cache.direct=,\n"
	"          cache.no-flush=, aio=, discard=, detect-zeroes=, locking=, throttle-group=ID; of qcow2: backing=NODE,\n"
	"          data-file=NODE, l2-cache-size=, refcount-cache-size=, cache-size=, lazy-refcounts=", .kind = CLI_OPTION_CALL, .handle = cli_blockdev)
OPTION("object", "iothread|rng-random|rng-builtin|throttle-group,id=ID[,filename=FILE][,x-iops-total=N...]",
	"a thread for disks (iothread=ID), random numbers for virtio-rng (rng=ID), or limits that disks share\n"
	"          (throttle-group=ID: x-iops-total=, x-bps-read=, x-iops-total-max= and the like); also as a JSON object",
	.kind = CLI_OPTION_CALL, .handle = cli_object)

GROUP("Network")
OPTION("nic", "TYPE|none[,PROPERTY=VALUE...][,mac=MAC][,model=virtio-net-pci]", "a network card with the back end TYPE of -netdev, or no network",
	.kind = CLI_OPTION_CALL, .handle = cli_nic)
OPTION("netdev", "tap|bridge|user|stream|dgram|socket,id=ID[,PROPERTY=VALUE...]",
	"a network back end for -device virtio-net-pci,netdev=ID; also as a JSON object:\n"
	"          tap: ifname=, fd=, fds=, queues=, script=FILE|no, downscript=, br=, helper=, vhost=on|off, vhostfd=, vhostfds=,\n"
	"          vhostforce=, sndbuf=; bridge: br=, helper=\n"
	"          user: hostfwd=[tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT, guestfwd=, restrict=, net=, host=, dns=, dhcpstart=,\n"
	"          hostname=, domainname=, dnssearch=, tftp=, bootfile=, tftp-server-name=, ipv4=, ipv6=, ipv6-net=, ipv6-host=,\n"
	"          ipv6-dns=, metadata=DIRECTORY, helper=\n"
	"          stream: server=on|off, reconnect=SECONDS, addr.type=inet|unix|fd, addr.host=, addr.port=, addr.path=, addr.str=\n"
	"          dgram: local.type=, local.host=..., remote.type=, remote.host=...",
	.kind = CLI_OPTION_CALL, .handle = cli_netdev)
OPTION("net", "none|nic|user|tap|...", "the old form: -net nic and -net TYPE make a card and its back end", .kind = CLI_OPTION_CALL,
	.handle = cli_net)

GROUP("Consoles")
SWITCH("nographic", "the first serial port on this terminal; Ctrl-a h shows its keys", .kind = CLI_OPTION_FLAG,
	.offset = offsetof(struct vm_config, nographic))
OPTION("serial", "[mon:]stdio|pty|null|file:FILE|unix:PATH|tcp:[HOST]:PORT[,server=on][,wait=off]",
	"the next of four serial ports; also chardev:ID, and none for no port; mon: gives it the Ctrl-a keys",
	.kind = CLI_OPTION_CALL, .handle = cli_serial)
OPTION("chardev", "stdio|file|pty|socket|null,id=ID[,path=FILE][,PROPERTY=VALUE...]",
	"a character device for -serial and -device; stdio: signal=, file: append=, all: mux=,\n"
	"          logfile=FILE (a copy of all output), logappend=; socket: path=FILE or\n"
	"          [host=HOST,]port=PORT or fd=NUMBER, server=, wait=, reconnect=SECONDS",
	.kind = CLI_OPTION_CALL, .handle = cli_chardev)
OPTION("debugcon", "stdio|file:FILE|...", "isa-debugcon on such a character device, at port 0xe9", .kind = CLI_OPTION_CALL, .handle = cli_debugcon)
OPTION("display", "none", "no window, which Kite never has; without -nographic also no default console", .kind = CLI_OPTION_CALL,
	.handle = cli_display)

GROUP("Control")
OPTION("qmp", "unix:PATH|tcp:[HOST]:PORT[,server=on][,wait=off]|stdio|pty|chardev:ID", "a monitor that speaks QMP, QEMU's control protocol",
	.kind = CLI_OPTION_CALL, .handle = cli_qmp)
HIDDEN("qmp-pretty", true, .kind = CLI_OPTION_CALL, .handle = cli_qmp_pretty)
OPTION("monitor", "unix:PATH|tcp:[HOST]:PORT[,server=on][,wait=off]|stdio|pty|chardev:ID|none", "a monitor for people; help lists its commands",
	.kind = CLI_OPTION_CALL, .handle = cli_monitor)
OPTION("mon", "chardev=ID[,mode=readline|control][,pretty=on]", "either of them on a -chardev", .kind = CLI_OPTION_CALL, .handle = cli_mon)
OPTION("add-fd", "fd=NUMBER,set=SET[,opaque=TEXT]", "a descriptor that Kite was started with, which a path or logfile /dev/fdset/SET means",
	.kind = CLI_OPTION_CALL, .handle = cli_add_fd)
SWITCH("daemonize", "go to the background once everything is open and sockets listen", .kind = CLI_OPTION_FLAG,
	.offset = offsetof(struct vm_config, daemonize))
OPTION("pidfile", "FILE", "a file for the process's number, locked while it runs and removed at its end", .kind = CLI_OPTION_STRING,
	.offset = offsetof(struct vm_config, pidfile), .min = 1)

OPTION("config", "FILE", "the whole configuration from what -dump-config showed; beside it only -S, -d and -dump-config", .kind = CLI_OPTION_CALL,
	.handle = cli_config)
SWITCH("dump-config", "show the whole configuration as JSON, as the options make it, and run nothing", .kind = CLI_OPTION_CALL,
	.handle = cli_dump_config)

GROUP("Devices")
OPTION("device", "DRIVER[,PROPERTY=VALUE...]", "a device, also as a JSON object; -device help lists them", .kind = CLI_OPTION_CALL,
	.handle = cli_device)
SWITCH("nodefaults", "no devices but those asked for", .kind = CLI_OPTION_FLAG, .offset = offsetof(struct vm_config, nodefaults))

GROUP("Safety")
OPTION("sandbox", "on|off[,log=on][,namespaces=on][,files=DIR...]",
	"what is taken from Kite's own process before the guest runs: on unless off is said; log: what is forbidden\n"
	"          is done, and logged by the kernel; namespaces: no files, network and processes of the host in reach;\n"
	"          files: directories that a monitor may open files of, beside those of the disks' images",
	.kind = CLI_OPTION_CALL, .handle = cli_sandbox, .props = &cli_sandbox_props)
OPTION("runas", "USER[:GROUP]|UID:GID", "becomes that user once everything is open", .kind = CLI_OPTION_CALL, .handle = cli_runas)
OPTION("chroot", "DIR", "the root directory once everything is open", .kind = CLI_OPTION_CALL, .handle = cli_chroot)
HIDDEN("run-with", true, .kind = CLI_OPTION_CALL, .handle = cli_run_with)

GROUP("Help and diagnosis")
OPTION("d", "debug|exits[,...]", "log more, to stderr; -d help lists what", .kind = CLI_OPTION_CALL, .handle = cli_log_items)
SWITCH("version", "show the version", .kind = CLI_OPTION_CALL, .handle = cli_version)
SWITCH("help", "show this text, also as -h", .kind = CLI_OPTION_CALL, .handle = cli_help)
HIDDEN("h", false, .kind = CLI_OPTION_CALL, .handle = cli_help)

GROUP("Accepted for QEMU's sake, without effect")
OPTION("accel", "kvm", "there is no other", .kind = CLI_OPTION_PROPS, .props = &cli_accel_props)
SWITCH("enable-kvm", "the same", .kind = CLI_OPTION_IGNORE)
OPTION("global", "DRIVER.PROPERTY=VALUE", "a few that say what is so anyway", .kind = CLI_OPTION_CALL, .handle = cli_global)
OPTION("overcommit", "mem-lock=off,cpu-pm=on|off", "memory is never locked", .kind = CLI_OPTION_PROPS,
	.props = &cli_overcommit_props)
SWITCH("no-user-config", "there are no configuration files", .kind = CLI_OPTION_IGNORE)
HIDDEN("nodefconfig", false, .kind = CLI_OPTION_IGNORE)
OPTION("vga", "none", "there is no display", .kind = CLI_OPTION_IGNORE, .names = names_none, .why = "Kite has no display")
OPTION("vnc", "none", "the same", .kind = CLI_OPTION_IGNORE, .names = names_none, .why = "Kite has no display")
OPTION("parallel", "none", "there is no parallel port", .kind = CLI_OPTION_IGNORE, .names = names_none,
	.why = "Kite has no parallel port")
OPTION("audiodev", "TEXT", "there is no sound", .kind = CLI_OPTION_IGNORE)
OPTION("msg", "TEXT", "messages have one form", .kind = CLI_OPTION_IGNORE)
OPTION("k", "LAYOUT", "there is no keyboard", .kind = CLI_OPTION_IGNORE)
SWITCH("no-hpet", "there is no HPET", .kind = CLI_OPTION_IGNORE)
SWITCH("no-fd-bootchk", "there is no floppy disk", .kind = CLI_OPTION_IGNORE)

SWITCH("usb", "there is no USB controller, nor anything to plug into one", .kind = CLI_OPTION_IGNORE)
