/* SPDX-License-Identifier: MIT */
#include "vmm/config_fields.h"

#include "vmm/config.h"

#define SIZE_OF(s, m) sizeof(((struct s *)0)->m)
#define FIELD(s, m, k, ...) { .name = #m, .kind = CONFIG_##k, .offset = offsetof(struct s, m), .size = SIZE_OF(s, m), __VA_ARGS__ }
/* All elements of an array, or the first `n` of them. */
#define ALL(s, m, k, ...) { .name = #m, .kind = CONFIG_##k, .offset = offsetof(struct s, m), .size = SIZE_OF(s, m[0]), \
			    .max_count = SIZE_OF(s, m) / SIZE_OF(s, m[0]), __VA_ARGS__ }
#define FIRST(s, m, n, k, ...) ALL(s, m, k, .count_offset = offsetof(struct s, n), .count_size = SIZE_OF(s, n), __VA_ARGS__)
#define END { .name = NULL }
#define TABLE(id, s, words) static const struct config_table id##_table = { .what = words, .size = sizeof(struct s), .fields = id##_fields }
#define INDEX_FIELD(s, m) FIELD(s, m, SINT, .min = -1, .max = INT32_MAX)
#define ADDR_FIELD(s) FIELD(s, addr, SINT, .min = CONFIG_ADDR_AUTO, .max = 255)
#define VECTORS_FIELD(s) FIELD(s, vectors, SINT, .min = -1, .max = 2048)
#define LIMITS_MAX UINT64_C(1000000000000000)
#define LENGTH_MAX 86400

static const char *const machine_names[] = { [MACHINE_PC] = "pc", [MACHINE_MICROVM] = "microvm", [MACHINE_NONE] = "none", NULL };
static const char *const rtc_names[] = { [RTC_BASE_UTC] = "utc", [RTC_BASE_LOCALTIME] = "localtime", [RTC_BASE_DATE] = "date", NULL };
static const char *const backend_names[] = { [CHARDEV_NULL] = "null", [CHARDEV_STDIO] = "stdio", [CHARDEV_FILE] = "file",
					     [CHARDEV_PTY] = "pty", [CHARDEV_SOCKET] = "socket", [CHARDEV_CALLBACK] = "callback", NULL };
static const char *const cache_names[] = { [CONFIG_CACHE_WRITEBACK] = "writeback", [CONFIG_CACHE_NONE] = "none",
					   [CONFIG_CACHE_WRITETHROUGH] = "writethrough", [CONFIG_CACHE_DIRECTSYNC] = "directsync",
					   [CONFIG_CACHE_UNSAFE] = "unsafe", NULL };
static const char *const tristate_names[] = { [CONFIG_AUTO] = "auto", [CONFIG_ON] = "on", [CONFIG_OFF] = "off", NULL };
static const char *const error_names[] = { [CONFIG_ERROR_REPORT] = "report", [CONFIG_ERROR_IGNORE] = "ignore", [CONFIG_ERROR_ENOSPC] = "enospc",
					   [CONFIG_ERROR_STOP] = "stop", NULL };
static const char *const address_names[] = { [CONFIG_NET_NONE] = "none", [CONFIG_NET_INET] = "inet", [CONFIG_NET_UNIX] = "unix", [CONFIG_NET_FD] = "fd",
					     NULL };
static const char *const netdev_names[] = { [CONFIG_NETDEV_TAP] = "tap", [CONFIG_NETDEV_USER] = "user", [CONFIG_NETDEV_STREAM] = "stream",
					    [CONFIG_NETDEV_DGRAM] = "dgram", NULL };
static const char *const duplex_names[] = { [CONFIG_DUPLEX_UNKNOWN] = "unknown", [CONFIG_DUPLEX_HALF] = "half", [CONFIG_DUPLEX_FULL] = "full", NULL };

static const struct config_field board_fields[] = {
	FIELD(config_board, acpi, BOOL), FIELD(config_board, pic, BOOL), FIELD(config_board, pit, BOOL), FIELD(config_board, rtc, BOOL),
	FIELD(config_board, serial, BOOL), FIELD(config_board, kernel_cmdline, BOOL), END,
};
TABLE(board, config_board, "board");

#define SMP_FIELD(m) FIELD(config_smp, m, UINT, .min = 1, .max = CONFIG_MAX_CPUS)
static const struct config_field smp_fields[] = { SMP_FIELD(cpus), SMP_FIELD(sockets), SMP_FIELD(cores), SMP_FIELD(threads), END };
TABLE(smp, config_smp, "smp");

static const struct config_field feature_fields[] = { FIELD(config_cpu_feature, name, STRING, .required = true), FIELD(config_cpu_feature, on, BOOL), END };
TABLE(feature, config_cpu_feature, "a CPU feature");

static const struct config_field cpu_fields[] = {
	FIELD(config_cpu, model, STRING), FIRST(config_cpu, features, n_features, STRUCT, .table = &feature_table), END,
};
TABLE(cpu, config_cpu, "cpu");

static const struct config_field chardev_fields[] = {
	FIELD(config_chardev, id, STRING, .required = true, .defines = CONFIG_CHARDEV_NAME),
	FIELD(config_chardev, path, STRING), FIELD(config_chardev, host, STRING), FIELD(config_chardev, port, STRING),
	FIELD(config_chardev, logfile, STRING), FIELD(config_chardev, logappend, BOOL),
	FIELD(config_chardev, fd, UINT), FIELD(config_chardev, reconnect, UINT, .max = 86400),
	FIELD(config_chardev, backend, ENUM, .names = backend_names),
	FIELD(config_chardev, append, BOOL), FIELD(config_chardev, server, BOOL), FIELD(config_chardev, wait, BOOL),
	FIELD(config_chardev, signal, BOOL), FIELD(config_chardev, mux, BOOL), END,
};
TABLE(chardev, config_chardev, "a chardev");

#define CHARDEV_REF(s, ...) FIELD(s, chardev, STRING, .refers = CONFIG_CHARDEV_NAME, .once = true, __VA_ARGS__)
static const struct config_field serial_fields[] = {
	FIELD(config_serial, id, STRING, .required = true), CHARDEV_REF(config_serial, .required = true),
	FIELD(config_serial, index, UINT, .max = CONFIG_MAX_SERIALS - 1), END,
};
TABLE(serial, config_serial, "a serial port");

static const struct config_field debugcon_fields[] = {
	CHARDEV_REF(config_debugcon, .required = true), FIELD(config_debugcon, iobase, UINT), FIELD(config_debugcon, readback, UINT), END,
};
TABLE(debugcon, config_debugcon, "an isa-debugcon");

/* Whom it may share a chardev with is for config_check_monitors. */
static const struct config_field monitor_fields[] = {
	FIELD(config_monitor, chardev, STRING, .refers = CONFIG_CHARDEV_NAME, .required = true), FIELD(config_monitor, human, BOOL),
	FIELD(config_monitor, pretty, BOOL), END,
};
TABLE(monitor, config_monitor, "a monitor");

static const struct config_field fd_fields[] = {
	FIELD(config_fd, fd, UINT, .min = 3, .max = INT32_MAX), FIELD(config_fd, set, UINT, .max = INT32_MAX), FIELD(config_fd, opaque, STRING), END,
};
TABLE(fd, config_fd, "a descriptor of -add-fd");

static const struct config_field debug_exit_fields[] = {
	FIELD(config_debug_exit, iobase, UINT), FIELD(config_debug_exit, iosize, UINT, .min = 1, .max = 8), END,
};
TABLE(debug_exit, config_debug_exit, "an isa-debug-exit");

static const struct config_field throttle_fields[] = {
	FIELD(config_throttle, group, STRING), ALL(config_throttle, avg, UINT, .max = LIMITS_MAX), ALL(config_throttle, max, UINT, .max = LIMITS_MAX),
	ALL(config_throttle, length, UINT, .max = LENGTH_MAX), FIELD(config_throttle, iops_size, UINT, .max = LIMITS_MAX), END,
};
TABLE(throttle, config_throttle, "throttle");

#define CACHE_FIELD(m) FIELD(config_qcow2, m, UINT, .max = UINT64_C(1) << 30)
static const struct config_field qcow2_fields[] = {
	CACHE_FIELD(cache_size), CACHE_FIELD(l2_cache_size), CACHE_FIELD(l2_cache_entry_size), CACHE_FIELD(refcount_cache_size),
	FIELD(config_qcow2, lazy_refcounts, ENUM, .names = tristate_names), END,
};
TABLE(qcow2, config_qcow2, "qcow2");

static const struct config_table image_table;
static const struct config_field image_fields[] = {
	FIELD(config_image, path, STRING), FIELD(config_image, format, STRING),
	FIELD(config_image, read_only, BOOL), FIELD(config_image, auto_read_only, BOOL), FIELD(config_image, cache, ENUM, .names = cache_names),
	FIELD(config_image, discard, BOOL), FIELD(config_image, detect_zeroes, BOOL), FIELD(config_image, aio_threads, BOOL),
	FIELD(config_image, lock, BOOL), FIELD(config_image, qcow2, STRUCT, .table = &qcow2_table),
	FIELD(config_image, backing, POINTER, .table = &image_table), FIELD(config_image, data_file, POINTER, .table = &image_table),
	FIELD(config_image, no_backing, BOOL), END,
};
TABLE(image, config_image, "an image");

static const struct config_field drive_fields[] = {
	FIELD(config_drive, id, STRING, .required = true, .defines = CONFIG_DRIVE_NAME), FIELD(config_drive, image, STRUCT, .table = &image_table),
	FIELD(config_drive, node, BOOL), FIELD(config_drive, snapshot, BOOL), FIELD(config_drive, throttle, STRUCT, .table = &throttle_table), END,
};
TABLE(drive, config_drive, "a drive");

#define IOTHREAD_REF(s) FIELD(s, iothread, STRING, .refers = CONFIG_IOTHREAD_NAME)
static const struct config_field disk_fields[] = {
	FIELD(config_disk, id, STRING, .required = true),
	FIELD(config_disk, drive, STRING, .required = true, .refers = CONFIG_DRIVE_NAME, .once = true),
	FIELD(config_disk, serial, STRING, .max = CONFIG_MAX_SERIAL_NUMBER), IOTHREAD_REF(config_disk),
	FIELD(config_disk, queues, UINT, .min = 1, .max = 64), FIELD(config_disk, queue_size, UINT, .min = 4, .max = 1024, .power = true),
	FIELD(config_disk, logical_block, UINT, .max = 2 << 20, .power = true), FIELD(config_disk, physical_block, UINT, .max = 2 << 20, .power = true),
	FIELD(config_disk, write_cache, ENUM, .names = tristate_names), FIELD(config_disk, config_wce, BOOL), FIELD(config_disk, discard, BOOL),
	FIELD(config_disk, write_zeroes, BOOL), FIELD(config_disk, rerror, ENUM, .names = error_names),
	FIELD(config_disk, werror, ENUM, .names = error_names), FIELD(config_disk, modern_only, BOOL), FIELD(config_disk, legacy_only, BOOL),
	VECTORS_FIELD(config_disk), ADDR_FIELD(config_disk), INDEX_FIELD(config_disk, bootindex), END,
};
TABLE(disk, config_disk, "a disk");

static const struct config_field iothread_fields[] = {
	FIELD(config_iothread, id, STRING, .required = true, .defines = CONFIG_IOTHREAD_NAME),
	FIELD(config_iothread, poll_max_ns, UINT, .max = IOTHREAD_POLL_NS_MAX), END,
};
TABLE(iothread, config_iothread, "an iothread");

static const struct config_field pci_fields[] = {
	FIELD(config_virtio_pci, modern_only, BOOL), FIELD(config_virtio_pci, legacy_only, BOOL), VECTORS_FIELD(config_virtio_pci),
	ADDR_FIELD(config_virtio_pci), END,
};
TABLE(pci, config_virtio_pci, "pci");

static const struct config_field vport_fields[] = {
	FIELD(config_vport, name, STRING, .max = 255), CHARDEV_REF(config_vport), FIELD(config_vport, nr, UINT, .max = CONFIG_MAX_VPORTS - 1),
	FIELD(config_vport, console, BOOL), END,
};
TABLE(vport, config_vport, "a port");

static const struct config_field virtio_serial_fields[] = {
	FIELD(config_virtio_serial, id, STRING, .required = true), FIELD(config_virtio_serial, max_ports, UINT, .min = 1, .max = CONFIG_MAX_VPORTS),
	FIELD(config_virtio_serial, pci, STRUCT, .table = &pci_table), FIRST(config_virtio_serial, ports, n_ports, STRUCT, .table = &vport_table), END,
};
TABLE(virtio_serial, config_virtio_serial, "a virtio-serial");

static const struct config_field rng_source_fields[] = {
	FIELD(config_rng_source, id, STRING, .required = true, .defines = CONFIG_RNG_NAME), FIELD(config_rng_source, filename, STRING), END,
};
TABLE(rng_source, config_rng_source, "a source of random numbers");

static const struct config_field rng_fields[] = {
	FIELD(config_virtio_rng, id, STRING, .required = true), FIELD(config_virtio_rng, source, STRING, .refers = CONFIG_RNG_NAME),
	FIELD(config_virtio_rng, max_bytes, UINT, .min = 1), FIELD(config_virtio_rng, period_ms, UINT),
	FIELD(config_virtio_rng, pci, STRUCT, .table = &pci_table), END,
};
TABLE(rng, config_virtio_rng, "a virtio-rng");

static const struct config_field balloon_fields[] = {
	FIELD(config_balloon, id, STRING), IOTHREAD_REF(config_balloon), FIELD(config_balloon, deflate_on_oom, BOOL),
	FIELD(config_balloon, free_page_reporting, BOOL), FIELD(config_balloon, page_poison, BOOL),
	FIELD(config_balloon, pci, STRUCT, .table = &pci_table), END,
};
TABLE(balloon, config_balloon, "the balloon");

static const struct config_field watchdog_fields[] = {
	FIELD(config_watchdog, id, STRING, .required = true), FIELD(config_watchdog, ib700, BOOL), ADDR_FIELD(config_watchdog), END,
};
TABLE(watchdog, config_watchdog, "a watchdog");

static const struct config_field pvpanic_fields[] = {
	FIELD(config_pvpanic, used, BOOL), FIELD(config_pvpanic, events, UINT, .max = 3), FIELD(config_pvpanic, ioport, UINT),
	ADDR_FIELD(config_pvpanic), END,
};
TABLE(pvpanic, config_pvpanic, "pvpanic");

static const struct config_field scsi_fields[] = {
	FIELD(config_scsi, id, STRING, .required = true), IOTHREAD_REF(config_scsi), FIELD(config_scsi, queues, UINT, .min = 1, .max = 62),
	FIELD(config_scsi, queue_size, UINT, .min = 4, .max = 1024, .power = true), FIELD(config_scsi, max_sectors, UINT, .min = 1, .max = UINT32_MAX),
	FIELD(config_scsi, cmd_per_lun, UINT, .min = 1, .max = UINT32_MAX), FIELD(config_scsi, pci, STRUCT, .table = &pci_table), END,
};
TABLE(scsi, config_scsi, "a virtio-scsi");

#define UNIT_TEXT(m, most) FIELD(config_scsi_unit, m, STRING, .max = most)
static const struct config_field scsi_unit_fields[] = {
	FIELD(config_scsi_unit, id, STRING, .required = true),
	FIELD(config_scsi_unit, drive, STRING, .required = true, .refers = CONFIG_DRIVE_NAME, .once = true),
	FIELD(config_scsi_unit, scsi, UINT, .max = CONFIG_MAX_SCSIS - 1), FIELD(config_scsi_unit, cd, BOOL),
	FIELD(config_scsi_unit, target, UINT, .max = 255), FIELD(config_scsi_unit, lun, UINT, .max = 16383), UNIT_TEXT(serial, 36),
	UNIT_TEXT(vendor, 8), UNIT_TEXT(product, 16), UNIT_TEXT(version, 4), UNIT_TEXT(device_id, 64), FIELD(config_scsi_unit, wwn, UINT),
	FIELD(config_scsi_unit, logical_block, UINT, .max = 32768, .power = true),
	FIELD(config_scsi_unit, physical_block, UINT, .max = 2 << 20, .power = true), FIELD(config_scsi_unit, removable, BOOL),
	FIELD(config_scsi_unit, rotation_rate, UINT, .max = UINT16_MAX), FIELD(config_scsi_unit, write_cache, ENUM, .names = tristate_names),
	FIELD(config_scsi_unit, rerror, ENUM, .names = error_names), FIELD(config_scsi_unit, werror, ENUM, .names = error_names),
	INDEX_FIELD(config_scsi_unit, bootindex), END,
};
TABLE(scsi_unit, config_scsi_unit, "a SCSI device");

static const struct config_field boot_fields[] = {
	FIELD(config_boot, order, UINT, .max = 0x444), FIELD(config_boot, once, UINT, .max = 0x444), FIELD(config_boot, menu, BOOL),
	FIELD(config_boot, strict, BOOL), FIELD(config_boot, splash_time, SINT, .min = -1, .max = UINT16_MAX),
	FIELD(config_boot, reboot_timeout, SINT, .min = -1, .max = UINT16_MAX), END,
};
TABLE(boot, config_boot, "boot");

static const struct config_field fw_cfg_fields[] = {
	FIELD(config_fw_cfg, name, STRING, .required = true, .max = 55), FIELD(config_fw_cfg, file, STRING), FIELD(config_fw_cfg, string, STRING), END,
};
TABLE(fw_cfg, config_fw_cfg, "a fw_cfg item");

static const struct config_field oem_fields[] = { FIELD(config_oem_string, text, STRING), FIELD(config_oem_string, path, STRING), END };
TABLE(oem, config_oem_string, "an OEM string");

static const struct config_field smbios_fields[] = {
	FIELD(config_smbios, bios, BOOL), FIELD(config_smbios, board, BOOL), ALL(config_smbios, text, STRING),
	FIELD(config_smbios, bios_release_set, BOOL), FIELD(config_smbios, bios_uefi, BOOL), FIELD(config_smbios, bios_major, UINT),
	FIELD(config_smbios, bios_minor, UINT), FIELD(config_smbios, cpu_max_speed, UINT), FIELD(config_smbios, cpu_speed, UINT),
	FIELD(config_smbios, cpu_id, UINT), FIELD(config_smbios, memory_speed, UINT), FIRST(config_smbios, oem, n_oem, STRUCT, .table = &oem_table),
	FIRST(config_smbios, files, n_files, STRING, .required = true), END,
};
TABLE(smbios, config_smbios, "smbios");

static const struct config_field tap_fields[] = {
	FIELD(config_tap, ifname, STRING, .max = 15), FIRST(config_tap, fds, n_fds, SINT, .max = INT32_MAX),
	FIELD(config_tap, bridge, STRING, .max = 15), FIELD(config_tap, helper, STRING), FIELD(config_tap, script, STRING),
	FIELD(config_tap, downscript, STRING), FIELD(config_tap, script_default, BOOL), FIELD(config_tap, queues, UINT, .max = CONFIG_MAX_NET_QUEUES),
	FIELD(config_tap, sndbuf, UINT, .max = INT32_MAX), FIELD(config_tap, vnet_hdr, ENUM, .names = tristate_names), FIELD(config_tap, vhost, BOOL),
	FIELD(config_tap, vhost_force, BOOL), FIRST(config_tap, vhost_fds, n_vhost_fds, SINT, .max = INT32_MAX),
	FIELD(config_tap, poll_us, UINT, .max = 1000000), END,
};
TABLE(tap, config_tap, "tap");

#define USER_TEXT(m) FIELD(config_user_net, m, STRING, .max = 1023)
static const struct config_field user_fields[] = {
	USER_TEXT(net), USER_TEXT(host), USER_TEXT(dns), USER_TEXT(dhcpstart), USER_TEXT(hostname), USER_TEXT(domainname), USER_TEXT(tftp),
	USER_TEXT(bootfile), USER_TEXT(tftp_server_name), USER_TEXT(ipv6_net), USER_TEXT(ipv6_host), USER_TEXT(ipv6_dns),
	FIELD(config_user_net, helper, STRING), FIELD(config_user_net, metadata, STRING), FIELD(config_user_net, ipv4, BOOL),
	FIELD(config_user_net, ipv6, BOOL), FIELD(config_user_net, restrict_host, BOOL), FIELD(config_user_net, dnssearch, STRV),
	FIELD(config_user_net, hostfwd, STRV), FIELD(config_user_net, guestfwd, STRV), END,
};
TABLE(user, config_user_net, "user");

static const struct config_field net_addr_fields[] = {
	FIELD(config_net_addr, type, ENUM, .names = address_names), FIELD(config_net_addr, host, STRING), FIELD(config_net_addr, port, STRING),
	FIELD(config_net_addr, ipv4, BOOL), FIELD(config_net_addr, ipv6, BOOL), FIELD(config_net_addr, path, STRING),
	FIELD(config_net_addr, abstract, BOOL), FIELD(config_net_addr, fd, SINT, .min = -1, .max = INT32_MAX), END,
};
TABLE(net_addr, config_net_addr, "an address");

#define ADDRESS(m) FIELD(config_netdev, m, STRUCT, .table = &net_addr_table)
static const struct config_field netdev_fields[] = {
	FIELD(config_netdev, id, STRING, .required = true, .defines = CONFIG_NETDEV_NAME), FIELD(config_netdev, type, ENUM, .names = netdev_names),
	FIELD(config_netdev, optional, BOOL), FIELD(config_netdev, tap, STRUCT, .table = &tap_table),
	FIELD(config_netdev, user, STRUCT, .table = &user_table), FIELD(config_netdev, stream.server, BOOL),
	FIELD(config_netdev, stream.reconnect_ms, UINT, .max = 86400000), ADDRESS(stream.addr), ADDRESS(dgram.local), ADDRESS(dgram.remote), END,
};
TABLE(netdev, config_netdev, "a netdev");

static const struct config_field net_limits_fields[] = {
	ALL(config_net_limits, avg, UINT, .max = LIMITS_MAX), ALL(config_net_limits, max, UINT, .max = LIMITS_MAX),
	ALL(config_net_limits, length, UINT, .max = LENGTH_MAX), END,
};
TABLE(net_limits, config_net_limits, "limits");

#define RING(m) FIELD(config_nic, m, UINT, .min = 64, .max = 1024, .power = true)
static const struct config_field nic_fields[] = {
	FIELD(config_nic, id, STRING, .required = true), FIELD(config_nic, netdev, STRING, .refers = CONFIG_NETDEV_NAME, .once = true),
	IOTHREAD_REF(config_nic), FIELD(config_nic, mac, HEX), FIELD(config_nic, queues, UINT, .min = 1, .max = CONFIG_MAX_NET_QUEUES),
	RING(rx_queue_size), RING(tx_queue_size), FIELD(config_nic, host_mtu, UINT, .max = UINT16_MAX), FIELD(config_nic, speed, UINT),
	FIELD(config_nic, duplex, ENUM, .names = duplex_names), FIELD(config_nic, features_off, UINT),
	FIELD(config_nic, limits, STRUCT, .table = &net_limits_table), FIELD(config_nic, pci, STRUCT, .table = &pci_table),
	INDEX_FIELD(config_nic, bootindex), FIELD(config_nic, romfile, STRING), END,
};
TABLE(nic, config_nic, "a network card");

static const struct config_field sandbox_fields[] = {
	FIELD(config_sandbox, on, BOOL), FIELD(config_sandbox, log, BOOL), FIELD(config_sandbox, namespaces, BOOL),
	FIELD(config_sandbox, files, STRV), END,
};
TABLE(sandbox, config_sandbox, "the sandbox");

#define PLAIN(m, k, ...) FIELD(vm_config, m, k, __VA_ARGS__)
#define LIST(m, t) FIRST(vm_config, m, n_##m, STRUCT, .table = &t##_table)
static const struct config_field vm_fields[] = {
	PLAIN(name, STRING), PLAIN(process_name, STRING), PLAIN(debug_threads, BOOL), PLAIN(uuid, HEX), PLAIN(uuid_set, BOOL),
	PLAIN(machine, ENUM, .names = machine_names), PLAIN(board, STRUCT, .table = &board_table),
	PLAIN(ram_size, UINT, .min = CONFIG_MIN_RAM, .max = CONFIG_MAX_RAM), PLAIN(smp, STRUCT, .table = &smp_table),
	PLAIN(cpu, STRUCT, .table = &cpu_table), PLAIN(kernel, STRING), PLAIN(initrd, STRING), PLAIN(append, STRING), PLAIN(bios, STRING),
	FIRST(vm_config, data_dirs, n_data_dirs, STRING, .required = true), PLAIN(boot, STRUCT, .table = &boot_table),
	PLAIN(smbios, STRUCT, .table = &smbios_table), LIST(fw_cfg, fw_cfg), PLAIN(nodefaults, BOOL),
	PLAIN(nographic, BOOL), PLAIN(no_reboot, BOOL), PLAIN(no_shutdown, BOOL),
	PLAIN(daemonize, BOOL), PLAIN(pidfile, STRING), PLAIN(paused, BOOL), PLAIN(rtc_base, ENUM, .names = rtc_names),
	PLAIN(rtc_date, SINT, .min = INT64_MIN, .max = INT64_MAX), LIST(chardevs, chardev), LIST(serials, serial), LIST(monitors, monitor),
	LIST(fds, fd),
	LIST(debug_exits, debug_exit), LIST(debugcons, debugcon), LIST(drives, drive), LIST(disks, disk), LIST(iothreads, iothread), LIST(throttle_groups, throttle),
	LIST(virtio_serials, virtio_serial), LIST(rng_sources, rng_source), LIST(rngs, rng), LIST(netdevs, netdev), LIST(nics, nic), LIST(scsis, scsi),
	LIST(scsi_units, scsi_unit), PLAIN(balloon, STRUCT, .table = &balloon_table), PLAIN(has_balloon, BOOL), LIST(watchdogs, watchdog),
	PLAIN(pvpanic, STRUCT, .table = &pvpanic_table), PLAIN(pvpanic_pci, STRUCT, .table = &pvpanic_table),
	PLAIN(watchdog_action, ENUM, .names = config_watchdog_actions), PLAIN(panic_action, ENUM, .names = config_panic_actions),
	PLAIN(testdev, BOOL), PLAIN(debug_log, BOOL), PLAIN(count_exits, BOOL), PLAIN(boot_timer, BOOL), PLAIN(boot_timer_port, UINT),
	PLAIN(sandbox, STRUCT, .table = &sandbox_table), PLAIN(run_as, STRING), PLAIN(chroot_dir, STRING), END,
};
const struct config_table config_table = { .what = "the machine", .size = sizeof(struct vm_config), .fields = vm_fields };
