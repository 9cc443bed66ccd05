// Baseline "memcpy".
#include <string.h>

#include "gpu_uploads.h"
#include "stopwatch.h"

/// Checked before the clock starts: one offset between two blocks could lead past the end of the source.
static int check_source(const struct gpu_baseline_uploads *uploads, uint64_t source_size) {
    if (source_size == 0 || source_size % uploads->block_size != 0) return -EINVAL;
    for (size_t index = 0; index < uploads->count; index++)
        if (uploads->offsets[index] % uploads->block_size != 0) return -EINVAL;
    return 0;
}

int gpu_baseline_memcpy(const struct gpu_baseline_uploads *uploads, const void *source, uint64_t source_size,
                        void *target, struct baseline_result *result) {
    int status = uploads_check(uploads);
    if (status == 0) status = check_source(uploads, source_size);
    if (status != 0) return status;

    const struct stopwatch start = stopwatch_start();
    for (size_t index = 0; index < uploads->count; index++)
        memcpy((char *)target + uploads_target(uploads, index),
               (const char *)source + uploads->offsets[index] % source_size, uploads->block_size);
    stopwatch_stop(start, result);
    uploads_count(uploads, result);
    return 0;
}
