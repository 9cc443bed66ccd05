// Every mapping of directstorage_mapping.hpp, on a Vulkan device of the test's own, with the validation layer
// listening. The device is that of Examples/CHost. Arguments: a folder for files.
#include "directstorage_mapping.hpp"
#include "gdeflate_stored.hpp"
#include "gpu.h"

#include <poll.h>
#include <zstd.h>

#include <cstdlib>
#include <functional>
#include <thread>

namespace ds = directstorage;
typedef std::vector<unsigned char> Bytes;

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                        \
        }                                                                        \
    } while (0)

#define EXPECT(expected, call)                                                                      \
    do {                                                                                            \
        const ds::HResult check_value = (call), check_expected = (expected);                        \
        if (check_value != check_expected) {                                                        \
            std::fprintf(stderr, "%s:%d: %s: %08x, not %08x\n", __FILE__, __LINE__, #call,          \
                         static_cast<unsigned>(check_value), static_cast<unsigned>(check_expected)); \
            std::abort();                                                                           \
        }                                                                                           \
    } while (0)
#define OK(call) EXPECT(ds::result::ok, call)

namespace {

// ---- What stands for D3D12 on Vulkan

// In which images are while D3D12 calls their state the common one.
const VkImageLayout common_layout = VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL;

// A buffer that shares its VkBuffer with something before it, as placed resources do, or an image.
struct Resource {
    gpu_buffer buffer;
    std::uint64_t offset, size;
    VkImage image;
    VkDeviceMemory memory;
    penstock_image_description description;

    Resource() : buffer(), offset(0), size(0), image(), memory(), description() {}
};

struct Fence {
    VkSemaphore timeline;
};

class Vulkan : public ds::Direct3DOnVulkan {
public:
    gpu host;
    std::atomic<int> callers;  // of the lock, for Penstock

    Vulkan() : callers(0) { gpu_create(&host); }
    ~Vulkan() { gpu_destroy(&host); }

    bool Device(void *device, penstock_device_options &options) override {
        if (device != &host) return false;
        options.instance = host.instance;
        options.physical_device = host.physical_device;
        options.device = host.device;
        options.queue = host.queue;
        options.queue_family = host.queue_family;
        options.enabled = host.has_memory_host ? PENSTOCK_ENABLED_MEMORY_HOST : 0;
        options.lock = Lock;
        options.unlock = Unlock;
        options.lock_user_data = this;
        return true;
    }

    bool Buffer(void *pointer, ds::VulkanBuffer &buffer) override {
        const Resource &resource = *static_cast<Resource *>(pointer);
        buffer.handle = reinterpret_cast<std::uint64_t>(resource.buffer.handle);
        buffer.handle_size = resource.buffer.size;
        buffer.offset = resource.offset;
        buffer.size = resource.size;
        return buffer.handle != 0;
    }

    bool Image(void *pointer, ds::VulkanImage &image) override {
        const Resource &resource = *static_cast<Resource *>(pointer);
        image.handle = reinterpret_cast<std::uint64_t>(resource.image);
        image.description = resource.description;
        // Of BC1, and of four bytes a texel.
        const bool is_compressed = resource.description.format == VK_FORMAT_BC1_RGBA_UNORM_BLOCK;
        image.block_width = image.block_height = is_compressed ? 4 : 1;
        image.block_bytes = is_compressed ? 8 : 4;
        image.old_layout = image.new_layout = common_layout;
        return image.handle != 0;
    }

    bool Fence(void *pointer, std::uint64_t value, penstock_point &point) override {
        point.semaphore = reinterpret_cast<std::uint64_t>(static_cast<struct Fence *>(pointer)->timeline);
        point.value = value;
        return true;
    }

    // Runs commands, and waits for them.
    void Run(const std::function<void(VkCommandBuffer)> &record) {
        const VkSemaphore timeline = gpu_create_timeline(&host);
        const gpu_commands commands = gpu_create_commands(&host);
        gpu_begin(commands);
        record(commands.buffer);
        gpu_submit(&host, commands, timeline, 0, 1);
        gpu_wait_for(&host, timeline, 1);
        gpu_destroy_commands(&host, commands);
        vkDestroySemaphore(host.device, timeline, nullptr);
    }

    Resource MakeBuffer(std::uint64_t offset, std::uint64_t size) {
        Resource resource;
        resource.buffer = gpu_create_buffer(&host, offset + size, false);
        resource.offset = offset;
        resource.size = size;
        return resource;
    }

    Resource MakeImage(
        VkFormat format, std::uint32_t width, std::uint32_t height, std::uint32_t mips, std::uint32_t layers) {
        Resource resource;
        resource.description.format = format;
        resource.description.width = width;
        resource.description.height = height;
        resource.description.mip_levels = mips;
        resource.description.array_layers = layers;
        VkImageCreateInfo info = VkImageCreateInfo();
        info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
        info.imageType = VK_IMAGE_TYPE_2D;
        info.format = format;
        info.extent.width = width;
        info.extent.height = height;
        info.extent.depth = 1;
        info.mipLevels = mips;
        info.arrayLayers = layers;
        info.samples = VK_SAMPLE_COUNT_1_BIT;
        info.tiling = VK_IMAGE_TILING_OPTIMAL;
        info.usage = VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_SAMPLED_BIT;
        CHECK(vkCreateImage(host.device, &info, nullptr, &resource.image) == VK_SUCCESS);
        VkMemoryRequirements requirements;
        vkGetImageMemoryRequirements(host.device, resource.image, &requirements);
        VkMemoryAllocateInfo allocation = VkMemoryAllocateInfo();
        allocation.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
        allocation.allocationSize = requirements.size;
        while (!(requirements.memoryTypeBits >> allocation.memoryTypeIndex & 1)) allocation.memoryTypeIndex++;
        CHECK(vkAllocateMemory(host.device, &allocation, nullptr, &resource.memory) == VK_SUCCESS);
        CHECK(vkBindImageMemory(host.device, resource.image, resource.memory, 0) == VK_SUCCESS);
        Run([&](VkCommandBuffer commands) { Clear(commands, resource); });
        return resource;
    }

    Bytes Download(const Resource &resource) {
        return Copied(resource.size, [&](VkCommandBuffer commands, VkBuffer to) {
            VkBufferCopy region = VkBufferCopy();
            region.srcOffset = resource.offset;
            region.size = resource.size;
            vkCmdCopyBuffer(commands, resource.buffer.handle, to, 1, &region);
        });
    }

    // One subresource, rows next to each other.
    Bytes Download(const Resource &resource, std::uint32_t mip, std::uint32_t layer, std::uint64_t size) {
        return Copied(size, [&](VkCommandBuffer commands, VkBuffer to) {
            VkBufferImageCopy region = VkBufferImageCopy();
            region.imageSubresource.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
            region.imageSubresource.mipLevel = mip;
            region.imageSubresource.baseArrayLayer = layer;
            region.imageSubresource.layerCount = 1;
            region.imageExtent.width = std::max(1u, resource.description.width >> mip);
            region.imageExtent.height = std::max(1u, resource.description.height >> mip);
            region.imageExtent.depth = 1;
            Transition(commands, resource, common_layout, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
            vkCmdCopyImageToBuffer(
                commands, resource.image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, to, 1, &region);
            Transition(commands, resource, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, common_layout);
        });
    }

    void Destroy(Resource &resource) {
        if (resource.buffer.handle) gpu_destroy_buffer(&host, resource.buffer);
        vkDestroyImage(host.device, resource.image, nullptr);
        vkFreeMemory(host.device, resource.memory, nullptr);
    }

private:
    static void Lock(void *user_data) {
        Vulkan &vulkan = *static_cast<Vulkan *>(user_data);
        vulkan.callers++;
        gpu_lock_queue(&vulkan.host);
    }

    static void Unlock(void *user_data) { gpu_unlock_queue(&static_cast<Vulkan *>(user_data)->host); }

    static VkImageSubresourceRange AllOf(const Resource &resource) {
        VkImageSubresourceRange range = VkImageSubresourceRange();
        range.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
        range.levelCount = resource.description.mip_levels;
        range.layerCount = resource.description.array_layers;
        return range;
    }

    static void Transition(VkCommandBuffer commands, const Resource &resource, VkImageLayout from, VkImageLayout to) {
        VkImageMemoryBarrier2 barrier = VkImageMemoryBarrier2();
        barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2;
        barrier.srcStageMask = barrier.dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
        barrier.srcAccessMask = barrier.dstAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT;
        barrier.oldLayout = from;
        barrier.newLayout = to;
        barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
        barrier.image = resource.image;
        barrier.subresourceRange = AllOf(resource);
        VkDependencyInfo dependency = VkDependencyInfo();
        dependency.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO;
        dependency.imageMemoryBarrierCount = 1;
        dependency.pImageMemoryBarriers = &barrier;
        vkCmdPipelineBarrier2(commands, &dependency);
    }

    // Zeros, where the format allows it, in the common layout.
    static void Clear(VkCommandBuffer commands, const Resource &resource) {
        Transition(commands, resource, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
        const VkClearColorValue zero = VkClearColorValue();
        const VkImageSubresourceRange range = AllOf(resource);
        if (resource.description.format == VK_FORMAT_R8G8B8A8_UNORM)
            vkCmdClearColorImage(
                commands, resource.image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &zero, 1, &range);
        Transition(commands, resource, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, common_layout);
    }

    Bytes Copied(std::uint64_t size, const std::function<void(VkCommandBuffer, VkBuffer)> &copy) {
        const gpu_buffer seen = gpu_create_buffer(&host, size, true);
        Run([&](VkCommandBuffer commands) {
            copy(commands, seen.handle);
            VkMemoryBarrier2 barrier = VkMemoryBarrier2();
            barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2;
            barrier.srcStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT;
            barrier.srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT;
            barrier.dstStageMask = VK_PIPELINE_STAGE_2_HOST_BIT;
            barrier.dstAccessMask = VK_ACCESS_2_HOST_READ_BIT;
            VkDependencyInfo dependency = VkDependencyInfo();
            dependency.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO;
            dependency.memoryBarrierCount = 1;
            dependency.pMemoryBarriers = &barrier;
            vkCmdPipelineBarrier2(commands, &dependency);
        });
        const unsigned char *bytes = static_cast<unsigned char *>(seen.mapped);
        Bytes result(bytes, bytes + size);
        gpu_destroy_buffer(&host, seen);
        return result;
    }
};

// ---- What the tests share

unsigned char Pattern(std::uint64_t offset) {
    return static_cast<unsigned char>(offset * 131 + (offset >> 8) * 7 + 3);
}

Bytes PatternBytes(std::uint64_t offset, std::size_t size) {
    Bytes bytes(size);
    for (std::size_t index = 0; index < size; index++) bytes[index] = Pattern(offset + index);
    return bytes;
}

const std::uint32_t file_size = 1 << 20;

class Test {
public:
    explicit Test(const std::string &folder) : folder_(folder), factory(&vulkan) {
        file = Store("pattern", PatternBytes(0, file_size));
        queue = MakeQueue(ds::SourceType::file);
        OK(factory.CreateStatusArray(4, statuses));
    }

    Vulkan vulkan;

private:
    const std::string folder_;

public:
    ds::Factory factory;
    std::unique_ptr<ds::File> file;
    std::unique_ptr<ds::Queue> queue;
    std::unique_ptr<ds::StatusArray> statuses;

    std::unique_ptr<ds::File> Store(const char *name, const Bytes &bytes) {
        const std::string path = Path(name);
        std::FILE *stream = std::fopen(path.c_str(), "wb");
        CHECK(stream && std::fwrite(bytes.data(), 1, bytes.size(), stream) == bytes.size() && std::fclose(stream) == 0);
        std::unique_ptr<ds::File> opened;
        OK(factory.OpenFile(path.c_str(), opened));
        return opened;
    }

    std::string Path(const char *name) const { return folder_ + "/" + name; }

    ds::QueueDesc Desc(ds::SourceType source) {
        ds::QueueDesc desc = ds::QueueDesc();
        desc.source_type = source;
        desc.capacity = ds::min_queue_capacity;
        desc.priority = source == ds::SourceType::memory ? ds::Priority::realtime : ds::Priority::normal;
        desc.name = "test";
        desc.device = &vulkan.host;
        return desc;
    }

    std::unique_ptr<ds::Queue> MakeQueue(ds::SourceType source) {
        std::unique_ptr<ds::Queue> made;
        OK(factory.CreateQueue(Desc(source), made));
        return made;
    }

    ds::Request FromFile(ds::File &source, std::uint64_t offset, std::uint32_t size, ds::DestinationType destination) {
        ds::Request request = ds::Request();
        request.options.source_type = ds::SourceType::file;
        request.options.destination_type = destination;
        request.source.file.file = &source;
        request.source.file.offset = offset;
        request.source.file.size = size;
        return request;
    }

    ds::Request FromMemory(const Bytes &bytes, ds::DestinationType destination) {
        ds::Request request = ds::Request();
        request.options.source_type = ds::SourceType::memory;
        request.options.destination_type = destination;
        request.source.memory.data = bytes.data();
        request.source.memory.size = static_cast<std::uint32_t>(bytes.size());
        return request;
    }

    // What a status says of a request alone, once it has ended.
    ds::HResult ResultOf(ds::Queue &on, const ds::Request &request) {
        on.EnqueueRequest(request);
        return NextStatus(on);
    }

    ds::HResult NextStatus(ds::Queue &on) {
        const int event = eventfd(0, EFD_CLOEXEC);
        on.EnqueueStatus(*statuses, 0);
        on.EnqueueSetEvent(event);
        on.Submit();
        WaitFor(event);
        close(event);
        CHECK(statuses->IsComplete(0));
        return statuses->GetHResult(0);
    }

    static void WaitFor(int event) {
        std::uint64_t count = 0;
        CHECK(read(event, &count, sizeof count) == sizeof count && count == 1);
    }

    static bool IsSignalled(int event) {
        pollfd polled = {event, POLLIN, 0};
        return poll(&polled, 1, 0) == 1;
    }
};

void To(ds::Request &request, Bytes &memory) {
    request.destination.memory.buffer = memory.data();
    request.destination.memory.size = static_cast<std::uint32_t>(memory.size());
}

void To(ds::Request &request, Resource &buffer, std::uint64_t offset, std::uint32_t size) {
    request.destination.buffer.resource = &buffer;
    request.destination.buffer.offset = offset;
    request.destination.buffer.size = size;
}

// While there is one, Penstock's thread waits for the VkQueue's lock, so nothing that is enqueued can end.
class Stall {
public:
    explicit Stall(Test &test)
        : vulkan_(test.vulkan), buffer_(vulkan_.MakeBuffer(0, 64)), queue_(test.MakeQueue(ds::SourceType::file)) {
        ds::Request request = test.FromFile(*test.file, 0, 64, ds::DestinationType::buffer);
        To(request, buffer_, 0, 64);
        gpu_lock_queue(&vulkan_.host);
        const int before = vulkan_.callers;
        queue_->EnqueueRequest(request);
        queue_->Submit();
        while (vulkan_.callers == before) std::this_thread::yield();
    }

    ~Stall() {
        gpu_unlock_queue(&vulkan_.host);
        queue_->Close();
        vulkan_.Destroy(buffer_);
    }

private:
    Vulkan &vulkan_;
    Resource buffer_;
    const std::unique_ptr<ds::Queue> queue_;
};

// ---- The tests

void FileToMemory(Test &test) {
    Bytes memory(100000);
    ds::Request request = test.FromFile(*test.file, 777, 100000, ds::DestinationType::memory);
    To(request, memory);
    OK(test.ResultOf(*test.queue, request));
    CHECK(memory == PatternBytes(777, memory.size()));
}

void FileToBuffer(Test &test) {
    Resource buffer = test.vulkan.MakeBuffer(512, 70000);
    ds::Request request = test.FromFile(*test.file, 99, 65000, ds::DestinationType::buffer);
    To(request, buffer, 4, 65000);
    OK(test.ResultOf(*test.queue, request));
    const Bytes bytes = test.vulkan.Download(buffer);
    CHECK(Bytes(bytes.begin() + 4, bytes.begin() + 65004) == PatternBytes(99, 65000));
    // Within its VkBuffer, but not within the resource.
    To(request, buffer, 5001, 65000);
    EXPECT(ds::result::invalid_argument, test.ResultOf(*test.queue, request));
    To(request, buffer, 4, 64999);
    EXPECT(ds::result::invalid_destination_size, test.ResultOf(*test.queue, request));
    test.vulkan.Destroy(buffer);
}

// A box of rows that begin at multiples of 256.
void FileToTextureRegion(Test &test) {
    Resource image = test.vulkan.MakeImage(VK_FORMAT_R8G8B8A8_UNORM, 128, 64, 3, 2);
    const std::uint32_t x = 8, y = 4, width = 40, height = 10, mip = 1, layer = 1;
    const std::uint32_t size = (height - 1) * 256 + width * 4;
    ds::Request request = test.FromFile(*test.file, 4096, size, ds::DestinationType::texture_region);
    request.destination.texture.resource = &image;
    request.destination.texture.subresource_index = mip + 3 * layer;
    request.destination.texture.region = ds::Box{x, y, 0, x + width, y + height, 1};
    OK(test.ResultOf(*test.queue, request));
    const Bytes bytes = test.vulkan.Download(image, mip, layer, 64 * 32 * 4);
    for (std::uint32_t row = 0; row < 32; row++)
        for (std::uint32_t column = 0; column < 64 * 4; column++) {
            const bool is_inside = row >= y && row < y + height && column >= 4 * x && column < 4 * (x + width);
            CHECK(bytes[row * 256 + column] ==
                  (is_inside ? Pattern(4096 + (row - y) * 256 + column - 4 * x) : 0));
        }
    // The same out of a compressed stream.
    const Bytes other = PatternBytes(123456, size);
    const Bytes stream = gdeflate::Encode(other);
    const std::unique_ptr<ds::File> packed = test.Store("region", stream);
    request.options.compression_format = ds::CompressionFormat::gdeflate;
    request.source.file.file = packed.get();
    request.source.file.offset = 0;
    request.source.file.size = static_cast<std::uint32_t>(stream.size());
    request.uncompressed_size = size;
    OK(test.ResultOf(*test.queue, request));
    const Bytes again = test.vulkan.Download(image, mip, layer, 64 * 32 * 4);
    CHECK(std::equal(other.begin(), other.begin() + width * 4, again.begin() + y * 256 + 4 * x));
    // What the image does not have.
    request.destination.texture.region.right = 65;
    EXPECT(ds::result::invalid_argument, test.ResultOf(*test.queue, request));
    request.destination.texture.region.right = x + width;
    request.destination.texture.subresource_index = 6;
    EXPECT(ds::result::invalid_argument, test.ResultOf(*test.queue, request));
    test.vulkan.Destroy(image);
}

// All levels and layers from the second level of the first layer on, as D3D12's footprints lie, of blocks of 4 x 4.
void FileToSubresources(Test &test) {
    const std::uint32_t width = 100, height = 60, mips = 5, layers = 2;
    Resource image = test.vulkan.MakeImage(VK_FORMAT_BC1_RGBA_UNORM_BLOCK, width, height, mips, layers);
    struct Subresource { std::uint32_t mip, layer; std::uint64_t offset, row, rows; };
    std::vector<Subresource> expected;
    std::uint64_t end = 0;
    for (std::uint32_t index = 1; index < mips * layers; index++) {
        Subresource one = Subresource();
        one.mip = index % mips;
        one.layer = index / mips;
        one.offset = (end + 511) / 512 * 512;
        one.row = ((width >> one.mip) + 3) / 4 * 8;
        one.rows = ((height >> one.mip) + 3) / 4;
        end = one.offset + (one.rows - 1) * 256 + one.row;
        expected.push_back(one);
    }
    ds::Request request = test.FromFile(
        *test.file, 1000, static_cast<std::uint32_t>(end), ds::DestinationType::multiple_subresources);
    request.destination.multiple_subresources.resource = &image;
    request.destination.multiple_subresources.first_subresource = 1;
    OK(test.ResultOf(*test.queue, request));
    const std::function<void(std::uint64_t)> compare = [&](std::uint64_t start) {
        for (const Subresource &one : expected) {
            const Bytes bytes = test.vulkan.Download(image, one.mip, one.layer, one.row * one.rows);
            for (std::uint64_t row = 0; row < one.rows; row++)
                for (std::uint64_t column = 0; column < one.row; column++)
                    CHECK(bytes[row * one.row + column] == Pattern(start + one.offset + row * 256 + column));
        }
    };
    compare(1000);
    request.source.file.size--;
    EXPECT(ds::result::invalid_destination_size, test.ResultOf(*test.queue, request));
    // The same out of a compressed stream, as games have their mip tails.
    const Bytes other = PatternBytes(54321, end);
    const Bytes stream = gdeflate::Encode(other);
    const std::unique_ptr<ds::File> packed = test.Store("subresources", stream);
    request = test.FromFile(
        *packed, 0, static_cast<std::uint32_t>(stream.size()), ds::DestinationType::multiple_subresources);
    request.destination.multiple_subresources.resource = &image;
    request.destination.multiple_subresources.first_subresource = 1;
    request.options.compression_format = ds::CompressionFormat::gdeflate;
    request.uncompressed_size = static_cast<std::uint32_t>(end);
    OK(test.ResultOf(*test.queue, request));
    compare(54321);
    test.vulkan.Destroy(image);
}

void MemoryToBufferAndMemory(Test &test) {
    const std::unique_ptr<ds::Queue> queue = test.MakeQueue(ds::SourceType::memory);
    const Bytes source = PatternBytes(31, 50000);
    Resource buffer = test.vulkan.MakeBuffer(256, 50000);
    ds::Request request = test.FromMemory(source, ds::DestinationType::buffer);
    To(request, buffer, 0, 50000);
    OK(test.ResultOf(*queue, request));
    CHECK(test.vulkan.Download(buffer) == source);
    Bytes memory(source.size());
    request = test.FromMemory(source, ds::DestinationType::memory);
    To(request, memory);
    OK(test.ResultOf(*queue, request));
    CHECK(memory == source);
    // Each queue has requests of its own kind.
    EXPECT(ds::result::invalid_source_type, test.ResultOf(*test.queue, request));
    request = test.FromFile(*test.file, 0, 50000, ds::DestinationType::memory);
    To(request, memory);
    EXPECT(ds::result::invalid_source_type, test.ResultOf(*queue, request));
    test.vulkan.Destroy(buffer);
}

void Compressed(Test &test) {
    const Bytes plain = PatternBytes(5, 300000);
    const Bytes stream = gdeflate::Encode(plain);
    const std::unique_ptr<ds::File> packed = test.Store("packed", stream);
    const std::uint32_t size = static_cast<std::uint32_t>(stream.size());
    Bytes memory(plain.size());
    ds::Request request = test.FromFile(*packed, 0, size, ds::DestinationType::memory);
    request.options.compression_format = ds::CompressionFormat::gdeflate;
    request.uncompressed_size = static_cast<std::uint32_t>(plain.size());
    To(request, memory);
    OK(test.ResultOf(*test.queue, request));
    CHECK(memory == plain);
    Bytes frame(ZSTD_compressBound(plain.size()));
    frame.resize(ZSTD_compress(frame.data(), frame.size(), plain.data(), plain.size(), 3));
    const std::unique_ptr<ds::File> frames = test.Store("frame", frame);
    request.options.compression_format = ds::CompressionFormat::zstd;
    request.source.file.file = frames.get();
    request.source.file.size = static_cast<std::uint32_t>(frame.size());
    memory.assign(memory.size(), 0);
    OK(test.ResultOf(*test.queue, request));
    CHECK(memory == plain);
    // Nothing that could be decoded, and no size to decode to.
    request.source.file.file = test.file.get();
    request.options.compression_format = ds::CompressionFormat::gdeflate;
    EXPECT(ds::result::decompression_error, test.ResultOf(*test.queue, request));
    request.uncompressed_size = 0;
    EXPECT(ds::result::invalid_destination_size, test.ResultOf(*test.queue, request));
    request.options.compression_format = ds::CompressionFormat::custom;
    EXPECT(ds::result::not_implemented, test.ResultOf(*test.queue, request));

    const std::unique_ptr<ds::Queue> queue = test.MakeQueue(ds::SourceType::memory);
    Resource buffer = test.vulkan.MakeBuffer(1024, plain.size());
    request = test.FromMemory(stream, ds::DestinationType::buffer);
    request.options.compression_format = ds::CompressionFormat::gdeflate;
    request.uncompressed_size = static_cast<std::uint32_t>(plain.size());
    To(request, buffer, 0, request.uncompressed_size);
    OK(test.ResultOf(*queue, request));
    CHECK(test.vulkan.Download(buffer) == plain);
    test.vulkan.Destroy(buffer);
}

// Each entry tells of the requests since the one before it.
void StatusArrays(Test &test) {
    Bytes memory(4096);
    ds::Request good = test.FromFile(*test.file, 0, 4096, ds::DestinationType::memory), bad = good;
    To(good, memory);
    To(bad, memory);
    bad.source.file.offset = file_size - 100;
    ds::Queue &queue = *test.queue;
    queue.EnqueueRequest(good);
    queue.EnqueueStatus(*test.statuses, 1);
    queue.EnqueueRequest(bad);
    queue.EnqueueRequest(good);
    queue.EnqueueStatus(*test.statuses, 2);
    queue.EnqueueRequest(good);
    queue.EnqueueStatus(*test.statuses, 3);
    queue.Submit();
    OK(test.NextStatus(queue));
    CHECK(test.statuses->IsComplete(1) && test.statuses->IsComplete(2) && test.statuses->IsComplete(3));
    OK(test.statuses->GetHResult(1));
    EXPECT(ds::result::end_of_file, test.statuses->GetHResult(2));
    OK(test.statuses->GetHResult(3));
    EXPECT(ds::result::index_bound, test.statuses->GetHResult(4));
    queue.EnqueueStatus(*test.statuses, 4);
    EXPECT(ds::result::index_bound, test.NextStatus(queue));
    ds::ErrorRecord record;
    queue.RetrieveErrorRecord(record);
    {
        const Stall stall(test);
        queue.EnqueueRequest(good);
        queue.EnqueueStatus(*test.statuses, 1);
        queue.Submit();
        CHECK(!test.statuses->IsComplete(1));
        EXPECT(ds::result::pending, test.statuses->GetHResult(1));
        // Not again before it is complete.
        queue.EnqueueStatus(*test.statuses, 1);
        queue.RetrieveErrorRecord(record);
        CHECK(record.failure_count == 1 && record.first_failure.command_type == ds::CommandType::status);
        CHECK(record.first_failure.hresult == ds::result::invalid_argument && record.first_failure.index == 1);
        // The array may go before its entry is reached.
        std::unique_ptr<ds::StatusArray> passing;
        OK(test.factory.CreateStatusArray(1, passing));
        queue.EnqueueStatus(*passing, 0);
    }
    OK(test.NextStatus(queue));
    CHECK(test.statuses->IsComplete(1));
    OK(test.statuses->GetHResult(1));
}

void FencesAndEvents(Test &test) {
    Fence fence = {gpu_create_timeline(&test.vulkan.host)};
    Bytes memory(200000);
    ds::Request request = test.FromFile(*test.file, 0, 200000, ds::DestinationType::memory);
    To(request, memory);
    test.queue->EnqueueRequest(request);
    test.queue->EnqueueSignal(&fence, 7);
    test.queue->Submit();
    // Not `vkWaitSemaphores`: validation layers of 2023 have an error message for a wait that another thread's signal
    // ends.
    while (gpu_value_of(&test.vulkan.host, fence.timeline) != 7) std::this_thread::yield();
    CHECK(memory == PatternBytes(0, memory.size()));
    const int event = eventfd(0, EFD_CLOEXEC);
    memory.assign(memory.size(), 0);
    test.queue->EnqueueRequest(request);
    test.queue->EnqueueSetEvent(event);
    test.queue->Submit();
    Test::WaitFor(event);
    CHECK(memory == PatternBytes(0, memory.size()));
    close(event);
    CHECK(!Test::IsSignalled(test.queue->GetErrorEvent()));
    test.queue->EnqueueSignal(nullptr, 1);
    EXPECT(ds::result::invalid_fence, test.NextStatus(*test.queue));
    vkDestroySemaphore(test.vulkan.host.device, fence.timeline, nullptr);
}

// Those whose tag, under the mask, is the value.
void CancelledByTag(Test &test) {
    const int count = 100;
    std::vector<Bytes> memory(count, Bytes(5000));
    ds::Request request = test.FromFile(*test.file, 0, 5000, ds::DestinationType::memory);
    {
        const Stall stall(test);
        for (int index = 0; index < count; index++) {
            request.cancellation_tag = 0x100 + static_cast<std::uint64_t>(index % 4);
            To(request, memory[static_cast<std::size_t>(index)]);
            test.queue->EnqueueRequest(request);
        }
        // No tag has a bit of the value's that the mask has not.
        test.queue->CancelRequestsWithTag(0x1, 0x101);
        test.queue->CancelRequestsWithTag(0x103, 0x103);
    }
    // A cancelled request is no failure.
    OK(test.NextStatus(*test.queue));
    int cancelled = 0;
    for (int index = 0; index < count; index++) {
        const bool is_there = memory[static_cast<std::size_t>(index)] == PatternBytes(0, 5000);
        CHECK(is_there || index % 4 == 3);
        if (!is_there) cancelled++;
    }
    CHECK(cancelled > 0);
    ds::ErrorRecord record;
    test.queue->RetrieveErrorRecord(record);
    CHECK(record.failure_count == 0 && record.first_failure.command_type == ds::CommandType::none);
    std::printf("    %d of %d cancelled\n", cancelled, count / 4);
}

void ErrorRecords(Test &test) {
    const std::unique_ptr<ds::Queue> queue = test.MakeQueue(ds::SourceType::file);
    ds::ErrorRecord record;
    CHECK(!Test::IsSignalled(queue->GetErrorEvent()));
    queue->RetrieveErrorRecord(record);
    CHECK(record.failure_count == 0);
    Bytes memory(4096);
    ds::Request request = test.FromFile(*test.file, file_size - 10, 4096, ds::DestinationType::memory);
    To(request, memory);
    request.cancellation_tag = 42;
    request.name = "behind the end, and a name that is longer than the sixty-three characters of the record";
    queue->EnqueueRequest(request);
    request.options.destination_type = ds::DestinationType::tiles;
    queue->EnqueueRequest(request);
    request.options.destination_type = ds::DestinationType::memory;
    request.options.reserved = 1;
    queue->EnqueueRequest(request);
    // The first in the order of enqueueing, though the others were refused at once.
    EXPECT(ds::result::not_implemented, test.NextStatus(*queue));
    CHECK(Test::IsSignalled(queue->GetErrorEvent()));
    queue->RetrieveErrorRecord(record);
    const ds::FirstFailure &first = record.first_failure;
    CHECK(record.failure_count == 3 && first.command_type == ds::CommandType::request);
    EXPECT(ds::result::end_of_file, first.hresult);
    CHECK(first.request.cancellation_tag == 42 && first.request.source.file.offset == file_size - 10);
    CHECK(std::strlen(first.request_name) == ds::max_name - 1 && std::strncmp(first.request_name, "behind", 6) == 0);
    CHECK(test.Path("pattern") == first.file_name);
    CHECK(!Test::IsSignalled(queue->GetErrorEvent()));
    // One of the others now.
    queue->EnqueueRequest(request);
    EXPECT(ds::result::reserved_fields, test.NextStatus(*queue));
    queue->RetrieveErrorRecord(record);
    CHECK(record.failure_count == 1);
    EXPECT(ds::result::reserved_fields, record.first_failure.hresult);
    // A file that has been closed.
    const std::unique_ptr<ds::File> closed = test.Store("closed", PatternBytes(0, 5000));
    closed->Close();
    request.options.reserved = 0;
    request.source.file.file = closed.get();
    EXPECT(ds::result::file_not_open, test.ResultOf(*queue, request));
}

// While nothing can end, the queue fills.
void FullQueue(Test &test) {
    const std::unique_ptr<ds::Queue> queue = test.MakeQueue(ds::SourceType::file);
    const std::uint32_t slots = ds::min_queue_capacity - 1, extra = 40;
    ds::QueueInfo info = queue->Query();
    CHECK(info.empty_slot_count == slots && info.desc.capacity == ds::min_queue_capacity);
    CHECK(info.request_count_until_auto_submit == ds::min_queue_capacity / 2);
    Resource buffer = test.vulkan.MakeBuffer(0, 16 * (slots + extra));
    ds::Request request = test.FromFile(*test.file, 0, 16, ds::DestinationType::buffer);
    std::unique_ptr<Stall> stall(new Stall(test));
    for (std::uint32_t index = 0; index < slots; index++) {
        To(request, buffer, 16 * index, 16);
        request.source.file.offset = 16 * index;
        queue->EnqueueRequest(request);
        if (index == 9) CHECK(queue->Query().request_count_until_auto_submit == ds::min_queue_capacity / 2 - 10);
    }
    CHECK(queue->Query().empty_slot_count == 0);
    std::atomic<std::uint32_t> more(0);
    std::thread enqueuer([&] {
        for (std::uint32_t index = slots; index < slots + extra; index++) {
            To(request, buffer, 16 * index, 16);
            request.source.file.offset = 16 * index;
            queue->EnqueueRequest(request);
            more++;
        }
    });
    CHECK(more == 0);
    stall.reset();
    enqueuer.join();
    CHECK(more == extra);
    OK(test.NextStatus(*queue));
    CHECK(test.vulkan.Download(buffer) == PatternBytes(0, buffer.size));
    test.vulkan.Destroy(buffer);
}

void Closing(Test &test) {
    std::unique_ptr<ds::Queue> queue = test.MakeQueue(ds::SourceType::file);
    std::vector<Bytes> memory(100, Bytes(8000));
    ds::Request request = test.FromFile(*test.file, 5, 8000, ds::DestinationType::memory);
    for (Bytes &one : memory) {
        To(request, one);
        queue->EnqueueRequest(request);
    }
    const int event = eventfd(0, EFD_CLOEXEC);
    queue->EnqueueSetEvent(event);
    queue->EnqueueStatus(*test.statuses, 0);
    queue->Close();
    // All of it has ended, and nothing comes any more.
    for (const Bytes &one : memory) CHECK(one == PatternBytes(5, 8000));
    Test::WaitFor(event);
    CHECK(test.statuses->IsComplete(0));
    OK(test.statuses->GetHResult(0));
    queue->Close();
    queue->EnqueueRequest(request);
    queue->EnqueueStatus(*test.statuses, 1);
    CHECK(test.statuses->IsComplete(1));
    EXPECT(ds::result::queue_closed, test.statuses->GetHResult(1));
    queue->EnqueueSetEvent(event);
    queue->Submit();
    queue->CancelRequestsWithTag(0, 0);
    ds::ErrorRecord record;
    queue->RetrieveErrorRecord(record);
    CHECK(record.failure_count == 3);
    EXPECT(ds::result::queue_closed, record.first_failure.hresult);
    CHECK(queue->Query().empty_slot_count == 0);
    close(event);
}

void Creation(Test &test) {
    std::unique_ptr<ds::Queue> queue;
    ds::QueueDesc desc = test.Desc(ds::SourceType::file);
    desc.capacity = ds::min_queue_capacity - 1;
    EXPECT(ds::result::invalid_queue_capacity, test.factory.CreateQueue(desc, queue));
    desc.capacity = ds::max_queue_capacity + 1;
    EXPECT(ds::result::invalid_queue_capacity, test.factory.CreateQueue(desc, queue));
    desc.capacity = ds::max_queue_capacity;
    desc.priority = static_cast<ds::Priority>(3);
    EXPECT(ds::result::invalid_queue_priority, test.factory.CreateQueue(desc, queue));
    for (int priority = -1; priority <= 2; priority++) {
        desc.priority = static_cast<ds::Priority>(priority);
        OK(test.factory.CreateQueue(desc, queue));
    }
    desc.source_type = ds::SourceType::memory;
    OK(test.factory.CreateQueue(desc, queue));
    desc.priority = ds::Priority::high;
    EXPECT(ds::result::invalid_memory_queue_priority, test.factory.CreateQueue(desc, queue));
    desc = test.Desc(ds::SourceType::file);
    desc.device = &desc;
    EXPECT(ds::result::invalid_argument, test.factory.CreateQueue(desc, queue));
    // Without a device there is only memory.
    desc.device = nullptr;
    OK(test.factory.CreateQueue(desc, queue));
    Resource buffer = test.vulkan.MakeBuffer(0, 4096);
    ds::Request request = test.FromFile(*test.file, 0, 4096, ds::DestinationType::buffer);
    To(request, buffer, 0, 4096);
    EXPECT(ds::result::invalid_argument, test.ResultOf(*queue, request));
    test.vulkan.Destroy(buffer);
    std::unique_ptr<ds::File> file;
    EXPECT(ds::result::file_not_found, test.factory.OpenFile(test.Path("missing").c_str(), file));
    std::uint64_t size = 0;
    OK(test.file->GetSize(size));
    CHECK(size == file_size);
    EXPECT(ds::result::staging_buffer_locked, test.factory.SetStagingBufferSize(64 << 20));

    // A descriptor of the host's, in a factory with less staging memory; larger requests go through it in pieces.
    ds::Factory small(&test.vulkan);
    OK(small.SetStagingBufferSize(4 << 20));
    std::FILE *stream = std::fopen(test.Path("large").c_str(), "w+b");
    const Bytes bytes = PatternBytes(0, 9 << 20);
    CHECK(stream && std::fwrite(bytes.data(), 1, bytes.size(), stream) == bytes.size() && std::fflush(stream) == 0);
    OK(small.AdoptFile(fileno(stream), file));
    OK(small.CreateQueue(test.Desc(ds::SourceType::file), queue));
    Resource large = test.vulkan.MakeBuffer(0, bytes.size());
    request = test.FromFile(*file, 0, static_cast<std::uint32_t>(bytes.size()), ds::DestinationType::buffer);
    To(request, large, 0, request.source.file.size);
    OK(test.ResultOf(*queue, request));
    CHECK(test.vulkan.Download(large) == bytes);
    queue.reset();
    file.reset();
    OK(small.SetStagingBufferSize(0));
    CHECK(std::fclose(stream) == 0);
    test.vulkan.Destroy(large);
}

}  // namespace

int main(int count, char **arguments) {
    // So that what was done before a failure can be seen.
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    CHECK(count == 2);
    int messages = 0;
    {
        Test test(arguments[1]);
        const struct {
            const char *name;
            void (*run)(Test &);
        } all[] = {
            {"file to memory", FileToMemory},
            {"file to buffer", FileToBuffer},
            {"file to texture region", FileToTextureRegion},
            {"file to several subresources", FileToSubresources},
            {"memory to buffer and memory", MemoryToBufferAndMemory},
            {"compressed, of a file and of memory", Compressed},
            {"status arrays", StatusArrays},
            {"fences and events", FencesAndEvents},
            {"cancelled by tag", CancelledByTag},
            {"error records", ErrorRecords},
            {"a full queue blocks", FullQueue},
            {"closing", Closing},
            {"queues, files and staging memory", Creation},
        };
        for (const auto &one : all) {
            one.run(test);
            // What it has provoked is of no interest to the next one.
            ds::ErrorRecord record;
            test.queue->RetrieveErrorRecord(record);
            std::printf("ok  %s\n", one.name);
        }
        messages = gpu_messages(&test.vulkan.host);
    }
    CHECK(messages == 0);
    std::printf("ok  validation is silent\n");
    return 0;
}
