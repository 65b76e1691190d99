/* SPDX-License-Identifier: MIT */
/* kite.h as C++ sees it: with every warning on, and linked. */
#include <kite.h>

#include <cstdio>
#include <string>

static std::string said;

static void hear(void *, kite_log_level, const char *line)
{
	said += line;
}

int main()
{
	kite_host host = {};
	kite_error error = {};
	kite_config *config = kite_config_create();
	int bad = 0;

	host.size = sizeof(host);
	host.log = hear;
	bad += kite_api_version() != KITE_API_VERSION;
	kite_config_set_kernel(config, "/nowhere/vmlinux", nullptr, nullptr);
	kite_config_option(config, "-nodefaults", nullptr);
	kite *machine = kite_create(config, &host, &error);
	kite_config_destroy(config);
	bad += machine == nullptr;
	bad += kite_start(machine, &error) == 0 || std::string(error.text).find("/nowhere/vmlinux") == std::string::npos;
	kite_destroy(machine);
	std::printf("%s c++: %s\n", bad ? "not ok" : "ok", error.text);
	return bad != 0;
}
