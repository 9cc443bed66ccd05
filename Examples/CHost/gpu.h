// What an engine, or a layer that brings D3D12 to Vulkan, has before it knows of Penstock: a device, a queue that
// several threads submit to under one lock, buffers, a timeline semaphore. Nothing of Penstock is in here.
#ifndef GPU_H
#define GPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vulkan/vulkan.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gpu {
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    uint32_t queue_family;
    VkQueue queue;
    bool has_memory_host;         // VK_EXT_external_memory_host is enabled
    pthread_mutex_t queue_mutex;  // Vulkan wants one thread at a time at a VkQueue
    VkDebugUtilsMessengerEXT messenger;
    int messages;  // of the validation layer, from whichever thread: `gpu_messages` reads it
} gpu;

typedef struct gpu_buffer {
    VkBuffer handle;
    VkDeviceMemory memory;
    uint64_t size;
    void *mapped;  // NULL: the CPU does not see it
} gpu_buffer;

// Commands that are recorded and submitted again and again, by one thread.
typedef struct gpu_commands {
    VkCommandPool pool;
    VkCommandBuffer buffer;
} gpu_commands;

// All of these end the program, with a line that says why, where Vulkan refuses.
void gpu_create(gpu *gpu);
void gpu_destroy(gpu *gpu);

// How often the validation layer has spoken.
int gpu_messages(gpu *gpu);

// Of `gpu`, which is a `void *` here so that Penstock can call them.
void gpu_lock_queue(void *gpu);
void gpu_unlock_queue(void *gpu);

gpu_buffer gpu_create_buffer(gpu *gpu, uint64_t size, bool is_mapped);
void gpu_destroy_buffer(gpu *gpu, gpu_buffer buffer);

VkSemaphore gpu_create_timeline(gpu *gpu);
void gpu_wait_for(gpu *gpu, VkSemaphore timeline, uint64_t value);
uint64_t gpu_value_of(gpu *gpu, VkSemaphore timeline);

gpu_commands gpu_create_commands(gpu *gpu);
void gpu_destroy_commands(gpu *gpu, gpu_commands commands);
void gpu_begin(gpu_commands commands);
// Submits what was recorded since: it waits until the timeline has reached `after` (0: it does not), and moves it to
// `done`.
void gpu_submit(gpu *gpu, gpu_commands commands, VkSemaphore timeline, uint64_t after, uint64_t done);

#ifdef __cplusplus
}
#endif

#endif
