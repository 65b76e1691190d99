/* SPDX-License-Identifier: MIT */
/*
 * The first program of the guests that tests/bench/boot.py boots. Says at once that it is there, on the boot timer's port (with the word `timer` on
 * the kernel's command line) and on the console; then when the kernel came to its marks, by its own log and in seconds of its clock; what machine it
 * found; and ends the machine.
 *
 *   GUEST-INIT
 *   mark NAME SECONDS              the first line of the log that has the mark's words
 *   machine RELEASE CPUS           what it found
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

#define BOOT_TIMER 0x504
#define USER_SPACE 0x60
#define READ_ALL 3 /* syslog(2) */
#define LOG_MAX (1 << 20)

static char text[LOG_MAX + 1];

static const struct {
	const char *name, *words;
} marks[] = {
	{ "drivers", "devtmpfs: initialized" },  /* then the initcalls, which look for devices */
	{ "init", "Run /init as init process" },
};

static void show_marks(void)
{
	int n = klogctl(READ_ALL, text, LOG_MAX);

	text[n > 0 ? n : 0] = '\0';
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		const char *at = strstr(text, marks[i].words);
		double seconds;

		while (at && at > text && *at != '[')
			at--;
		if (at && sscanf(at, "[ %lf]", &seconds) == 1)
			printf("mark %s %.6f\n", marks[i].name, seconds);
	}
}

int main(int argc, char **argv)
{
	struct utsname name;

	if (argc > 1 && strcmp(argv[1], "timer") == 0 && ioperm(BOOT_TIMER, 1, 1) == 0)
		outb(USER_SPACE, BOOT_TIMER);
	printf("GUEST-INIT\n");
	fflush(stdout);
	show_marks();
	uname(&name);
	printf("machine %s %ld\n", name.release, sysconf(_SC_NPROCESSORS_ONLN));
	printf("GUEST-END\n");
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
