/* SPDX-License-Identifier: MIT */
/* Small helpers that every module may use. Pure functions of their arguments, any thread. */
#ifndef VMM_UTIL_H
#define VMM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define BIT(n) (1u << (n))
#define BIT64(n) (UINT64_C(1) << (n))
#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define NS_PER_SEC INT64_C(1000000000)

/* Built with a sanitizer, whose run-time makes system calls of its own, and tells what memory was lost. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * Sums and products of guest or file values: true when the result fits and was stored in `*out`.
 * `if (!add_u64(off, len, &end)) return -EINVAL;`
 */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

/* Whether [off, off + len) lies inside [0, size), for any values. */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* `align` is a power of two. align_up needs v + align - 1 to fit. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return align_down(v + align - 1, align);
}

/* For loops that wait for another processor: lets it, and the other half of this core, go ahead. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t now_ns(void);

/*
 * Zeroed memory for something large of which little is used: pages that are never touched are neither cleared nor taken, while calloc clears
 * all of what it gets from the heap. NULL without memory. `size` as it was allocated; NULL is fine.
 */
void *sparse_alloc(size_t size);
void sparse_free(void *p, size_t size);

/* Closes `*fd` unless it is negative, and makes it -1. Keeps errno. */
void fd_close(int *fd);

/*
 * pread of exactly `len` bytes, through EINTR and short reads. Returns 0, -errno of the read that failed, or
 * -ENODATA when the file ends first.
 */
int pread_full(int fd, void *buf, size_t len, uint64_t off);

/* write of exactly `len` bytes to a blocking descriptor, through EINTR and short writes. 0 or -errno. */
int write_full(int fd, const void *buf, size_t len);

#endif
