/* SPDX-License-Identifier: MIT */
/*
 * How fast the first network card is, for tests/bench: obeys lines on COM1, `OPERATION MILLISECONDS [PORT]`, says `go` when the other end may
 * begin, and answers with `done N MICROSECONDS [MORE]`. The command line has ip=A.B.C.D and gateway=A.B.C.D, which is where everything is sent
 * to and what is sent comes from; this end's port is 5201.
 *
 *   udp-out MS PORT     datagrams of 64 bytes on the wire, as many as go: N datagrams, for which the device was rung for MORE times
 *   udp-in MS           counts those that come, for MS from the first on: N datagrams
 *   tcp-out MS          takes a connection and sends for MS, then closes: N bytes that were acknowledged, and MORE times that it had to go back
 *   tcp-in MS           takes a connection until the other end closes: N bytes, from the first to the last
 *   tcp-check MS        the same, and compares what comes with the pattern (net/tcp.h): MORE is the number of bytes that were wrong
 *   tcp-echo MS         the same, and sends it back
 *   ping MS             one after the other to the gateway: N echoes, MORE the median of their round trips in nanoseconds
 *
 * All of it is done in ring 3, where loops run at full speed also on hosts that interpret guest kernels; the guest polls its rings and looks at
 * headers only, so what is measured is the way of a frame through the VMM and the host, and not a guest's kernel. Between lines it sleeps.
 * With check=yes on the command line it tries what a gateway alone can answer, and ends.
 */
#include "line.h"
#include "net/stack.h"

#define PORT 5201
#define UDP_BYTES 22 /* 64 with the headers of UDP, IPv4 and Ethernet */
#define PATIENCE_MS 10000
#define BUCKET_NS 100
#define BUCKETS 65536

struct job {
	uint64_t ms, port;
	/* What came of it: */
	uint64_t n, cycles, more;
};

static struct stack stack;
static uint32_t histogram[BUCKETS];

static uint64_t in_ms(uint64_t ms)
{
	return rdtsc() + stack.khz * ms;
}

/* Operations, in ring 3 ---------------------------------------- */

static void udp_out(void *arg)
{
	struct job *job = arg;
	uint64_t start = rdtsc(), end = start + stack.khz * job->ms, now = start, rung = stack.card.rung;

	while (now < end) {
		unsigned i = 0;

		while (i < 64 && stack_datagram(&stack, (uint16_t)job->port, UDP_BYTES))
			i++;
		job->n += i;
		now = stack_poll(&stack);
		if (i == 0)
			cpu_relax();
	}
	job->cycles = now - start;
	job->more = stack.card.rung - rung;
}

static void udp_in(void *arg)
{
	struct job *job = arg;
	uint64_t before, start = 0, now, end = in_ms(PATIENCE_MS);

	stack_poll(&stack);
	before = stack.datagrams;
	while ((now = stack_poll(&stack)) < end) {
		if (!start && stack.datagrams != before) {
			before = stack.datagrams;
			start = now;
			end = now + stack.khz * job->ms;
		}
		cpu_relax();
	}
	job->n = stack.datagrams - before;
	job->cycles = start ? now - start : 0;
}

/* Until the connection is over, at most as long as that should take. The operation's function has called tcp_listen. */
static void tcp_run(const struct job *job, uint64_t *open_at, uint64_t *over_at)
{
	uint64_t now = rdtsc(), end = in_ms(PATIENCE_MS), close_at = 0;

	*open_at = 0;
	while (stack.tcp.state != TCP_OVER && now < end) {
		if (!*open_at && stack.tcp.state == TCP_OPEN) {
			*open_at = now;
			close_at = now + stack.khz * job->ms;
			end = close_at + stack.khz * PATIENCE_MS;
		}
		if (close_at && now >= close_at && stack.tcp.endless)
			tcp_close(&stack.tcp);
		now = stack_poll(&stack);
		cpu_relax();
	}
	*over_at = now;
}

static void tcp_in_mode(struct job *job, bool check, bool echo)
{
	uint64_t open_at, over_at;

	tcp_listen(&stack.tcp, stack.port, check, echo);
	tcp_run(job, &open_at, &over_at);
	job->n = stack.tcp.received;
	job->cycles = stack.tcp.last_at - stack.tcp.first_at;
	job->more = check ? stack.tcp.wrong : stack.tcp.resent;
}

static void tcp_in(void *arg)
{
	tcp_in_mode(arg, false, false);
}

static void tcp_check(void *arg)
{
	tcp_in_mode(arg, true, false);
}

static void tcp_echo(void *arg)
{
	tcp_in_mode(arg, true, true);
}

static void tcp_out(void *arg)
{
	struct job *job = arg;
	uint64_t open_at, over_at;

	tcp_listen(&stack.tcp, stack.port, false, false);
	stack.tcp.endless = true;
	tcp_run(job, &open_at, &over_at);
	job->n = stack.tcp.acked;
	job->cycles = open_at ? over_at - open_at : 0;
	job->more = stack.tcp.resent;
}

static uint64_t median_ns(uint64_t n)
{
	uint64_t below = 0;
	unsigned i = 0;

	while (i < BUCKETS - 1 && (below += histogram[i]) * 2 < n)
		i++;
	return i * BUCKET_NS + BUCKET_NS / 2;
}

static void ping(void *arg)
{
	struct job *job = arg;
	uint64_t start = rdtsc(), end = in_ms(job->ms), now = start;

	memset(histogram, 0, sizeof(histogram));
	for (uint16_t number = 1; now < end; number++) {
		uint64_t sent = rdtsc(), lost = sent + stack.khz * PATIENCE_MS, ns;

		/* Behind datagrams that are under way yet. */
		while (!stack_echo(&stack, number)) {
			if (rdtsc() >= lost)
				test_abort("no slot for a ping");
			stack_poll(&stack);
			sent = rdtsc();
		}
		while (stack.echo_reply != number && rdtsc() < lost)
			stack_poll(&stack);
		now = rdtsc();
		if (stack.echo_reply != number)
			continue;
		ns = (now - sent) * 1000000 / stack.khz;
		histogram[ns / BUCKET_NS < BUCKETS ? ns / BUCKET_NS : BUCKETS - 1]++;
		job->n++;
	}
	job->cycles = now - start;
	job->more = median_ns(job->n);
}

static const struct operation {
	const char *name;
	void (*run)(void *arg);
} operations[] = {
	{ "udp-out ", udp_out }, { "udp-in ", udp_in }, { "tcp-out ", tcp_out },   { "tcp-in ", tcp_in },
	{ "tcp-check ", tcp_check }, { "tcp-echo ", tcp_echo }, { "ping ", ping },
};

/* Input ---------------------------------------- */

/* As on the wire. */
static uint32_t address(const char *key)
{
	char text[20] = "";
	const char *p = text;
	uint32_t v = 0;

	if (!arg_get(key, text, sizeof(text)))
		test_abort("no %s=A.B.C.D on the command line", key);
	for (unsigned i = 0; i < 4; i++)
		v |= (uint32_t)line_number(&p) << 8 * i;
	return v;
}

static void obey(const char *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(operations); i++) {
		const struct operation *operation = &operations[i];
		size_t len = strlen(operation->name);
		struct job job = { 0 };

		if (strncmp(p, operation->name, len) != 0)
			continue;
		p += len;
		job.ms = line_number(&p);
		job.port = line_number(&p);
		print("go\n");
		user_call(operation->run, &job);
		print("done %lu %lu %lu\n", job.n, job.cycles * 1000 / stack.khz, job.more);
		return;
	}
	print("netbench: not understood: %s\n", p);
}

static void open_stack(void *arg)
{
	const uint32_t *ips = arg;

	stack_open(&stack, ips[0], ips[1], PORT);
}

static void self_check(void)
{
	struct job job = { .ms = 100 };

	user_call(ping, &job);
	test(job.n > 0, "%lu echoes of the gateway", job.n);
	job = (struct job){ .ms = 50, .port = 9 };
	user_call(udp_out, &job);
	test(job.n > 0, "%lu datagrams", job.n);
	job = (struct job){ .ms = 50 };
	user_call(ping, &job);
	test(job.n > 0, "%lu echoes after that", job.n);
}

void payload_main(void)
{
	uint32_t ips[2] = { address("ip"), address("gateway") };

	tsc_khz();
	user_call(open_stack, ips);
	test(true, "the gateway answers");
	if (arg_is("check", "yes")) {
		self_check();
		return;
	}
	line_open();
	print("netbench: ready, features 0x%lx\n", stack.card.dev.features);
	for (;;)
		obey(line_wait());
}
