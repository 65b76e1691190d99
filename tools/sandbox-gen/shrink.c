/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A seccomp program only jumps forward. Two things in libseccomp's do nothing: where a rule compares one half of an argument, the other half is
 * loaded, masked with 0, and compared with 0; and the call's number is loaded again where it is loaded already. Both are found by their looks, and
 * taken out if nothing jumps into them: what jumped to them goes to what is behind.
 *
 * That is checked by running both programs (filter_same), which knows nothing of how the one came of the other.
 */
#include "tools/sandbox-gen/shrink.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>

#include "vmm/sandbox_priv.h"
#include "vmm/util.h"

#define LOAD (BPF_LD | BPF_W | BPF_ABS)
#define MASK (BPF_ALU | BPF_AND | BPF_K)
#define EQUAL (BPF_JMP | BPF_JEQ | BPF_K)

static bool conditional(const struct sock_filter *c)
{
	return BPF_CLASS(c->code) == BPF_JMP && BPF_OP(c->code) != BPF_JA;
}

static bool jumps_to(const struct sock_filter *code, unsigned from, unsigned to)
{
	const struct sock_filter *c = &code[from];

	if (BPF_CLASS(c->code) != BPF_JMP)
		return false;
	return conditional(c) ? from + 1 + c->jt == to || from + 1 + c->jf == to : from + 1 + c->k == to;
}

/* Whether somebody before `first` jumps behind it, up to `last`. */
static bool entered(const struct sock_filter *code, unsigned first, unsigned last)
{
	for (unsigned from = 0; from < first; from++)
		for (unsigned to = first + 1; to <= last; to++)
			if (jumps_to(code, from, to))
				return true;
	return false;
}

/* A half of an argument that no rule asks for: `load; and 0; equals 0`, and then another load. */
static bool is_vain_half(const struct sock_filter *code, unsigned n, unsigned i)
{
	return i + 3 < n && code[i].code == LOAD && code[i + 1].code == MASK && code[i + 1].k == 0 && code[i + 2].code == EQUAL &&
	       code[i + 2].k == 0 && code[i + 2].jt == 0 && code[i + 3].code == LOAD && !entered(code, i, i + 2);
}

/* A load of what is loaded: since then there were only jumps, and nobody else comes here. */
static bool is_vain_load(const struct sock_filter *code, unsigned i)
{
	unsigned before = i;

	if (code[i].code != LOAD)
		return false;
	while (before > 0 && conditional(&code[before - 1]))
		before--;
	return before > 0 && before < i && code[before - 1].code == LOAD && code[before - 1].k == code[i].k && !entered(code, before - 1, i);
}

/* Takes out what is marked; who jumped there jumps to the next that stays. */
static unsigned take_out(struct sock_filter *code, unsigned n, const bool *vain)
{
	unsigned place[FILTER_MAX + 1], kept = 0;

	for (unsigned i = 0; i < n; i++) {
		place[i] = kept;
		kept += !vain[i];
	}
	for (unsigned i = 0; i < n; i++) {
		struct sock_filter c = code[i];

		if (vain[i])
			continue;
		if (conditional(&c)) {
			c.jt = (uint8_t)(place[i + 1 + c.jt] - place[i] - 1);
			c.jf = (uint8_t)(place[i + 1 + c.jf] - place[i] - 1);
		} else if (BPF_CLASS(c.code) == BPF_JMP) {
			c.k = place[i + 1 + c.k] - place[i] - 1;
		}
		code[place[i]] = c;
	}
	return kept;
}

/* In each row of comparisons that lead to the same place. */
static void put_first(struct sock_filter *code, unsigned n, uint32_t first)
{
	for (unsigned i = 1, start = 0; i < n; i++) {
		bool row = code[i - 1].code == EQUAL && code[i].code == EQUAL && code[i - 1].jf == 0 && code[i - 1].jt == code[i].jt + 1 &&
			   !entered(code, i - 1, i);

		if (!row)
			start = i;
		else if (code[i].k == first) {
			code[i].k = code[start].k;
			code[start].k = first;
		}
	}
}

unsigned filter_shrink(struct sock_filter *code, unsigned n, uint32_t first)
{
	bool vain[FILTER_MAX] = { false };

	for (unsigned i = 0; i < n; i++) {
		if (is_vain_half(code, n, i))
			vain[i] = vain[i + 1] = vain[i + 2] = true;
		else if (is_vain_load(code, i))
			vain[i] = true;
	}
	n = take_out(code, n, vain);
	put_first(code, n, first);
	return n;
}

/* ---- running them ---- */

static bool test(const struct sock_filter *c, uint32_t a)
{
	switch (BPF_OP(c->code)) {
	case BPF_JEQ:
		return a == c->k;
	case BPF_JGT:
		return a > c->k;
	case BPF_JGE:
		return a >= c->k;
	default:
		return a & c->k;
	}
}

/* What it returns; UINT32_MAX for an instruction that libseccomp never makes, and past the end. */
static uint32_t run(const struct sock_filter *code, unsigned n, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct sock_filter *c = &code[i];

		if (c->code == LOAD && c->k <= sizeof(*data) - sizeof(a))
			memcpy(&a, (const uint8_t *)data + c->k, sizeof(a));
		else if (c->code == MASK)
			a &= c->k;
		else if (c->code == (BPF_RET | BPF_K))
			return c->k;
		else if (conditional(c) && BPF_SRC(c->code) == BPF_K)
			i += test(c, a) ? c->jt : c->jf;
		else if (c->code == (BPF_JMP | BPF_JA))
			i += c->k;
		else
			return UINT32_MAX;
	}
	return UINT32_MAX;
}

#define SAMPLES 4000 /* a number that is compared with */
#define NUMBERS 600  /* beyond all that there are */

struct pick {
	uint32_t values[2 * FILTER_MAX + 3];
	unsigned n;
	uint64_t state;
};

/* Knuth, The Art of Computer Programming, volume 2, 3.3.4, table 1, line 26: MMIX. */
static uint32_t dice(struct pick *p)
{
	p->state = p->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(p->state >> 33);
}

static uint32_t half(struct pick *p)
{
	uint32_t v = p->values[dice(p) % p->n];

	return dice(p) % 8 == 0 ? v ^ BIT(dice(p) % 32) : v;
}

static bool same_about(struct pick *p, const struct sock_filter *a, unsigned n_a, const struct sock_filter *b, unsigned n_b, uint32_t nr,
		       unsigned samples)
{
	static const uint32_t conventions[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 };

	for (unsigned s = 0; s < samples; s++) {
		struct seccomp_data data = { .nr = (int)nr, .arch = conventions[s % 8 < ARRAY_SIZE(conventions) ? s % 8 : 0] };
		uint32_t said;

		for (unsigned i = 0; i < ARRAY_SIZE(data.args); i++)
			data.args[i] = (uint64_t)half(p) << 32 | half(p);
		said = run(a, n_a, &data);
		if (said == UINT32_MAX || run(b, n_b, &data) != said)
			return false;
	}
	return true;
}

bool filter_same(const struct sock_filter *a, unsigned n_a, const struct sock_filter *b, unsigned n_b)
{
	struct pick p = { .values = { 0, 1, UINT32_MAX }, .n = 3, .state = 1 };
	bool same = true;

	for (unsigned i = 0; i < n_a; i++)
		p.values[p.n++] = a[i].k;
	for (unsigned i = 0; i < n_b; i++)
		p.values[p.n++] = b[i].k;
	for (uint32_t nr = 0; same && nr < NUMBERS; nr++)
		same = same_about(&p, a, n_a, b, n_b, nr, 40) && same_about(&p, a, n_a, b, n_b, nr | BIT(30), 2);
	for (unsigned i = 0; same && i < p.n; i++)
		same = same_about(&p, a, n_a, b, n_b, p.values[i], p.values[i] < NUMBERS ? SAMPLES : 40);
	return same;
}
