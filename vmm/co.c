/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A coroutine is a stack and the place where it stopped. co_switch saves what the calling convention makes the callee keep, stores
 * the stack pointer, loads another one and returns there: about ten instructions and no system call. A stack is mapped with a page
 * below it that nobody may touch.
 *
 * The scheduler is drive(): it takes coroutines off the ready list and switches to each, and they switch back to it alone. So there are
 * always just two parties, the driver's stack and one coroutine. What wakes others while the driver runs puts them at the end of the
 * list.
 *
 * Address and thread sanitizers must be told of each switch, as they keep a shadow of the stack they think they are on.
 */
#include "vmm/co.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

#if defined(__SANITIZE_ADDRESS__)
#define CO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CO_TSAN 1
#endif
#endif

#ifdef CO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#include <sanitizer/tsan_interface.h>

SYSCALL_RULES(
	{ CALL(mmap), ARG_MASK(2, PROT_EXEC, 0), .threads = THREAD_LOOP }, /* stacks */
	{ CALL(mprotect), ARG_MASK(2, PROT_EXEC, 0), .threads = THREAD_LOOP },
	{ CALL(munmap), .threads = THREAD_LOOP },
);
#endif

#define GUARD_SIZE 4096
#if defined(CO_ASAN) || defined(CO_TSAN)
#define STACK_SIZE (256 * KIB) /* their frames are larger */
#else
#define STACK_SIZE (64 * KIB)
#endif

struct co {
	struct co_pool *pool;
	struct co *next; /* ready, free or in a queue */
	struct co *all;  /* every one that was made */
	char *map;       /* guard and stack */
	void *sp;        /* where it stopped */
	struct co_task task;
	bool ended;
#ifdef CO_ASAN
	void *fake_stack;
#endif
#ifdef CO_TSAN
	void *fiber;
#endif
};

struct co_pool {
	unsigned max, made, busy;
	struct co *all, *free, *current;
	struct co *ready_first, *ready_last;
	struct co_task *task_first, *task_last;
	void *driver_sp;
#ifdef CO_ASAN
	void *driver_fake_stack;
	const void *driver_stack;
	size_t driver_stack_size;
#endif
#ifdef CO_TSAN
	void *driver_fiber;
#endif
};

/* void co_switch(void **save, void *load): rbx, rbp, r12 to r15, and the modes of floating point, are the callee's to keep. */
void co_switch(void **save, void *load) __asm__("kite_co_switch") __attribute__((visibility("hidden")));

#ifdef __x86_64__
__asm__(".pushsection .text\n"
	".globl kite_co_switch\n"
	".hidden kite_co_switch\n"
	".type kite_co_switch, @function\n"
	"kite_co_switch:\n"
	"	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	sub $8, %rsp\n	stmxcsr (%rsp)\n	fnstcw 4(%rsp)\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	ldmxcsr (%rsp)\n	fldcw 4(%rsp)\n	add $8, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
	"	ret\n"
	".size kite_co_switch, . - kite_co_switch\n"
	/* Where a new stack begins: the coroutine is in rbx, and there is nowhere to return to. */
	".globl kite_co_entry\n"
	".hidden kite_co_entry\n"
	".type kite_co_entry, @function\n"
	"kite_co_entry:\n"
	"	xor %ebp, %ebp\n	mov %rbx, %rdi\n	call kite_co_main\n	ud2\n"
	".size kite_co_entry, . - kite_co_entry\n"
	".popsection\n");

/* What co_switch takes off a stack. */
struct co_frame {
	uint32_t mxcsr;
	uint16_t fcw, pad;
	uint64_t r15, r14, r13, r12, rbx, rbp, rip;
	uint64_t end[2]; /* keeps the stack aligned, and ends backtraces */
};

extern const char co_entry[] __asm__("kite_co_entry") __attribute__((visibility("hidden")));

static void *frame_make(char *top, struct co *co)
{
	struct co_frame *f = (struct co_frame *)(void *)(top - sizeof(*f));

	*f = (struct co_frame){ .rbx = (uintptr_t)co, .rip = (uintptr_t)co_entry };
	__asm__("stmxcsr %0\n\tfnstcw %1" : "=m"(f->mxcsr), "=m"(f->fcw));
	return f;
}
#else
#error "coroutines need a co_switch for this architecture"
#endif

void co_main(struct co *co) __asm__("kite_co_main") __attribute__((used, noreturn, visibility("hidden")));

static void to_driver(struct co *co)
{
	struct co_pool *pool = co->pool;

#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(&co->fake_stack, pool->driver_stack, pool->driver_stack_size);
#endif
#ifdef CO_TSAN
	__tsan_switch_to_fiber(pool->driver_fiber, 0);
#endif
	co_switch(&co->sp, pool->driver_sp);
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(co->fake_stack, &pool->driver_stack, &pool->driver_stack_size);
#endif
}

/* A coroutine's whole life: task after task. */
void co_main(struct co *co)
{
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(NULL, &co->pool->driver_stack, &co->pool->driver_stack_size);
#endif
	for (;;) {
		co->task.run(co->task.opaque);
		co->ended = true;
		to_driver(co);
	}
}

static struct co *co_make(struct co_pool *pool)
{
	struct co *co = calloc(1, sizeof(*co));

	if (!co)
		return NULL;
	co->map = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (co->map == MAP_FAILED || mprotect(co->map, GUARD_SIZE, PROT_NONE) < 0) {
		if (co->map != MAP_FAILED)
			munmap(co->map, GUARD_SIZE + STACK_SIZE);
		free(co);
		return NULL;
	}
	co->pool = pool;
	co->sp = frame_make(co->map + GUARD_SIZE + STACK_SIZE, co);
#ifdef CO_TSAN
	co->fiber = __tsan_create_fiber(0);
#endif
	co->all = pool->all;
	pool->all = co;
	pool->made++;
	return co;
}

static struct co *co_get(struct co_pool *pool)
{
	struct co *co = pool->free;

	if (co)
		pool->free = co->next;
	else if (pool->made < pool->max)
		co = co_make(pool);
	if (co)
		pool->busy++;
	return co;
}

static void ready_add(struct co_pool *pool, struct co *co)
{
	co->next = NULL;
	if (pool->ready_first)
		pool->ready_last->next = co;
	else
		pool->ready_first = co;
	pool->ready_last = co;
}

static void co_free(struct co *co)
{
#ifdef CO_TSAN
	__tsan_destroy_fiber(co->fiber);
#endif
	munmap(co->map, GUARD_SIZE + STACK_SIZE);
	free(co);
}

static void resume(struct co_pool *pool, struct co *co)
{
	pool->current = co;
#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(&pool->driver_fake_stack, co->map + GUARD_SIZE, STACK_SIZE);
#endif
#ifdef CO_TSAN
	pool->driver_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(co->fiber, 0);
#endif
	co_switch(&pool->driver_sp, co->sp);
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(pool->driver_fake_stack, NULL, NULL);
#endif
	pool->current = NULL;
	if (co->ended) {
		co->ended = false;
		co->next = pool->free;
		pool->free = co;
		pool->busy--;
	}
}

static bool task_take(struct co_pool *pool)
{
	struct co_task *task = pool->task_first;
	struct co *co = task ? co_get(pool) : NULL;

	if (!co)
		return false;
	pool->task_first = task->next;
	co->task = *task;
	ready_add(pool, co);
	return true;
}

/* Runs all that can run. Called from outside of coroutines only. */
static void drive(struct co_pool *pool)
{
	struct co *co;

	if (pool->current)
		return;
	while ((co = pool->ready_first) || task_take(pool)) {
		co = pool->ready_first;
		pool->ready_first = co->next;
		resume(pool, co);
	}
}

void co_start(struct co_pool *pool, struct co_task *task)
{
	task->next = NULL;
	if (pool->task_first)
		pool->task_last->next = task;
	else
		pool->task_first = task;
	pool->task_last = task;
	drive(pool);
}

struct co *co_self(const struct co_pool *pool)
{
	return pool->current;
}

void co_wait(struct co_pool *pool)
{
	assert(pool->current);
	to_driver(pool->current);
}

void co_wake(struct co *co)
{
	ready_add(co->pool, co);
	drive(co->pool);
}

void co_queue_wait(struct co_pool *pool, struct co_queue *queue)
{
	struct co *co = pool->current;

	co->next = NULL;
	if (queue->first)
		queue->last->next = co;
	else
		queue->first = co;
	queue->last = co;
	co_wait(pool);
}

/* Those of this moment: one that waits again is not woken twice. */
void co_queue_wake(struct co_queue *queue)
{
	struct co *co = queue->first;

	queue->first = NULL;
	while (co) {
		struct co *next = co->next;

		co_wake(co);
		co = next;
	}
}

void co_lock(struct co_pool *pool, struct co_mutex *mutex)
{
	if (!mutex->owner)
		mutex->owner = pool->current;
	else
		co_queue_wait(pool, &mutex->queue); /* it is handed over */
}

void co_unlock(struct co_mutex *mutex)
{
	struct co *next = mutex->queue.first;

	mutex->owner = next;
	if (!next)
		return;
	mutex->queue.first = next->next;
	co_wake(next);
}

struct co_pool *co_pool_create(unsigned max, struct err *err)
{
	struct co_pool *pool = calloc(1, sizeof(*pool));

	if (pool) {
		struct co *first;

		pool->max = max;
		first = co_make(pool);
		if (first) {
			pool->free = first;
			return pool;
		}
	}
	free(pool);
	err_set_errno(err, -ENOMEM, "cannot make coroutines");
	return NULL;
}

void co_pool_destroy(struct co_pool *pool)
{
	struct co *co;

	if (!pool)
		return;
	assert(!pool->busy && !pool->task_first);
	while ((co = pool->all)) {
		pool->all = co->all;
		co_free(co);
	}
	free(pool);
}
