/* SPDX-License-Identifier: MIT */
/* What spans several parts of a configuration, and holds for one of the command line and one of a file alike. */
#include <errno.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/err.h"

/* Who else has the chardev; NULL: nobody. */
static const char *chardev_user(const struct vm_config *cfg, const char *chardev)
{
	for (size_t i = 0; i < cfg->n_serials; i++)
		if (!strcmp(cfg->serials[i].chardev, chardev))
			return "a serial port";
	for (size_t i = 0; i < cfg->n_debugcons; i++)
		if (!strcmp(cfg->debugcons[i].chardev, chardev))
			return "an isa-debugcon";
	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		for (size_t k = 0; k < cfg->virtio_serials[i].n_ports; k++)
			if (cfg->virtio_serials[i].ports[k].chardev && !strcmp(cfg->virtio_serials[i].ports[k].chardev, chardev))
				return "a virtio port";
	return NULL;
}

static int check_monitor(const struct vm_config *cfg, size_t n, struct err *err)
{
	const char *id = cfg->monitors[n].chardev, *user = chardev_user(cfg, id);
	bool found = false, is_mux = false;

	for (size_t i = 0; i < cfg->n_chardevs; i++) {
		if (strcmp(cfg->chardevs[i].id, id))
			continue;
		found = true;
		is_mux = cfg->chardevs[i].mux;
	}
	if (!found)
		return err_set(err, -ENOENT, "a monitor names chardev '%s', which is not defined; add -chardev BACKEND,id=%s", err_show(id).s,
			       err_show(id).s);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(cfg->monitors[i].chardev, id))
			return err_set(err, -EBUSY, "chardev '%s' is used by two monitors; give each its own", err_show(id).s);
	if (user && !(cfg->monitors[n].human && is_mux))
		return err_set(err, -EBUSY, "chardev '%s' is used by a monitor and by %s; give each its own", err_show(id).s, user);
	return 0;
}

int config_check_monitors(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->n_monitors; i++)
		if (check_monitor(cfg, i, err) < 0)
			return err->code;
	return 0;
}

int config_check_daemon(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; cfg->daemonize && i < cfg->n_chardevs; i++)
		if (cfg->chardevs[i].backend == CHARDEV_STDIO)
			return err_set(err, -EINVAL, "-daemonize leaves no terminal for chardev '%s'; give -serial, -qmp and the like something else: "
						     "file:FILE, unix:PATH,server=on, pty or none",
				       err_show(cfg->chardevs[i].id).s);
	return 0;
}

int config_check_sandbox(const struct vm_config *cfg, struct err *err)
{
	const struct config_sandbox *sandbox = &cfg->sandbox;

	if ((cfg->run_as && !*cfg->run_as) || (cfg->chroot_dir && !*cfg->chroot_dir))
		return err_set(err, -EINVAL, "%s: expected a name", cfg->run_as && !*cfg->run_as ? "-runas" : "-chroot");
	for (size_t i = 0; i < sandbox->files.n; i++)
		if (!*sandbox->files.v[i])
			return err_set(err, -EINVAL, "-sandbox files=: expected a directory");
	if (!sandbox->on && (cfg->run_as || cfg->chroot_dir))
		return err_set(err, -EINVAL, "%s is part of the sandbox, which is off; leave out -sandbox off", cfg->run_as ? "-runas" : "-chroot");
	if (!sandbox->on || !sandbox->namespaces)
		return 0;
	if (cfg->run_as || cfg->chroot_dir)
		return err_set(err, -EINVAL, "-sandbox namespaces=on: the root directory is empty and the user alone in there; leave out %s",
			       cfg->run_as ? "-runas, and start Kite as that user" : "-chroot");
	if (config_reconnects(cfg))
		return err_set(err, -EINVAL, "-sandbox namespaces=on: nobody is in reach to connect to again; leave out the reconnect of sockets");
	return 0;
}
