#include "allocation_counter.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

// A sanitizer brings its own malloc and must be the only one to do so; ThreadSanitizer and AddressSanitizer would lose
// sight of the heap otherwise.
#if __has_feature(address_sanitizer) || __has_feature(hwaddress_sanitizer) || __has_feature(thread_sanitizer) \
    || __has_feature(memory_sanitizer) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__GLIBC__)
#define COUNTS_ALLOCATIONS 1
#else
#define COUNTS_ALLOCATIONS 0
#endif

static _Atomic bool counting;
static _Atomic uint64_t allocations;

bool allocation_counter_available(void) {
    return COUNTS_ALLOCATIONS;
}

void allocation_counter_start(void) {
    atomic_store(&allocations, 0);
    atomic_store(&counting, true);
}

uint64_t allocation_counter_stop(void) {
    atomic_store(&counting, false);
    return atomic_load(&allocations);
}

#if COUNTS_ALLOCATIONS

// glibc exports its allocator under these names for interposers like this one, though no header declares them.
// dlsym(RTLD_NEXT, …) would be the documented way, but it allocates while it looks, and has nothing to find when the
// C library is linked statically. free(3) is left alone: the memory is glibc's own.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static inline void note(void) {
    if (__builtin_expect(atomic_load_explicit(&counting, memory_order_relaxed), 0)) {
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    }
}

void *malloc(size_t size) {
    note();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    note();
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    note();
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    note();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    note();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    note();
    // Unlike the others, it reports failure by its result and leaves errno and `*memory` as they were.
    const int saved = errno;
    void *allocated = __libc_memalign(alignment, size);
    errno = saved;
    if (!allocated) return ENOMEM;
    *memory = allocated;
    return 0;
}

#endif
