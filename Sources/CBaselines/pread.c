// Baseline "pread".
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <unistd.h>

#include "baselines.h"
#include "team.h"

struct pread_context {
    const struct baseline_reads *reads;
    unsigned threads;
};

static int read_share(void *argument, unsigned index) {
    const struct pread_context *context = argument;
    const struct baseline_reads *reads = context->reads;
    const size_t first = reads->count * index / context->threads;
    const size_t end = reads->count * (index + 1) / context->threads;
    void *const buffer = reads->buffers[index];

    for (size_t next = first; next < end; next++) {
        ssize_t count = pread(reads->fd, buffer, reads->block_size, (off_t)reads->offsets[next]);
        if (count < 0) return -errno;
        if ((size_t)count != reads->block_size) return -EIO;
    }
    return 0;
}

int baseline_pread(const struct baseline_reads *reads, unsigned threads, struct baseline_result *result) {
    if (threads > reads->buffer_count) return -EINVAL;
    struct pread_context context = {.reads = reads, .threads = threads};
    int status = team_run(threads, read_share, &context, result);
    result->operations = reads->count;
    result->bytes = (uint64_t)reads->count * reads->block_size;
    return status;
}
