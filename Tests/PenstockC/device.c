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

// The host's own buffer and memory, made with Vulkan itself.
static void host_buffers_are_adopted(penstock_device device, penstock_device_info info) {
    void *library = dlopen("libvulkan.so.1", RTLD_NOW);
    CHECK(library);
    PFN_vkGetInstanceProcAddr load;
    *(void **)&load = dlsym(library, "vkGetInstanceProcAddr");
    PFN_vkGetDeviceProcAddr load_device = (PFN_vkGetDeviceProcAddr)load(info.instance, "vkGetDeviceProcAddr");
#define VULKAN(name) PFN_vk##name name = (PFN_vk##name)load_device(info.device, "vk" #name)
    VULKAN(CreateBuffer);
    VULKAN(DestroyBuffer);
    VULKAN(GetBufferMemoryRequirements);
    VULKAN(AllocateMemory);
    VULKAN(FreeMemory);
    VULKAN(BindBufferMemory);
    const VkBufferCreateInfo buffer_info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = SIZE,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkBuffer handle;
    CHECK(CreateBuffer(info.device, &buffer_info, NULL, &handle) == VK_SUCCESS);
    VkMemoryRequirements requirements;
    GetBufferMemoryRequirements(info.device, handle, &requirements);
    uint32_t type = 0;
    while (!(requirements.memoryTypeBits & 1u << type)) type++;
    const VkMemoryAllocateInfo memory_info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = requirements.size, .memoryTypeIndex = type};
    VkDeviceMemory memory;
    CHECK(AllocateMemory(info.device, &memory_info, NULL, &memory) == VK_SUCCESS);
    CHECK(BindBufferMemory(info.device, handle, memory, 0) == VK_SUCCESS);
    penstock_buffer buffer;
    OK(penstock_buffer_adopt(device, (uint64_t)handle, SIZE, &buffer));
    there_and_back(buffer);
    buffers_have_bounds(buffer);
    OK(penstock_buffer_close(buffer));
    // Still the host's.
    OK(penstock_wait(queue, forever));
    DestroyBuffer(info.device, handle, NULL);
    FreeMemory(info.device, memory, NULL);
    dlclose(library);
}

static void memory_is_copied_into_buffers(penstock_buffer buffer) {
    enum { COPIED = 100000 };
    static unsigned char bytes[COPIED], again[COPIED];
    fill(bytes, 99, COPIED);
    ended = 0;
    moved = 0;
    penstock_request request = {
        .struct_size = sizeof request, .size = COPIED, .buffer = buffer, .buffer_offset = 12, .source = bytes,
        .callback = count};
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(ended == 1 && moved == COPIED);
    request = buffer_request(PENSTOCK_WRITE, buffer, 12, COPIED);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    request = buffer_request(PENSTOCK_READ, (penstock_buffer){0}, 12, COPIED);
    request.file = copy;
    request.memory = again;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(memcmp(bytes, again, COPIED) == 0);
    // Either a file or memory.
    request = (penstock_request){
        .struct_size = sizeof request, .size = COPIED, .buffer = buffer, .source = bytes, .file = file};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    request.file.id = 0;
    request.buffer_offset = SIZE - COPIED + 1;
    EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_enqueue(queue, &request, 1, NULL));
}

static penstock_request image_request(uint32_t operation, penstock_image image, uint64_t size) {
    penstock_request request = buffer_request(operation, (penstock_buffer){0}, 0, size);
    request.image = image;
    request.old_layout = operation == PENSTOCK_READ ? VK_IMAGE_LAYOUT_UNDEFINED : VK_IMAGE_LAYOUT_GENERAL;
    request.new_layout = VK_IMAGE_LAYOUT_GENERAL;
    return request;
}

// All levels of an image there and back, and some parts of it.
static void images_are_filled(penstock_device device) {
    penstock_image_description description = {
        .struct_size = sizeof description, .format = VK_FORMAT_R8G8B8A8_UNORM, .width = 128, .height = 64, .mip_levels = 5,
        .array_layers = 3};
    penstock_image image;
    OK(penstock_image_create(device, &description, 0, &image));
    uint64_t size = 0, expected = 0;
    OK(penstock_image_size(image, &size));
    for (uint32_t mip = 0; mip < 5; mip++) expected += (uint64_t)(128 >> mip) * (64 >> mip) * 4 * 3;
    CHECK(size == expected);
    ended = 0;
    moved = 0;
    penstock_request request = image_request(PENSTOCK_READ, image, size);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(ended == 1 && moved == size);
    request = image_request(PENSTOCK_WRITE, image, size);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    unsigned char *bytes = malloc(size);
    penstock_request back = buffer_request(PENSTOCK_READ, (penstock_buffer){0}, 0, size);
    back.file = copy;
    back.memory = bytes;
    OK(penstock_enqueue(queue, &back, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(matches(bytes, 0, size));

    // Two boxes, out of a file and out of memory, and back.
    const penstock_image_part parts[] = {
        {.mip = 1, .first_layer = 1, .layer_count = 2, .x = 8, .y = 4, .width = 16, .height = 8},
        {.mip = 4, .first_layer = 0}};
    const uint64_t boxes = 2 * 16 * 8 * 4 + 8 * 4 * 4;
    for (int from_memory = 0; from_memory < 2; from_memory++) {
        fill(bytes, 7777, boxes);
        request = image_request(PENSTOCK_READ, image, boxes);
        request.old_layout = VK_IMAGE_LAYOUT_GENERAL;
        request.parts = parts;
        request.part_count = 2;
        if (from_memory) {
            request.file.id = 0;
            request.source = bytes;
        } else {
            request.offset = 4321;
        }
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_wait(queue, forever));
        penstock_request out = image_request(PENSTOCK_WRITE, image, boxes);
        out.parts = parts;
        out.part_count = 2;
        OK(penstock_enqueue(queue, &out, 1, NULL));
        OK(penstock_wait(queue, forever));
        back.size = boxes;
        OK(penstock_enqueue(queue, &back, 1, NULL));
        OK(penstock_wait(queue, forever));
        CHECK(matches(bytes, from_memory ? 7777 : 4321, boxes));
    }
    free(bytes);

    // What the image does not have.
    penstock_request bad;
#undef REFUSED
#define REFUSED(expected, change)                                  \
    bad = image_request(PENSTOCK_READ, image, size);               \
    change;                                                        \
    EXPECT(expected, penstock_enqueue(queue, &bad, 1, NULL))
    penstock_image_part outside = {.mip = 5};
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.size--);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.size = UINT64_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, (bad.parts = &outside, bad.part_count = 1));
    outside = (penstock_image_part){.x = 1, .width = 128};
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, (bad.parts = &outside, bad.part_count = 1));
    outside = (penstock_image_part){.first_layer = UINT32_MAX, .layer_count = UINT32_MAX};
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, (bad.parts = &outside, bad.part_count = 1));
    outside = (penstock_image_part){.width = UINT32_MAX, .row_pitch = INT64_MAX};
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, (bad.parts = &outside, bad.part_count = 1));
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.part_count = 1);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.order = 9);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.memory = &bad);
    REFUSED(PENSTOCK_ERROR_INVALID_HANDLE, bad.image.id ^= 1ull << 35);
    description.width = UINT32_MAX;
    penstock_image none;
    CHECK(penstock_image_create(device, &description, 0, &none) < 0);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_image_adopt(device, 0, &description, &none));
    OK(penstock_image_close(image));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_image_close(image));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_image_size(image, &size));
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

    // On the GPU: a copy that waits for one, and has another one signalled.
    VkSemaphore other;
    CHECK(create(info.device, &create_info, NULL, &other) == VK_SUCCESS);
    PFN_vkSignalSemaphore signal = (PFN_vkSignalSemaphore)load_device(info.device, "vkSignalSemaphore");
    ended = 0;
    penstock_request request = buffer_request(PENSTOCK_READ, buffer, 0, 4096);
    request.wait = (penstock_point){(uint64_t)semaphore, last + 1};
    request.signal = (penstock_point){(uint64_t)other, 42};
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_submit(queue));
    // What others ask for does not wait with it.
    penstock_request plain = buffer_request(PENSTOCK_READ, buffer, 8192, 4096);
    penstock_status status;
    plain.callback = NULL;
    plain.status = &status;
    OK(penstock_enqueue(queue, &plain, 1, NULL));
    OK(penstock_submit(queue));
    while (penstock_status_load(&status) == PENSTOCK_PENDING) sched_yield();
    CHECK(status == PENSTOCK_OK && ended == 0);
    EXPECT(PENSTOCK_TIMEOUT, penstock_wait(queue, 1000000));
    const VkSemaphoreSignalInfo signal_info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = semaphore, .value = last + 1};
    CHECK(signal(info.device, &signal_info) == VK_SUCCESS);
    OK(penstock_wait(queue, forever));
    CHECK(ended == 1 && value_of(info.device, other, &value) == VK_SUCCESS && value == 42);
    // A value that does not rise, and memory of the host's, which no GPU could wait with.
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    unsigned char bytes[64];
    request = buffer_request(PENSTOCK_READ, (penstock_buffer){0}, 0, 64);
    request.memory = bytes;
    request.signal = (penstock_point){(uint64_t)other, 43};
    EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
    destroy(info.device, other, NULL);
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
        memory_is_copied_into_buffers(buffer);
        host_buffers_are_adopted(device, info);
        images_are_filled(device);
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
