/* SPDX-License-Identifier: MIT */
#include "vmm/config.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/util.h"

const char *const config_watchdog_actions[] = {
	[WATCHDOG_RESET] = "reset", [WATCHDOG_SHUTDOWN] = "shutdown", [WATCHDOG_POWEROFF] = "poweroff", [WATCHDOG_PAUSE] = "pause",
	[WATCHDOG_DEBUG] = "debug", [WATCHDOG_NONE] = "none", [WATCHDOG_INJECT_NMI] = "inject-nmi", NULL,
};
const char *const config_panic_actions[] = {
	[PANIC_PAUSE] = "pause", [PANIC_SHUTDOWN] = "shutdown", [PANIC_EXIT_FAILURE] = "exit-failure", [PANIC_NONE] = "none", NULL,
};

/* The rest is zeroes. */
static void set_defaults(struct vm_config *cfg)
{
	cfg->machine = MACHINE_PC;
	cfg->board = (struct config_board){ .acpi = true, .pic = true, .pit = true, .rtc = true, .serial = true };
	cfg->ram_size = CONFIG_DEFAULT_RAM;
	cfg->smp = (struct config_smp){ .cpus = 1, .sockets = 1, .cores = 1, .threads = 1 };
	cfg->rtc_base = RTC_BASE_UTC;
	cfg->sandbox.on = !SANITIZED;
	cfg->boot = (struct config_boot){ .order = CONFIG_BOOT_ORDER, .splash_time = -1, .reboot_timeout = -1 };
	cfg->watchdog_action = WATCHDOG_RESET;
	cfg->panic_action = PANIC_SHUTDOWN;
}

void config_init(struct vm_config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	set_defaults(cfg);
}

struct vm_config *config_create(void)
{
	struct vm_config *cfg = sparse_alloc(sizeof(*cfg));

	if (cfg)
		set_defaults(cfg);
	return cfg;
}

void config_cpu_fini(struct config_cpu *cpu)
{
	for (size_t i = 0; i < cpu->n_features; i++)
		free(cpu->features[i].name);
	free(cpu->model);
	memset(cpu, 0, sizeof(*cpu));
}

static void image_free(struct config_image *image)
{
	if (image)
		config_image_fini(image);
	free(image);
}

void config_image_fini(struct config_image *image)
{
	free(image->path);
	free(image->format);
	image_free(image->backing);
	image_free(image->data_file);
	memset(image, 0, sizeof(*image));
}

void config_drive_fini(struct config_drive *drive)
{
	free(drive->id);
	config_image_fini(&drive->image);
	free(drive->throttle.group);
	memset(drive, 0, sizeof(*drive));
}

void config_disk_fini(struct config_disk *disk)
{
	free(disk->id);
	free(disk->drive);
	free(disk->serial);
	free(disk->iothread);
	memset(disk, 0, sizeof(*disk));
}

static void config_net_addr_fini(struct config_net_addr *addr)
{
	free(addr->host);
	free(addr->port);
	free(addr->path);
}

void config_netdev_fini(struct config_netdev *netdev)
{
	struct config_user_net *user = &netdev->user;
	char *strings[] = {
		netdev->id,	    netdev->tap.ifname,	     netdev->tap.bridge,     netdev->tap.helper, netdev->tap.script,
		netdev->tap.downscript, user->net,	     user->host,	     user->dns,		 user->dhcpstart,
		user->hostname,	    user->domainname,	     user->tftp,	     user->bootfile,	 user->tftp_server_name,
		user->ipv6_net,	    user->ipv6_host,	     user->ipv6_dns,	     user->helper,	 user->metadata,
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		free(strings[i]);
	strv_fini(&user->dnssearch);
	strv_fini(&user->hostfwd);
	strv_fini(&user->guestfwd);
	config_net_addr_fini(&netdev->stream.addr);
	config_net_addr_fini(&netdev->dgram.local);
	config_net_addr_fini(&netdev->dgram.remote);
	memset(netdev, 0, sizeof(*netdev));
}

void config_nic_fini(struct config_nic *nic)
{
	free(nic->id);
	free(nic->netdev);
	free(nic->iothread);
	free(nic->romfile);
	memset(nic, 0, sizeof(*nic));
}

size_t config_virtio_devices(const struct vm_config *cfg)
{
	return cfg->n_disks + cfg->n_virtio_serials + cfg->n_rngs + cfg->n_nics + cfg->n_scsis + (cfg->has_balloon ? 1 : 0);
}

const char *config_drive_iothread(const struct vm_config *cfg, const char *drive)
{
	for (size_t i = 0; i < cfg->n_disks; i++)
		if (!strcmp(cfg->disks[i].drive, drive))
			return cfg->disks[i].iothread;
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		if (!strcmp(cfg->scsi_units[i].drive, drive))
			return cfg->scsis[cfg->scsi_units[i].scsi].iothread;
	return NULL;
}

void config_scsi_unit_fini(struct config_scsi_unit *unit)
{
	free(unit->id);
	free(unit->drive);
	free(unit->serial);
	free(unit->vendor);
	free(unit->product);
	free(unit->version);
	free(unit->device_id);
	memset(unit, 0, sizeof(*unit));
}

static void config_virtio_serial_fini(struct config_virtio_serial *serial)
{
	for (size_t i = 0; i < serial->n_ports; i++) {
		free(serial->ports[i].name);
		free(serial->ports[i].chardev);
	}
	free(serial->id);
}

void config_sandbox_fini(struct config_sandbox *sandbox)
{
	strv_fini(&sandbox->files);
	memset(sandbox, 0, sizeof(*sandbox));
}

bool config_reconnects(const struct vm_config *cfg)
{
	for (size_t i = 0; i < cfg->n_chardevs; i++)
		if (cfg->chardevs[i].reconnect)
			return true;
	for (size_t i = 0; i < cfg->n_netdevs; i++)
		if (cfg->netdevs[i].type == CONFIG_NETDEV_STREAM && cfg->netdevs[i].stream.reconnect_ms)
			return true;
	return false;
}

static void release_firmware(struct vm_config *cfg)
{
	free(cfg->bios);
	for (size_t i = 0; i < cfg->n_data_dirs; i++)
		free(cfg->data_dirs[i]);
	for (size_t i = 0; i < CONFIG_SMBIOS_TEXTS; i++)
		free(cfg->smbios.text[i]);
	for (size_t i = 0; i < cfg->smbios.n_oem; i++) {
		free(cfg->smbios.oem[i].text);
		free(cfg->smbios.oem[i].path);
	}
	for (size_t i = 0; i < cfg->smbios.n_files; i++)
		free(cfg->smbios.files[i]);
	for (size_t i = 0; i < cfg->n_fw_cfg; i++) {
		free(cfg->fw_cfg[i].name);
		free(cfg->fw_cfg[i].file);
		free(cfg->fw_cfg[i].string);
	}
}

/* Frees what it owns. */
static void release(struct vm_config *cfg)
{
	config_sandbox_fini(&cfg->sandbox);
	free(cfg->run_as);
	free(cfg->chroot_dir);
	free(cfg->name);
	free(cfg->process_name);
	free(cfg->pidfile);
	free(cfg->kernel);
	free(cfg->initrd);
	free(cfg->append);
	release_firmware(cfg);
	config_cpu_fini(&cfg->cpu);
	for (size_t i = 0; i < cfg->n_chardevs; i++) {
		free(cfg->chardevs[i].id);
		free(cfg->chardevs[i].path);
		free(cfg->chardevs[i].host);
		free(cfg->chardevs[i].port);
		free(cfg->chardevs[i].logfile);
	}
	for (size_t i = 0; i < cfg->n_serials; i++) {
		free(cfg->serials[i].id);
		free(cfg->serials[i].chardev);
	}
	for (size_t i = 0; i < cfg->n_fds; i++)
		free(cfg->fds[i].opaque);
	for (size_t i = 0; i < cfg->n_debugcons; i++)
		free(cfg->debugcons[i].chardev);
	for (size_t i = 0; i < cfg->n_monitors; i++)
		free(cfg->monitors[i].chardev);
	for (size_t i = 0; i < cfg->n_drives; i++)
		config_drive_fini(&cfg->drives[i]);
	for (size_t i = 0; i < cfg->n_disks; i++)
		config_disk_fini(&cfg->disks[i]);
	for (size_t i = 0; i < cfg->n_iothreads; i++)
		free(cfg->iothreads[i].id);
	for (size_t i = 0; i < cfg->n_throttle_groups; i++)
		free(cfg->throttle_groups[i].group);
	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		config_virtio_serial_fini(&cfg->virtio_serials[i]);
	for (size_t i = 0; i < cfg->n_rng_sources; i++) {
		free(cfg->rng_sources[i].id);
		free(cfg->rng_sources[i].filename);
	}
	for (size_t i = 0; i < cfg->n_rngs; i++) {
		free(cfg->rngs[i].id);
		free(cfg->rngs[i].source);
	}
	free(cfg->balloon.id);
	free(cfg->balloon.iothread);
	for (size_t i = 0; i < cfg->n_watchdogs; i++)
		free(cfg->watchdogs[i].id);
	for (size_t i = 0; i < cfg->n_netdevs; i++)
		config_netdev_fini(&cfg->netdevs[i]);
	for (size_t i = 0; i < cfg->n_nics; i++)
		config_nic_fini(&cfg->nics[i]);
	for (size_t i = 0; i < cfg->n_scsis; i++) {
		free(cfg->scsis[i].id);
		free(cfg->scsis[i].iothread);
	}
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		config_scsi_unit_fini(&cfg->scsi_units[i]);
}

void config_fini(struct vm_config *cfg)
{
	release(cfg);
	memset(cfg, 0, sizeof(*cfg));
}

void config_destroy(struct vm_config *cfg)
{
	if (!cfg)
		return;
	release(cfg);
	sparse_free(cfg, sizeof(*cfg));
}
