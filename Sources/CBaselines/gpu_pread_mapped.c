// Baseline "pread mapped".
#define _FILE_OFFSET_BITS 64
#include "gpu_uploads.h"
#include "stopwatch.h"

int gpu_baseline_pread_mapped(const struct gpu_baseline_uploads *uploads, void *mapped,
                              struct baseline_result *result) {
    int status = uploads_check(uploads);
    if (status != 0) return status;

    const struct stopwatch start = stopwatch_start();
    for (size_t index = 0; status == 0 && index < uploads->count; index++)
        status = uploads_read(uploads, index, (char *)mapped + uploads_target(uploads, index));
    stopwatch_stop(start, result);
    uploads_count(uploads, result);
    return status;
}
