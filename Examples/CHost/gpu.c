#include "gpu.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char validation_layer[] = "VK_LAYER_KHRONOS_validation";

// Without what `exit` takes down: other threads may be in the middle of a call to Vulkan.
static void fail(const char *what, VkResult result) {
    fprintf(stderr, "FAILED: %s: VkResult %d\n", what, result);
    fflush(stdout);
    _exit(1);
}

static void require(bool condition, const char *what) {
    if (!condition) fail(what, VK_ERROR_INITIALIZATION_FAILED);
}

static void require_success(VkResult result, const char *what) {
    if (result != VK_SUCCESS) fail(what, result);
}
#define VK(call) require_success(call, #call)

static VKAPI_ATTR VkBool32 VKAPI_CALL count_message(
    VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
    const VkDebugUtilsMessengerCallbackDataEXT *data, void *user_data) {
    (void)severity;
    (void)types;
    gpu *gpu = user_data;
    __atomic_fetch_add(&gpu->messages, 1, __ATOMIC_RELAXED);
    fprintf(stderr, "validation: %s\n", data->pMessage);
    return VK_FALSE;
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_of(gpu *gpu) {
    return (VkDebugUtilsMessengerCreateInfoEXT){
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        // Not the general ones: there the loader tells of drivers that are installed and find no device.
        .messageType =
            VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = count_message,
        .pUserData = gpu,
    };
}

static bool has_validation_layer(void) {
    VkLayerProperties layers[64];
    uint32_t count = 64;
    const VkResult result = vkEnumerateInstanceLayerProperties(&count, layers);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return false;
    for (uint32_t index = 0; index < count; index++)
        if (strcmp(layers[index].layerName, validation_layer) == 0) return true;
    return false;
}

static void create_instance(gpu *gpu) {
    require(has_validation_layer(), "VK_LAYER_KHRONOS_validation is not installed");
    const char *layers[] = {validation_layer};
    const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    // Calls from several threads are checked anyway, barriers only where it is asked for.
    const VkValidationFeatureEnableEXT checks[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    const VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_of(gpu);
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        // For what is said while there is no messenger yet, or none any more.
        .pNext = &messenger,
        .enabledValidationFeatureCount = 1,
        .pEnabledValidationFeatures = checks,
    };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "chost", .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = &features,
        .pApplicationInfo = &application,
        .enabledLayerCount = 1,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = 1,
        .ppEnabledExtensionNames = extensions,
    };
    VK(vkCreateInstance(&info, NULL, &gpu->instance));
    const PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(gpu->instance, "vkCreateDebugUtilsMessengerEXT");
    VK(create(gpu->instance, &messenger, NULL, &gpu->messenger));
}

// Penstock needs these two, and Vulkan 1.3 for `vkCmdCopyBuffer2`.
static bool is_suitable(VkPhysicalDevice physical_device) {
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical_device, &properties);
    if (properties.apiVersion < VK_API_VERSION_1_3) return false;
    VkPhysicalDeviceVulkan13Features features13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
    VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &features13};
    VkPhysicalDeviceFeatures2 features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &features12};
    vkGetPhysicalDeviceFeatures2(physical_device, &features);
    return features12.timelineSemaphore && features13.synchronization2;
}

// The first discrete GPU, or else whatever there is.
static void choose_physical_device(gpu *gpu) {
    VkPhysicalDevice devices[16];
    uint32_t count = 16;
    const VkResult result = vkEnumeratePhysicalDevices(gpu->instance, &count, devices);
    require(result == VK_SUCCESS || result == VK_INCOMPLETE, "vkEnumeratePhysicalDevices");
    bool is_discrete = false;
    for (uint32_t index = 0; index < count && !is_discrete; index++) {
        if (!is_suitable(devices[index])) continue;
        VkPhysicalDeviceProperties properties;
        vkGetPhysicalDeviceProperties(devices[index], &properties);
        is_discrete = properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
        if (is_discrete || !gpu->physical_device) gpu->physical_device = devices[index];
    }
    require(gpu->physical_device, "there is no Vulkan 1.3 device with timelineSemaphore and synchronization2");
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(gpu->physical_device, &properties);
    printf("device: %s\n", properties.deviceName);
}

static void choose_queue_family(gpu *gpu) {
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    vkGetPhysicalDeviceQueueFamilyProperties(gpu->physical_device, &count, families);
    // Those that draw or compute can copy, whether they say so or not.
    for (uint32_t index = 0; index < count; index++) {
        if (!(families[index].queueFlags & (VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT))) continue;
        gpu->queue_family = index;
        return;
    }
    require(false, "the device has no queue that draws or computes");
}

static bool has_extension(VkPhysicalDevice physical_device, const char *name) {
    VkExtensionProperties extensions[512];
    uint32_t count = 512;
    vkEnumerateDeviceExtensionProperties(physical_device, NULL, &count, extensions);
    for (uint32_t index = 0; index < count; index++)
        if (strcmp(extensions[index].extensionName, name) == 0) return true;
    return false;
}

static void create_device(gpu *gpu) {
    // Not needed, but with it Penstock's staging memory is imported, and not copied once more.
    gpu->has_memory_host = has_extension(gpu->physical_device, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    const char *extensions[] = {VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME};
    VkPhysicalDeviceVulkan13Features features13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .synchronization2 = VK_TRUE};
    const VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &features13,
        .timelineSemaphore = VK_TRUE,
    };
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = gpu->queue_family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features12,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = gpu->has_memory_host ? 1 : 0,
        .ppEnabledExtensionNames = extensions,
    };
    VK(vkCreateDevice(gpu->physical_device, &info, NULL, &gpu->device));
    vkGetDeviceQueue(gpu->device, gpu->queue_family, 0, &gpu->queue);
}

void gpu_create(gpu *gpu) {
    memset(gpu, 0, sizeof *gpu);
    pthread_mutex_init(&gpu->queue_mutex, NULL);
    create_instance(gpu);
    choose_physical_device(gpu);
    choose_queue_family(gpu);
    create_device(gpu);
}

void gpu_destroy(gpu *gpu) {
    vkDestroyDevice(gpu->device, NULL);
    const PFN_vkDestroyDebugUtilsMessengerEXT destroy =
        (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(gpu->instance, "vkDestroyDebugUtilsMessengerEXT");
    destroy(gpu->instance, gpu->messenger, NULL);
    vkDestroyInstance(gpu->instance, NULL);
    pthread_mutex_destroy(&gpu->queue_mutex);
}

int gpu_messages(gpu *gpu) { return __atomic_load_n(&gpu->messages, __ATOMIC_RELAXED); }

void gpu_lock_queue(void *user_data) {
    gpu *gpu = user_data;
    pthread_mutex_lock(&gpu->queue_mutex);
}

void gpu_unlock_queue(void *user_data) {
    gpu *gpu = user_data;
    pthread_mutex_unlock(&gpu->queue_mutex);
}

static uint32_t memory_type(gpu *gpu, uint32_t allowed, VkMemoryPropertyFlags wanted) {
    VkPhysicalDeviceMemoryProperties properties;
    vkGetPhysicalDeviceMemoryProperties(gpu->physical_device, &properties);
    for (uint32_t index = 0; index < properties.memoryTypeCount; index++)
        if (allowed >> index & 1 && (properties.memoryTypes[index].propertyFlags & wanted) == wanted) return index;
    require(false, "the device has no memory of the type that is wanted");
    return 0;
}

gpu_buffer gpu_create_buffer(gpu *gpu, uint64_t size, bool is_mapped) {
    gpu_buffer buffer = {.size = size};
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = size,
        // Penstock reads files into a buffer as a transfer's destination, and writes them from a transfer's source.
        .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
    };
    VK(vkCreateBuffer(gpu->device, &info, NULL, &buffer.handle));
    VkMemoryRequirements requirements;
    vkGetBufferMemoryRequirements(gpu->device, buffer.handle, &requirements);
    const VkMemoryAllocateInfo allocation = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = requirements.size,
        .memoryTypeIndex = memory_type(
            gpu, requirements.memoryTypeBits,
            is_mapped ? VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
                      : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT),
    };
    VK(vkAllocateMemory(gpu->device, &allocation, NULL, &buffer.memory));
    VK(vkBindBufferMemory(gpu->device, buffer.handle, buffer.memory, 0));
    if (is_mapped) VK(vkMapMemory(gpu->device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &buffer.mapped));
    return buffer;
}

void gpu_destroy_buffer(gpu *gpu, gpu_buffer buffer) {
    vkDestroyBuffer(gpu->device, buffer.handle, NULL);
    vkFreeMemory(gpu->device, buffer.memory, NULL);
}

VkSemaphore gpu_create_timeline(gpu *gpu) {
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkSemaphore timeline;
    VK(vkCreateSemaphore(gpu->device, &info, NULL, &timeline));
    return timeline;
}

void gpu_wait_for(gpu *gpu, VkSemaphore timeline, uint64_t value) {
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &timeline,
        .pValues = &value,
    };
    VK(vkWaitSemaphores(gpu->device, &info, UINT64_MAX));
}

uint64_t gpu_value_of(gpu *gpu, VkSemaphore timeline) {
    uint64_t value = 0;
    VK(vkGetSemaphoreCounterValue(gpu->device, timeline, &value));
    return value;
}

gpu_commands gpu_create_commands(gpu *gpu) {
    gpu_commands commands;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = gpu->queue_family,
    };
    VK(vkCreateCommandPool(gpu->device, &pool, NULL, &commands.pool));
    const VkCommandBufferAllocateInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = commands.pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    VK(vkAllocateCommandBuffers(gpu->device, &buffer, &commands.buffer));
    return commands;
}

void gpu_destroy_commands(gpu *gpu, gpu_commands commands) {
    vkDestroyCommandPool(gpu->device, commands.pool, NULL);
}

void gpu_begin(gpu_commands commands) {
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VK(vkBeginCommandBuffer(commands.buffer, &info));
}

void gpu_submit(gpu *gpu, gpu_commands commands, VkSemaphore timeline, uint64_t after, uint64_t done) {
    VK(vkEndCommandBuffer(commands.buffer));
    const VkSemaphoreSubmitInfo wait = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
        .semaphore = timeline,
        .value = after,
        .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
    };
    const VkSemaphoreSubmitInfo signal = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
        .semaphore = timeline,
        .value = done,
        .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
    };
    const VkCommandBufferSubmitInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, .commandBuffer = commands.buffer};
    const VkSubmitInfo2 submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .waitSemaphoreInfoCount = after > 0 ? 1 : 0,
        .pWaitSemaphoreInfos = &wait,
        .commandBufferInfoCount = 1,
        .pCommandBufferInfos = &buffer,
        .signalSemaphoreInfoCount = 1,
        .pSignalSemaphoreInfos = &signal,
    };
    // Penstock submits to the same queue, from its own thread, between the same two calls.
    gpu_lock_queue(gpu);
    const VkResult result = vkQueueSubmit2(gpu->queue, 1, &submit, VK_NULL_HANDLE);
    gpu_unlock_queue(gpu);
    require_success(result, "vkQueueSubmit2");
}
