// Baseline "submit each".
#define _FILE_OFFSET_BITS 64
#include "gpu_copy.h"
#include "gpu_staging.h"
#include "gpu_uploads.h"
#include "stopwatch.h"

static int upload(struct gpu_baselines *baselines, const struct gpu_baseline_uploads *uploads, size_t index,
                  const struct gpu_staging *staging, struct gpu_copy *copy) {
    int status = uploads_read(uploads, index, staging->bytes);
    if (status != 0) return status;

    const VkBufferCopy2 region = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_COPY_2,
        .dstOffset = uploads_target(uploads, index),
        .size = uploads->block_size,
    };
    const VkCopyBufferInfo2 what = {
        .sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2,
        .srcBuffer = staging->buffer,
        .dstBuffer = (VkBuffer)(uintptr_t)uploads->destination,
        .regionCount = 1,
        .pRegions = &region,
    };
    status = gpu_copy_submit(baselines, copy, &what);
    return status == 0 ? gpu_await(baselines, copy->submitted) : status;
}

static int upload_all(struct gpu_baselines *baselines, const struct gpu_baseline_uploads *uploads,
                      const struct gpu_staging *staging, struct gpu_copy *copy, uint64_t *request_ns) {
    for (size_t index = 0; index < uploads->count; index++) {
        const uint64_t start = request_ns ? stopwatch_clock(CLOCK_MONOTONIC) : 0;
        int status = upload(baselines, uploads, index, staging, copy);
        if (status != 0) return status;
        if (request_ns) request_ns[index] = stopwatch_clock(CLOCK_MONOTONIC) - start;
    }
    return 0;
}

int gpu_baseline_submit_each(struct gpu_baselines *baselines, const struct gpu_baseline_uploads *uploads,
                             uint64_t *request_ns, struct baseline_result *result) {
    struct gpu_staging staging = {0};
    struct gpu_copy copy = {0};
    int status = uploads_check(uploads);
    if (status == 0) status = gpu_staging_open(baselines, uploads->block_size, &staging);
    if (status == 0) status = gpu_copy_open(baselines, &copy);

    if (status == 0) {
        const struct stopwatch start = stopwatch_start();
        status = upload_all(baselines, uploads, &staging, &copy, request_ns);
        stopwatch_stop(start, result);
    }

    uploads_count(uploads, result);
    gpu_copy_close(baselines, &copy);
    gpu_staging_close(baselines, &staging);
    return status;
}
