// Baseline "open-read-close".
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "baselines.h"
#include "team.h"

// Buffers start at this size and at least double, so that a tree of small files causes one allocation a thread.
static const size_t smallest_buffer = 256 * 1024;

// Makes room for `needed` bytes, keeping the first `used`. Page-aligned, because copies to unaligned pages are slower.
static int reserve(void **buffer, size_t *capacity, size_t needed, size_t used) {
    if (needed <= *capacity) return 0;
    size_t size = *capacity * 2 > smallest_buffer ? *capacity * 2 : smallest_buffer;
    if (size < needed) size = (needed + 4095) / 4096 * 4096;
    void *grown = NULL;
    int status = posix_memalign(&grown, 4096, size);
    if (status != 0) return -status;
    if (used > 0) memcpy(grown, *buffer, used);
    free(*buffer);
    *buffer = grown;
    *capacity = size;
    return 0;
}

static int64_t read_to_end(int fd, void **buffer, size_t *capacity) {
    struct stat attributes;
    if (fstat(fd, &attributes) < 0) return -errno;
    const size_t size = (size_t)attributes.st_size;

    size_t total = 0;
    for (;;) {
        // Always room for one byte more than the size: a read that comes back short has seen the end, so that a file
        // that tells the truth costs one read. Those that do not (/proc) are read until nothing comes.
        int status = reserve(buffer, capacity, (total > size ? total : size) + 1, total);
        if (status < 0) return status;
        ssize_t count = read(fd, (char *)*buffer + total, *capacity - total);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        total += (size_t)count;
        if (count == 0 || (size > 0 && total == size)) return (int64_t)total;
    }
}

int64_t baseline_load_file(const char *path, void **buffer, size_t *capacity) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int64_t count = read_to_end(fd, buffer, capacity);
    close(fd);
    return count;
}

struct load_context {
    const char *const *paths;
    size_t count;
    _Atomic size_t next;
    _Atomic uint64_t bytes;
};

static int load_share(void *argument, unsigned index) {
    (void)index; // Who is fast takes more.
    struct load_context *context = argument;
    void *buffer = NULL;
    size_t capacity = 0;
    uint64_t bytes = 0;
    int status = 0;
    while (status == 0) {
        size_t next = atomic_fetch_add_explicit(&context->next, 1, memory_order_relaxed);
        if (next >= context->count) break;
        int64_t count = baseline_load_file(context->paths[next], &buffer, &capacity);
        if (count < 0) {
            status = (int)count;
        } else {
            bytes += (uint64_t)count;
        }
    }
    free(buffer);
    atomic_fetch_add_explicit(&context->bytes, bytes, memory_order_relaxed);
    return status;
}

int baseline_open_read_close(const char *const *paths, size_t count, unsigned threads,
                             struct baseline_result *result) {
    struct load_context context = {.paths = paths, .count = count};
    int status = team_run(threads, load_share, &context, result);
    result->operations = count;
    result->bytes = atomic_load(&context.bytes);
    return status;
}
