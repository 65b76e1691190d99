/* SPDX-License-Identifier: MIT */
/*
 * Makes libseccomp's programs shorter. The kernel checks, converts and compiles a program for each thread that loads it, and looks what it says about
 * every system call there is, so its length is what entering the sandbox costs.
 */
#ifndef TOOLS_SANDBOX_GEN_SHRINK_H
#define TOOLS_SANDBOX_GEN_SHRINK_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/* In place; returns how many instructions are left. Of values that are compared one after the other, `first` is put first. */
unsigned filter_shrink(struct sock_filter *code, unsigned n, uint32_t first);

/* Whether both say the same about calls by every number, convention and argument that either compares with, and some beside: many at random. */
bool filter_same(const struct sock_filter *a, unsigned n_a, const struct sock_filter *b, unsigned n_b);

#endif
