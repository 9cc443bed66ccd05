// Baseline "staging ring".
#define _FILE_OFFSET_BITS 64
#include <stdlib.h>

#include "gpu_copy.h"
#include "gpu_staging.h"
#include "gpu_uploads.h"
#include "stopwatch.h"

enum {
    DEFAULT_SEGMENTS = 4,
    DEFAULT_SEGMENT_REQUESTS = 128,
    DEFAULT_SEGMENT_BYTES = 4 << 20,
};

struct ring {
    struct gpu_baselines *baselines;
    const struct gpu_baseline_uploads *uploads;
    struct gpu_staging staging;
    unsigned segments;
    size_t segment_requests;
    struct gpu_copy *copies; ///< One for each segment.
    VkBufferCopy2 *regions;  ///< One for each request of a segment; recording a command is done with them.
};

/// How many requests a segment takes. No more than the destination holds, so that no two regions of one copy overlap.
static size_t segment_requests(const struct gpu_baseline_uploads *uploads, struct gpu_baseline_ring_shape shape) {
    const uint64_t bytes = shape.segment_bytes ? shape.segment_bytes : DEFAULT_SEGMENT_BYTES;
    const uint64_t blocks = uploads->destination_size / uploads->block_size;
    uint64_t requests = shape.segment_requests ? shape.segment_requests : DEFAULT_SEGMENT_REQUESTS;
    if (requests > bytes / uploads->block_size) requests = bytes / uploads->block_size;
    if (requests > blocks) requests = blocks;
    return requests > 0 ? (size_t)requests : 1;
}

static int ring_open(struct ring *ring, struct gpu_baseline_ring_shape shape) {
    ring->segments = shape.segments ? shape.segments : DEFAULT_SEGMENTS;
    ring->segment_requests = segment_requests(ring->uploads, shape);
    ring->copies = calloc(ring->segments, sizeof *ring->copies);
    ring->regions = calloc(ring->segment_requests, sizeof *ring->regions);
    if (!ring->copies || !ring->regions) return -ENOMEM;

    const uint64_t size = (uint64_t)ring->segments * ring->segment_requests * ring->uploads->block_size;
    int status = gpu_staging_open(ring->baselines, size, &ring->staging);
    for (unsigned segment = 0; status == 0 && segment < ring->segments; segment++)
        status = gpu_copy_open(ring->baselines, &ring->copies[segment]);
    return status;
}

static void ring_close(struct ring *ring) {
    for (unsigned segment = 0; ring->copies && segment < ring->segments; segment++)
        gpu_copy_close(ring->baselines, &ring->copies[segment]);
    gpu_staging_close(ring->baselines, &ring->staging);
    free(ring->regions);
    free(ring->copies);
}

/// Reads `count` requests from `first` on into `segment`, which must be free, and writes their regions.
static int fill_segment(struct ring *ring, unsigned segment, size_t first, size_t count) {
    const uint32_t block_size = ring->uploads->block_size;
    uint64_t offset = (uint64_t)segment * ring->segment_requests * block_size;
    for (size_t index = 0; index < count; index++, offset += block_size) {
        int status = uploads_read(ring->uploads, first + index, ring->staging.bytes + offset);
        if (status != 0) return status;
        ring->regions[index] = (VkBufferCopy2){
            .sType = VK_STRUCTURE_TYPE_BUFFER_COPY_2,
            .srcOffset = offset,
            .dstOffset = uploads_target(ring->uploads, first + index),
            .size = block_size,
        };
    }
    return 0;
}

static int submit_segment(struct ring *ring, unsigned segment, size_t count) {
    const VkCopyBufferInfo2 what = {
        .sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2,
        .srcBuffer = ring->staging.buffer,
        .dstBuffer = (VkBuffer)(uintptr_t)ring->uploads->destination,
        .regionCount = (uint32_t)count,
        .pRegions = ring->regions,
    };
    return gpu_copy_submit(ring->baselines, &ring->copies[segment], &what);
}

static int upload_all(struct ring *ring) {
    const size_t total = ring->uploads->count;
    unsigned segment = 0;
    for (size_t first = 0; first < total; first += ring->segment_requests) {
        const size_t left = total - first;
        const size_t count = left < ring->segment_requests ? left : ring->segment_requests;
        int status = gpu_await(ring->baselines, ring->copies[segment].submitted);
        if (status == 0) status = fill_segment(ring, segment, first, count);
        if (status == 0) status = submit_segment(ring, segment, count);
        if (status != 0) return status;
        segment = segment + 1 < ring->segments ? segment + 1 : 0;
    }
    return 0;
}

/// Uploads the list and waits for all that was submitted, after a failure too: staging must not go before that.
static int upload_and_drain(struct ring *ring) {
    const int uploaded = upload_all(ring);
    const int drained = gpu_await(ring->baselines, ring->baselines->submitted);
    return uploaded != 0 ? uploaded : drained;
}

int gpu_baseline_staging_ring(struct gpu_baselines *baselines, const struct gpu_baseline_uploads *uploads,
                              struct gpu_baseline_ring_shape shape, struct baseline_result *result) {
    int status = uploads_check(uploads);
    if (status != 0) return status;

    struct ring ring = {.baselines = baselines, .uploads = uploads};
    status = ring_open(&ring, shape);
    if (status == 0) {
        const struct stopwatch start = stopwatch_start();
        status = upload_and_drain(&ring);
        stopwatch_stop(start, result);
    }
    uploads_count(uploads, result);
    ring_close(&ring);
    return status;
}
