// A Vulkan device through the C interface: files to a buffer and back, adopted handles, timeline semaphores. Arguments: a
// folder for files.
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <vulkan/vulkan_core.h>

enum { SIZE = 5 << 20 };
static const uint64_t forever = UINT64_MAX;

static atomic_int locks, holders, ended;
static atomic_ullong moved;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void *user_data) {
    pthread_mutex_lock(user_data);
    CHECK(++holders == 1);
    locks++;
}

static void unlock(void *user_data) {
    holders--;
    pthread_mutex_unlock(user_data);
}

static void count(const penstock_completion *completion) {
    if (completion->result == PENSTOCK_OK) moved += completion->bytes;
    ended++;
}

static penstock_file file, copy;
static penstock_queue queue;

static penstock_request buffer_request(uint32_t operation, penstock_buffer buffer, uint64_t at, uint64_t size) {
    penstock_request request = {
        .struct_size = sizeof request, .operation = operation, .file = operation == PENSTOCK_READ ? file : copy,
        .offset = at, .size = size, .buffer = buffer, .buffer_offset = at, .callback = count};
    return request;
}

// Reads the file into the buffer in unequal parts, and writes it into another file, which is compared.
static void there_and_back(penstock_buffer buffer) {
    ended = 0;
    moved = 0;
    uint64_t parts = 0;
    for (uint64_t at = 0, size = 1; at < SIZE; at += size, size = size * 3 + 4) {
        if (size > SIZE - at) size = SIZE - at;
        penstock_request request = buffer_request(PENSTOCK_READ, buffer, at, size);
        OK(penstock_enqueue(queue, &request, 1, NULL));
        parts++;
    }
    OK(penstock_wait(queue, forever));
    CHECK((uint64_t)ended == parts && moved == SIZE);
    penstock_request request = buffer_request(PENSTOCK_WRITE, buffer, 0, SIZE);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(moved == 2 * SIZE);
    unsigned char *bytes = malloc(SIZE);
    request = buffer_request(PENSTOCK_READ, (penstock_buffer){0}, 0, SIZE);
    request.file = copy;
    request.memory = bytes;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(matches(bytes, 0, SIZE));
    free(bytes);
}

static void buffers_have_bounds(penstock_buffer buffer) {
    penstock_request good = buffer_request(PENSTOCK_READ, buffer, 0, 64), bad;
#define REFUSED(expected, change)                                  \
    bad = good;                                                    \
    change;                                                        \
    EXPECT(expected, penstock_enqueue(queue, &bad, 1, NULL))
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.buffer_offset = SIZE - 63);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.buffer_offset = UINT64_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.buffer_offset = INT64_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.size = SIZE + 1);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.size = UINT64_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_HANDLE, bad.buffer.id ^= 1ull << 33);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.memory = &bad);
    // Past the end of the file: what is there and no more, and the buffer keeps what it had behind that.
    ended = 0;
    moved = 0;
    penstock_request request = buffer_request(PENSTOCK_READ, buffer, 1000, 64);
    request.offset = SIZE - 10;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(moved == 10);
    unsigned char bytes[64];
    request = buffer_request(PENSTOCK_WRITE, buffer, 1000, 64);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    request = buffer_request(PENSTOCK_READ, (penstock_buffer){0}, 1000, 64);
    request.file = copy;
    request.memory = bytes;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(matches(bytes, SIZE - 10, 10) && matches(bytes + 10, 1010, 54));
}

static void semaphores_are_signalled(penstock_device device, penstock_device_info info, penstock_buffer buffer) {
    void *library = dlopen("libvulkan.so.1", RTLD_NOW);
    CHECK(library);
    PFN_vkGetInstanceProcAddr load;
    *(void **)&load = dlsym(library, "vkGetInstanceProcAddr");
    PFN_vkGetDeviceProcAddr load_device = (PFN_vkGetDeviceProcAddr)load(info.instance, "vkGetDeviceProcAddr");
    PFN_vkCreateSemaphore create = (PFN_vkCreateSemaphore)load_device(info.device, "vkCreateSemaphore");
    PFN_vkDestroySemaphore destroy = (PFN_vkDestroySemaphore)load_device(info.device, "vkDestroySemaphore");
    PFN_vkWaitSemaphores wait = (PFN_vkWaitSemaphores)load_device(info.device, "vkWaitSemaphores");
    PFN_vkGetSemaphoreCounterValue value_of =
        (PFN_vkGetSemaphoreCounterValue)load_device(info.device, "vkGetSemaphoreCounterValue");
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo create_info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkSemaphore semaphore;
    CHECK(create(info.device, &create_info, NULL, &semaphore) == VK_SUCCESS);
    ended = 0;
    for (uint64_t round = 1; round <= 20; round++) {
        for (int index = 0; index < 10; index++) {
            penstock_request request = buffer_request(PENSTOCK_READ, buffer, (uint64_t)index * 4096, 4096);
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        OK(penstock_enqueue_signal(queue, device, (uint64_t)semaphore, 5 * round));
    }
    const uint64_t last = 100;
    const VkSemaphoreWaitInfo wait_info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1, .pSemaphores = &semaphore, .pValues = &last};
    CHECK(wait(info.device, &wait_info, forever) == VK_SUCCESS);
    CHECK(ended == 200);
    // A value that it has already: nothing happens, least of all to the device.
    OK(penstock_enqueue_signal(queue, device, (uint64_t)semaphore, 7));
    OK(penstock_wait(queue, forever));
    uint64_t value = 0;
    CHECK(value_of(info.device, semaphore, &value) == VK_SUCCESS && value == last);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue_signal(queue, device, 0, 7));
    destroy(info.device, semaphore, NULL);
    dlclose(library);
}

static void misuse_is_refused(penstock_device_info info) {
    penstock_device device;
    penstock_device_options good = {
        .struct_size = sizeof good, .queue_family = info.queue_family, .instance = info.instance,
        .physical_device = info.physical_device, .device = info.device, .queue = info.queue}, bad;
#undef REFUSED
#define REFUSED(change)                                                              \
    bad = good;                                                                      \
    change;                                                                          \
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_device_adopt(&bad, &device))
    REFUSED(bad.instance = NULL);
    REFUSED(bad.physical_device = NULL);
    REFUSED(bad.device = NULL);
    REFUSED(bad.queue = NULL);
    REFUSED(bad.queue_family = 1000);
    REFUSED(bad.lock = lock);
    REFUSED(bad.enabled = 1u << 30);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_device_adopt(NULL, &device));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_device_adopt(&good, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_device_create(NULL));
    OK(penstock_device_adopt(&good, &device));
    penstock_buffer buffer;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_buffer_adopt(device, 0, 64, &buffer));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_buffer_create(device, 0, 0, &buffer));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_buffer_create(device, 64, 0, NULL));
    OK(penstock_device_close(device));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_device_close(device));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_buffer_create(device, 64, 0, &buffer));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_buffer_close((penstock_buffer){0}));
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    char path[256], copy_path[300];
    make_file(path, arguments[1], "source", SIZE);
    snprintf(copy_path, sizeof copy_path, "%s/copy", arguments[1]);
    penstock_device own;
    OK(penstock_device_create(&own));
    penstock_device_info info = {.struct_size = sizeof info};
    OK(penstock_device_query(own, &info));
    CHECK(info.instance && info.physical_device && info.device && info.queue && !info.is_lost);
    misuse_is_refused(info);

    // Once with the device as it is made, and once adopted as a host's, under its lock.
    for (int is_adopted = 0; is_adopted < 2; is_adopted++) {
        penstock_device device = own;
        locks = 0;
        if (is_adopted) {
            penstock_device_options options = {
                .struct_size = sizeof options, .queue_family = info.queue_family, .instance = info.instance,
                .physical_device = info.physical_device, .device = info.device, .queue = info.queue, .lock = lock,
                .unlock = unlock, .lock_user_data = &mutex};
            OK(penstock_device_adopt(&options, &device));
        }
        penstock_runtime runtime;
        OK(penstock_runtime_create(NULL, &runtime));
        OK(penstock_queue_create(runtime, NULL, &queue));
        OK(penstock_file_open(runtime, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &file));
        OK(penstock_file_open(
            runtime, copy_path,
            PENSTOCK_ACCESS_READ | PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_CREATE | PENSTOCK_ACCESS_TRUNCATE,
            PENSTOCK_CACHING_AUTOMATIC, &copy));
        penstock_buffer buffer;
        OK(penstock_buffer_create(device, SIZE, 0, &buffer));
        there_and_back(buffer);
        buffers_have_bounds(buffer);
        semaphores_are_signalled(device, info, buffer);
        OK(penstock_buffer_close(buffer));
        EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_buffer_close(buffer));
        OK(penstock_runtime_close(runtime));
        CHECK(is_adopted ? locks > 0 : locks == 0);
        if (is_adopted) OK(penstock_device_close(device));
        printf("ok  files to a buffer and back, %s\n", is_adopted ? "adopted" : "of its own");
    }
    OK(penstock_device_close(own));
    return 0;
}
