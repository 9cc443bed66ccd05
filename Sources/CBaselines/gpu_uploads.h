/// What every upload baseline does with its list.
#ifndef CBASELINES_GPU_UPLOADS_H
#define CBASELINES_GPU_UPLOADS_H

#include <errno.h>
#include <unistd.h>

#include "gpu_baselines.h"

/// 0, or -EINVAL if the destination does not hold a whole number of blocks.
static inline int uploads_check(const struct gpu_baseline_uploads *uploads) {
    if (uploads->block_size == 0 || uploads->destination_size == 0) return -EINVAL;
    return uploads->destination_size % uploads->block_size == 0 ? 0 : -EINVAL;
}

/// Where request `index` lands in the destination.
static inline uint64_t uploads_target(const struct gpu_baseline_uploads *uploads, size_t index) {
    return (uint64_t)index * uploads->block_size % uploads->destination_size;
}

/// Reads the block of request `index` into `bytes`. Returns 0 or -errno.
static inline int uploads_read(const struct gpu_baseline_uploads *uploads, size_t index, void *bytes) {
    ssize_t count = pread(uploads->fd, bytes, uploads->block_size, (off_t)uploads->offsets[index]);
    if (count < 0) return -errno;
    return (size_t)count == uploads->block_size ? 0 : -EIO;
}

/// Fills in what was asked for; the stopwatch fills in the times.
static inline void uploads_count(const struct gpu_baseline_uploads *uploads, struct baseline_result *result) {
    result->operations = uploads->count;
    result->bytes = (uint64_t)uploads->count * uploads->block_size;
}

#endif
