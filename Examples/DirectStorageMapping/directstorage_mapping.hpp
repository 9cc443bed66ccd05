// A DirectStorage-shaped interface on top of penstock.h, for C++11: what a Wine or Proton integration carries, in the
// one file of its Unix side that includes this header. Its COM objects own objects of these classes, and hand their
// calls on.
//
//     directstorage::Factory factory(&d3d12_on_vulkan);
//     std::unique_ptr<directstorage::File> file;
//     factory.OpenFile("level1.bin", file);
//     std::unique_ptr<directstorage::Queue> queue;
//     factory.CreateQueue(desc, queue);
//     queue->EnqueueRequest(request);
//     queue->EnqueueSignal(fence, 1);
//     queue->Submit();
//
// Names and numbers have the meaning that DirectStorage's public documentation gives them; the types are this file's
// own. What only the layer that brings D3D12 to Vulkan knows (which VkBuffer a resource is, which timeline semaphore a
// fence) it answers through one small interface, `Direct3DOnVulkan`.
//
// Threads: everything may be called from any thread. Penstock's threads run nothing of the host's but what that
// interface gives for the VkQueue's lock, and the options for logging: no Windows code, so they need no thread block
// of Wine's.
//
// What is not there, and ends with E_NOTIMPL or E_INVALIDARG in the error record: tiles of sparse resources, planes of
// depth and stencil, the application's own decoders, and formats with 12 bytes a texel (256 is no multiple of that).
#ifndef DIRECTSTORAGE_MAPPING_HPP
#define DIRECTSTORAGE_MAPPING_HPP

#include <penstock.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace directstorage {

// ---- Results

using HResult = std::int32_t;

constexpr HResult hresult(std::uint32_t bits) { return static_cast<HResult>(bits); }

namespace result {
constexpr HResult ok = 0;
constexpr HResult pending = hresult(0x8000000A);          // E_PENDING
constexpr HResult not_implemented = hresult(0x80004001);  // E_NOTIMPL
constexpr HResult aborted = hresult(0x80004004);          // E_ABORT
constexpr HResult fail = hresult(0x80004005);             // E_FAIL
constexpr HResult access_denied = hresult(0x80070005);    // E_ACCESSDENIED
constexpr HResult out_of_memory = hresult(0x8007000E);    // E_OUTOFMEMORY
constexpr HResult invalid_argument = hresult(0x80070057); // E_INVALIDARG
// Of Windows' own errors.
constexpr HResult file_not_found = hresult(0x80070002);
constexpr HResult write_protected = hresult(0x80070013);
constexpr HResult already_exists = hresult(0x80070050);
constexpr HResult disk_full = hresult(0x80070070);
constexpr HResult busy = hresult(0x800700AA);
constexpr HResult file_too_large = hresult(0x800700DF);
constexpr HResult io_device = hresult(0x8007045D);
constexpr HResult device_removed = hresult(0x887A0005);  // DXGI's
// E_DSTORAGE_…
constexpr HResult invalid_queue_capacity = hresult(0x89240003);
constexpr HResult end_of_file = hresult(0x89240007);
constexpr HResult access_violation = hresult(0x89240009);
constexpr HResult unsupported_file = hresult(0x8924000A);
constexpr HResult file_not_open = hresult(0x8924000B);
constexpr HResult reserved_fields = hresult(0x8924000C);
constexpr HResult invalid_destination_size = hresult(0x8924000F);
constexpr HResult queue_closed = hresult(0x89240010);
constexpr HResult invalid_queue_priority = hresult(0x89240013);
constexpr HResult too_many_files = hresult(0x89240014);
constexpr HResult index_bound = hresult(0x89240015);
constexpr HResult io_timeout = hresult(0x89240016);
constexpr HResult invalid_file_handle = hresult(0x89240017);
constexpr HResult invalid_source_type = hresult(0x8924001B);
constexpr HResult system_not_supported = hresult(0x8924001D);
constexpr HResult staging_buffer_locked = hresult(0x8924001F);
constexpr HResult staging_buffer_too_small = hresult(0x89240021);
constexpr HResult invalid_fence = hresult(0x89240022);
constexpr HResult invalid_memory_queue_priority = hresult(0x89240024);
constexpr HResult decompression_error = hresult(0x89240030);
constexpr HResult invalid_destination_type = hresult(0x89240040);

inline HResult from_penstock(penstock_result value) {
    switch (value) {
    case PENSTOCK_OK: return ok;
    case PENSTOCK_PENDING: return pending;
    case PENSTOCK_ERROR_INVALID_ARGUMENT:
    case PENSTOCK_ERROR_INVALID_RANGE:
    case PENSTOCK_ERROR_FOREIGN_FILE: return invalid_argument;
    case PENSTOCK_ERROR_QUEUE_CLOSED: return queue_closed;
    case PENSTOCK_ERROR_FILE_CLOSED: return file_not_open;
    case PENSTOCK_ERROR_NOT_SUPPORTED: return not_implemented;
    case PENSTOCK_ERROR_UNAVAILABLE: return system_not_supported;
    case PENSTOCK_ERROR_CANCELLED: return aborted;
    case PENSTOCK_ERROR_DEADLINE_EXCEEDED: return io_timeout;
    case PENSTOCK_ERROR_NOT_FOUND: return file_not_found;
    case PENSTOCK_ERROR_PERMISSION_DENIED:
    case PENSTOCK_ERROR_IS_DIRECTORY: return access_denied;
    case PENSTOCK_ERROR_ALREADY_EXISTS: return already_exists;
    case PENSTOCK_ERROR_UNSUPPORTED_FILE_TYPE: return unsupported_file;
    case PENSTOCK_ERROR_BAD_DESCRIPTOR: return invalid_file_handle;
    case PENSTOCK_ERROR_BAD_ADDRESS: return access_violation;
    case PENSTOCK_ERROR_TOO_MANY_OPEN_FILES: return too_many_files;
    case PENSTOCK_ERROR_NO_SPACE: return disk_full;
    case PENSTOCK_ERROR_FILE_TOO_LARGE: return file_too_large;
    case PENSTOCK_ERROR_READ_ONLY: return write_protected;
    case PENSTOCK_ERROR_OUT_OF_MEMORY:
    case PENSTOCK_ERROR_DEVICE_MEMORY: return out_of_memory;
    case PENSTOCK_ERROR_MEMORY_LIMIT: return staging_buffer_too_small;
    case PENSTOCK_ERROR_BUSY: return busy;
    case PENSTOCK_ERROR_IO: return io_device;
    case PENSTOCK_ERROR_DEVICE_LOST: return device_removed;
    case PENSTOCK_ERROR_MALFORMED_DATA:
    case PENSTOCK_ERROR_CHECKSUM_MISMATCH: return decompression_error;
    default: return fail;
    }
}
}  // namespace result

// ---- Descriptions

constexpr std::uint32_t min_queue_capacity = 0x80;
constexpr std::uint32_t max_queue_capacity = 0x2000;
constexpr std::size_t max_name = 64;  // with the zero at the end, here and in error records
constexpr std::uint32_t default_staging_buffer_size = 32u << 20;

enum class SourceType : std::uint32_t { file = 0, memory = 1 };

enum class DestinationType : std::uint32_t {
    memory = 0, buffer = 1, texture_region = 2, multiple_subresources = 3, tiles = 4 };

enum class CompressionFormat : std::uint32_t { none = 0, gdeflate = 1, zstd = 2, custom = 0x80 };

enum class Priority : std::int32_t { low = -1, normal = 0, high = 1, realtime = 2 };

// A queue takes requests of one kind of source. Memory queues are realtime ones.
struct QueueDesc {
    SourceType source_type;
    std::uint32_t capacity;  // one less can be in it
    Priority priority;
    const char *name;        // may be null
    void *device;            // as `Direct3DOnVulkan` knows it; null: only to host memory
};

struct QueueInfo {
    QueueDesc desc;
    std::uint32_t empty_slot_count;
    std::uint32_t request_count_until_auto_submit;
};

class File;

struct RequestOptions {
    CompressionFormat compression_format;
    SourceType source_type;
    DestinationType destination_type;
    std::uint64_t reserved;  // zero
};

struct SourceFile { File *file; std::uint64_t offset; std::uint32_t size; };
struct SourceMemory { const void *data; std::uint32_t size; };
union Source { SourceFile file; SourceMemory memory; };

struct Box { std::uint32_t left, top, front, right, bottom, back; };

// Resources are as `Direct3DOnVulkan` knows them. Bytes for textures lie as in D3D12's copyable footprints: each row
// begins at a multiple of 256, each subresource at one of 512.
struct DestinationMemory { void *buffer; std::uint32_t size; };
struct DestinationBuffer { void *resource; std::uint64_t offset; std::uint32_t size; };
struct DestinationTextureRegion { void *resource; std::uint32_t subresource_index; Box region; };
struct DestinationMultipleSubresources { void *resource; std::uint32_t first_subresource; };
struct DestinationTiles { void *resource; std::uint32_t x, y, z, subresource, tile_count; };
union Destination {
    DestinationMemory memory;
    DestinationBuffer buffer;
    DestinationTextureRegion texture;
    DestinationMultipleSubresources multiple_subresources;
    DestinationTiles tiles;
};

struct Request {
    RequestOptions options;
    Source source;
    Destination destination;
    std::uint32_t uncompressed_size;  // without compression: zero or the source's
    std::uint64_t cancellation_tag;
    const char *name;  // may be null; copied
};

enum class CommandType : std::int32_t { none = -1, request = 0, status = 1, signal = 2, event = 3 };

struct FirstFailure {
    HResult hresult;
    CommandType command_type;
    // Of a request; its `name` is null, and its file is named below.
    Request request;
    char request_name[max_name];
    char file_name[260];
    // Of a status: the entry. Of a signal: the fence and its value. Of an event: the descriptor.
    std::uint32_t index;
    void *fence;
    std::uint64_t value;
    int event;
};

struct ErrorRecord {
    std::uint32_t failure_count;
    FirstFailure first_failure;  // the first in the order of enqueueing
};

// ---- What D3D12 on Vulkan knows

struct VulkanBuffer {
    std::uint64_t handle;       // VkBuffer
    std::uint64_t handle_size;  // of all of it
    std::uint64_t offset;       // where the resource begins in it
    std::uint64_t size;         // of the resource
};

struct VulkanImage {
    std::uint64_t handle;  // VkImage
    penstock_image_description description;
    std::uint32_t block_width, block_height, block_bytes;  // of its format
    std::uint32_t old_layout;  // in which the subresources are when the copies run
    std::uint32_t new_layout;  // in which they are left: what the resource's COMMON state means
};

// Answers false for what it does not know. Called by whoever enqueues, on that thread.
class Direct3DOnVulkan {
public:
    virtual ~Direct3DOnVulkan() {}
    // Instance, device, queue and the queue's lock. It lives until the factory has gone.
    virtual bool Device(void *device, penstock_device_options &options) = 0;
    virtual bool Buffer(void *resource, VulkanBuffer &buffer) = 0;
    virtual bool Image(void *resource, VulkanImage &image) = 0;
    // The point of a timeline semaphore that stands for a fence's value.
    virtual bool Fence(void *fence, std::uint64_t value, penstock_point &point) = 0;
};

// ---- Files

class File {
public:
    File(penstock_file handle, const char *path) : handle_(handle), path_(path) {}
    ~File() { Close(); }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    // Requests that have been submitted go on.
    void Close() { penstock_file_close(handle_); }
    HResult GetSize(std::uint64_t &size) const { return result::from_penstock(penstock_file_size(handle_, &size)); }

private:
    friend class Queue;
    const penstock_file handle_;
    const std::string path_;  // for error records
};

// ---- Status arrays

// What came of the requests between two status entries. Penstock's own status words know of no request that was
// refused, count cancelled ones as failures, and the end of a file as none; DirectStorage has it the other way round.
struct Span {
    std::atomic<HResult> failure;

    Span() : failure(result::ok) {}
    void Note(HResult value) {
        HResult none = result::ok;
        failure.compare_exchange_strong(none, value);
    }
};

class StatusArray {
public:
    explicit StatusArray(std::uint32_t capacity) : entries_(std::make_shared<Entries>(capacity)) {}

    bool IsComplete(std::uint32_t index) const {
        return index < entries_->list.size() &&
               penstock_status_load(&entries_->list[index].word) != PENSTOCK_PENDING;
    }

    HResult GetHResult(std::uint32_t index) const {
        if (index >= entries_->list.size()) return result::index_bound;
        if (!IsComplete(index)) return result::pending;
        std::lock_guard<std::mutex> lock(entries_->mutex);
        const std::shared_ptr<Span> &span = entries_->list[index].span;
        return span ? span->failure.load() : result::ok;
    }

private:
    friend class Queue;
    struct Entry {
        penstock_status word;  // only whether the place has been reached
        std::shared_ptr<Span> span;

        Entry() : word(PENSTOCK_OK) {}
    };
    // Queues keep these until no word of theirs is written any more, whatever becomes of the array.
    struct Entries {
        std::mutex mutex;
        std::vector<Entry> list;

        explicit Entries(std::uint32_t capacity) : list(capacity) {}
        bool IsPending() const {
            return std::any_of(list.begin(), list.end(), [](const Entry &entry) {
                return penstock_status_load(&entry.word) == PENSTOCK_PENDING;
            });
        }
    };
    const std::shared_ptr<Entries> entries_;
};

// ---- Footprints of textures

inline std::uint64_t round_up(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

// How the bytes of a box lie.
struct Footprint {
    std::uint64_t row_pitch;
    std::uint64_t bytes;   // the last row has no padding
    std::uint64_t padded;  // it has

    Footprint(const VulkanImage &image, std::uint64_t width, std::uint64_t height, std::uint64_t depth) {
        const std::uint64_t row_bytes = round_up(width, image.block_width) / image.block_width * image.block_bytes;
        const std::uint64_t rows = round_up(height, image.block_height) / image.block_height * depth;
        row_pitch = round_up(row_bytes, 256);
        bytes = (rows - 1) * row_pitch + row_bytes;
        padded = rows * row_pitch;
    }
};

// ---- Queues

class Queue {
public:
    Queue(
        penstock_queue handle, const QueueDesc &desc, penstock_device device, Direct3DOnVulkan *vulkan, int error_event)
        : handle_(handle), desc_(desc), name_(desc.name ? desc.name : ""), device_(device), vulkan_(vulkan),
          error_event_(error_event), unsubmitted_(0), span_(std::make_shared<Span>()), sequence_(0),
          first_sequence_(0) {
        desc_.name = desc.name ? name_.c_str() : nullptr;
        ClearErrors();
    }

    ~Queue() {
        Close();
        close(error_event_);
    }
    Queue(const Queue &) = delete;
    Queue &operator=(const Queue &) = delete;

    // Waits while the queue is full. What is wrong with the request is told by the error record and the next status.
    void EnqueueRequest(const Request &request) {
        std::lock_guard<std::mutex> lock(enqueueing_);
        const std::uint64_t sequence = sequence_++;
        Pending *pending = nullptr;
        try {
            pending = new Pending(*this, request, span_, sequence);
            Plan plan;
            HResult problem = Translate(request, *pending, plan);
            if (problem == result::ok) {
                // Penstock's own hold: it calls `Ended` if it takes the request, and never if it does not.
                pending->holds++;
                problem = FromHandleUse(penstock_enqueue(handle_, &plan.request, 1, nullptr), request);
                if (problem != result::ok) pending->holds--;
            }
            Release(pending, problem);
        } catch (const std::bad_alloc &) {
            if (pending) Release(pending, result::out_of_memory);
            else Refuse(CommandType::request, result::out_of_memory, sequence);
        }
        if (++unsubmitted_ >= desc_.capacity / 2) Submit();
    }

    // The entry tells what came of everything since the one before, once that has ended.
    void EnqueueStatus(StatusArray &array, std::uint32_t index) {
        std::lock_guard<std::mutex> lock(enqueueing_);
        FirstFailure place = FirstFailure();
        place.index = index;
        HResult problem;
        try {
            problem = PlaceStatus(array.entries_, index);
        } catch (const std::bad_alloc &) {
            problem = result::out_of_memory;
        }
        if (problem == result::ok) return Submitted();
        Refuse(CommandType::status, problem, sequence_++, place);
    }

    // The fence gets its value once everything before has ended, failed or not.
    void EnqueueSignal(void *fence, std::uint64_t value) {
        std::lock_guard<std::mutex> lock(enqueueing_);
        FirstFailure place = FirstFailure();
        place.fence = fence;
        place.value = value;
        penstock_point point;
        HResult problem = result::invalid_fence;
        if (fence && vulkan_ && device_.id != 0 && vulkan_->Fence(fence, value, point))
            problem = FromQueueUse(penstock_enqueue_signal(handle_, device_, point.semaphore, point.value));
        if (problem == result::ok) return Submitted();
        Refuse(CommandType::signal, problem, sequence_++, place);
    }

    // An eventfd stands for the event: its counter rises once everything before has ended.
    void EnqueueSetEvent(int event) {
        std::lock_guard<std::mutex> lock(enqueueing_);
        FirstFailure place = FirstFailure();
        place.event = event;
        const HResult problem = FromQueueUse(penstock_enqueue_event(handle_, event));
        if (problem == result::ok) return Submitted();
        Refuse(CommandType::event, problem, sequence_++, place);
    }

    void Submit() {
        Submitted();
        penstock_submit(handle_);
    }

    // Requests whose tag, under the mask, is the value. Those that are cancelled do not count as failed.
    void CancelRequestsWithTag(std::uint64_t mask, std::uint64_t value) {
        // Penstock ignores the value's bits outside the mask; here no tag has them.
        if ((value & ~mask) == 0) penstock_cancel(handle_, mask, value);
    }

    // Waits until what is in the queue has ended; afterwards nothing of it is written or signalled.
    void Close() { penstock_queue_close(handle_); }

    // An eventfd that can be read from when something has failed since the record was last retrieved.
    int GetErrorEvent() const { return error_event_; }

    void RetrieveErrorRecord(ErrorRecord &record) {
        std::lock_guard<std::mutex> lock(recording_);
        record = errors_;
        ClearErrors();
        std::uint64_t count;
        while (read(error_event_, &count, sizeof count) > 0) {}  // it does not block
    }

    QueueInfo Query() const {
        QueueInfo info = QueueInfo();
        info.desc = desc_;
        penstock_queue_info state = penstock_queue_info();
        state.struct_size = sizeof state;
        if (penstock_queue_query(handle_, &state) == PENSTOCK_OK) info.empty_slot_count = state.slots_free;
        const std::uint32_t half = desc_.capacity / 2, count = unsubmitted_;
        info.request_count_until_auto_submit = count < half ? half - count : 0;
        return info;
    }

private:
    HResult PlaceStatus(const std::shared_ptr<StatusArray::Entries> &entries, std::uint32_t index) {
        if (index >= entries->list.size()) return result::index_bound;
        StatusArray::Entry &entry = entries->list[index];
        if (penstock_status_load(&entry.word) == PENSTOCK_PENDING) return result::invalid_argument;
        const std::shared_ptr<Span> next = std::make_shared<Span>();
        KeepUntilReached(entries);
        {
            std::lock_guard<std::mutex> lock(entries->mutex);
            entry.span = span_;
        }
        const HResult problem = FromQueueUse(penstock_enqueue_status(handle_, &entry.word));
        if (problem == result::ok) span_ = next;
        return problem;
    }

    // A request on its way, held by whoever enqueues it, and by Penstock.
    struct Pending {
        Queue &queue;
        const std::shared_ptr<Span> span;
        const std::uint64_t sequence;
        FirstFailure what;
        std::atomic<std::uint32_t> holds;
        std::atomic<HResult> failure;

        Pending(Queue &owner, const Request &request, const std::shared_ptr<Span> &covering, std::uint64_t number)
            : queue(owner), span(covering), sequence(number), what(), holds(1), failure(result::ok) {
            what.command_type = CommandType::request;
            what.request = request;
            what.request.name = nullptr;
            if (request.name) std::snprintf(what.request_name, sizeof what.request_name, "%s", request.name);
            if (request.options.source_type == SourceType::file && request.source.file.file)
                std::snprintf(what.file_name, sizeof what.file_name, "%s", request.source.file.file->path_.c_str());
        }
    };

    // What a request becomes, and what is needed until it has been enqueued.
    struct Plan {
        penstock_request request;
        std::vector<penstock_image_part> parts;
        penstock_buffer buffer;
        penstock_image image;

        Plan() : request(), buffer(), image() {}
        // Requests that have been enqueued keep what they need.
        ~Plan() {
            if (buffer.id != 0) penstock_buffer_close(buffer);
            if (image.id != 0) penstock_image_close(image);
        }
        Plan(const Plan &) = delete;
        Plan &operator=(const Plan &) = delete;
    };

    HResult Translate(const Request &request, Pending &pending, Plan &plan) {
        penstock_request &made = plan.request;
        made.struct_size = sizeof made;
        made.operation = PENSTOCK_READ;
        made.tag = request.cancellation_tag;
        made.callback = Ended;
        made.user_data = &pending;
        made.name = pending.what.request_name;
        HResult problem = TranslateSource(request, made);
        if (problem == result::ok) problem = TranslateCompression(request, made);
        if (problem == result::ok) problem = TranslateDestination(request, plan);
        return problem;
    }

    HResult TranslateSource(const Request &request, penstock_request &made) const {
        if (request.options.reserved != 0) return result::reserved_fields;
        if (request.options.source_type != desc_.source_type) return result::invalid_source_type;
        if (desc_.source_type == SourceType::file) {
            if (!request.source.file.file) return result::invalid_file_handle;
            made.file = request.source.file.file->handle_;
            made.offset = request.source.file.offset;
            made.size = request.source.file.size;
        } else {
            if (!request.source.memory.data) return result::invalid_argument;
            made.source = request.source.memory.data;
            made.size = request.source.memory.size;
        }
        return made.size > 0 ? result::ok : result::invalid_argument;
    }

    static HResult TranslateCompression(const Request &request, penstock_request &made) {
        switch (request.options.compression_format) {
        case CompressionFormat::none:
            return request.uncompressed_size == 0 || request.uncompressed_size == made.size
                       ? result::ok : result::invalid_destination_size;
        case CompressionFormat::gdeflate: made.compression = PENSTOCK_COMPRESSION_GDEFLATE; break;
        case CompressionFormat::zstd: made.compression = PENSTOCK_COMPRESSION_ZSTD; break;
        default: return result::not_implemented;
        }
        made.uncompressed_size = request.uncompressed_size;
        return request.uncompressed_size > 0 ? result::ok : result::invalid_destination_size;
    }

    HResult TranslateDestination(const Request &request, Plan &plan) const {
        switch (request.options.destination_type) {
        case DestinationType::memory: return ToMemory(request.destination.memory, plan.request);
        case DestinationType::buffer: return ToBuffer(request.destination.buffer, plan);
        case DestinationType::texture_region: return ToRegion(request.destination.texture, plan);
        case DestinationType::multiple_subresources:
            return ToSubresources(request.destination.multiple_subresources, plan);
        case DestinationType::tiles: return result::not_implemented;
        }
        return result::invalid_destination_type;
    }

    static bool IsEncoded(const penstock_request &request) { return request.compression != PENSTOCK_COMPRESSION_NONE; }
    static std::uint64_t DecodedSize(const penstock_request &request) {
        return IsEncoded(request) ? request.uncompressed_size : request.size;
    }

    static HResult ToMemory(const DestinationMemory &destination, penstock_request &request) {
        if (!destination.buffer) return result::invalid_argument;
        if (destination.size != DecodedSize(request)) return result::invalid_destination_size;
        request.memory = destination.buffer;
        return result::ok;
    }

    HResult ToBuffer(const DestinationBuffer &destination, Plan &plan) const {
        VulkanBuffer buffer = VulkanBuffer();
        if (!destination.resource || !vulkan_ || device_.id == 0 || !vulkan_->Buffer(destination.resource, buffer))
            return result::invalid_argument;
        if (destination.size != DecodedSize(plan.request)) return result::invalid_destination_size;
        // A resource may share its VkBuffer with others, which Penstock does not know of.
        if (destination.offset > buffer.size || destination.size > buffer.size - destination.offset)
            return result::invalid_argument;
        const penstock_result adopted =
            penstock_buffer_adopt(device_, buffer.handle, buffer.handle_size, &plan.buffer);
        if (adopted != PENSTOCK_OK) return result::from_penstock(adopted);
        plan.request.buffer = plan.buffer;
        plan.request.buffer_offset = buffer.offset + destination.offset;
        return result::ok;
    }

    HResult FindImage(void *resource, VulkanImage &image, Plan &plan) const {
        if (!resource || !vulkan_ || device_.id == 0 || !vulkan_->Image(resource, image))
            return result::invalid_argument;
        image.description.struct_size = sizeof image.description;
        return result::from_penstock(penstock_image_adopt(device_, image.handle, &image.description, &plan.image));
    }

    static std::uint32_t AtLeastOne(std::uint32_t value) { return value > 0 ? value : 1; }
    static std::uint32_t OfMip(std::uint32_t size, std::uint32_t mip) { return AtLeastOne(AtLeastOne(size) >> mip); }

    HResult ToRegion(const DestinationTextureRegion &destination, Plan &plan) const {
        VulkanImage image = VulkanImage();
        const HResult problem = FindImage(destination.resource, image, plan);
        if (problem != result::ok) return problem;
        const penstock_image_description &shape = image.description;
        const std::uint32_t mips = AtLeastOne(shape.mip_levels);
        if (destination.subresource_index / mips >= AtLeastOne(shape.array_layers)) return result::invalid_argument;
        const std::uint32_t mip = destination.subresource_index % mips;
        const std::uint32_t width = OfMip(shape.width, mip), height = OfMip(shape.height, mip);
        // Boxes are of whole blocks, and reach over the edge of a level that ends within one.
        const Box &box = destination.region;
        if (box.left >= box.right || box.top >= box.bottom || box.front >= box.back ||
            box.right > round_up(width, image.block_width) || box.bottom > round_up(height, image.block_height) ||
            box.back > OfMip(shape.depth, mip) || box.left >= width || box.top >= height)
            return result::invalid_argument;
        penstock_image_part part = penstock_image_part();
        part.mip = mip;
        part.first_layer = destination.subresource_index / mips;
        part.x = box.left;
        part.y = box.top;
        part.z = box.front;
        part.width = std::min(box.right, width) - box.left;
        part.height = std::min(box.bottom, height) - box.top;
        part.depth = box.back - box.front;
        const Footprint footprint(image, part.width, part.height, part.depth);
        part.row_pitch = footprint.row_pitch;
        plan.parts.push_back(part);
        return Place(image, footprint.bytes, plan);
    }

    // All levels of all layers from the first one on.
    HResult ToSubresources(const DestinationMultipleSubresources &destination, Plan &plan) const {
        VulkanImage image = VulkanImage();
        const HResult problem = FindImage(destination.resource, image, plan);
        if (problem != result::ok) return problem;
        const penstock_image_description &shape = image.description;
        const std::uint32_t mips = AtLeastOne(shape.mip_levels), count = mips * AtLeastOne(shape.array_layers);
        if (destination.first_subresource >= count) return result::invalid_argument;
        std::uint64_t end = 0, padded_end = 0;
        for (std::uint32_t index = destination.first_subresource; index < count; index++) {
            penstock_image_part part = penstock_image_part();
            part.mip = index % mips;
            part.first_layer = index / mips;
            const Footprint footprint(
                image, OfMip(shape.width, part.mip), OfMip(shape.height, part.mip), OfMip(shape.depth, part.mip));
            part.row_pitch = footprint.row_pitch;
            // Penstock's parts end with a whole row, but for the last one.
            const std::uint64_t start = round_up(end, 512);
            part.gap = static_cast<std::uint32_t>(start - padded_end);
            end = start + footprint.bytes;
            padded_end = start + footprint.padded;
            plan.parts.push_back(part);
        }
        return Place(image, end, plan);
    }

    static HResult Place(const VulkanImage &image, std::uint64_t size, Plan &plan) {
        penstock_request &request = plan.request;
        // There may be padding behind the last row; what is encoded has to be decoded to its end.
        if (IsEncoded(request) ? size != request.uncompressed_size : size > request.size)
            return result::invalid_destination_size;
        if (!IsEncoded(request)) request.size = size;
        request.image = plan.image;
        request.parts = plan.parts.data();
        request.part_count = static_cast<std::uint32_t>(plan.parts.size());
        request.old_layout = image.old_layout;
        request.new_layout = image.new_layout;
        return result::ok;
    }

    // On Penstock's thread. Whatever was enqueued behind this request is told only after it has returned.
    static void Ended(const penstock_completion *completion) {
        HResult value = result::from_penstock(completion->result);
        Pending *pending = static_cast<Pending *>(completion->user_data);
        const bool is_encoded = pending->what.request.options.compression_format != CompressionFormat::none;
        if (value == result::ok && !is_encoded && completion->bytes < completion->size) value = result::end_of_file;
        Release(pending, value);
    }

    static void Release(Pending *pending, HResult value) {
        HResult none = result::ok;
        if (value != result::ok) pending->failure.compare_exchange_strong(none, value);
        if (--pending->holds > 0) return;
        const HResult failure = pending->failure;
        if (failure != result::ok && failure != result::aborted) {
            pending->what.hresult = failure;
            pending->span->Note(failure);
            pending->queue.Record(pending->what, pending->sequence);
        }
        delete pending;
    }

    // A handle that is no more is the queue's, or the file's.
    HResult FromQueueUse(penstock_result value) const {
        return value == PENSTOCK_ERROR_INVALID_HANDLE ? result::queue_closed : result::from_penstock(value);
    }
    HResult FromHandleUse(penstock_result value, const Request &request) const {
        if (value != PENSTOCK_ERROR_INVALID_HANDLE || request.options.source_type != SourceType::file)
            return FromQueueUse(value);
        penstock_queue_info state = penstock_queue_info();
        state.struct_size = sizeof state;
        const bool is_open = penstock_queue_query(handle_, &state) == PENSTOCK_OK;
        return is_open ? result::file_not_open : result::queue_closed;
    }

    void Refuse(CommandType type, HResult value, std::uint64_t sequence, FirstFailure what = FirstFailure()) {
        what.hresult = value;
        what.command_type = type;
        span_->Note(value);
        Record(what, sequence);
    }

    void Record(const FirstFailure &what, std::uint64_t sequence) {
        std::lock_guard<std::mutex> lock(recording_);
        if (errors_.failure_count++ == 0 || sequence < first_sequence_) {
            errors_.first_failure = what;
            first_sequence_ = sequence;
        }
        const std::uint64_t one = 1;
        if (write(error_event_, &one, sizeof one) < 0) return;  // its counter is full, and can be read from
    }

    void ClearErrors() {
        errors_ = ErrorRecord();
        errors_.first_failure.command_type = CommandType::none;
    }

    // Status arrays may go before their words are written.
    void KeepUntilReached(const std::shared_ptr<StatusArray::Entries> &entries) {
        kept_.erase(
            std::remove_if(kept_.begin(), kept_.end(),
                           [](const std::shared_ptr<StatusArray::Entries> &kept) { return !kept->IsPending(); }),
            kept_.end());
        if (std::find(kept_.begin(), kept_.end(), entries) == kept_.end()) kept_.push_back(entries);
    }

    void Submitted() { unsubmitted_ = 0; }

    const penstock_queue handle_;
    QueueDesc desc_;
    const std::string name_;
    const penstock_device device_;
    Direct3DOnVulkan *const vulkan_;
    const int error_event_;
    std::atomic<std::uint32_t> unsubmitted_;
    // Held while enqueueing, and so while waiting for room: nothing that makes room takes it.
    std::mutex enqueueing_;
    std::shared_ptr<Span> span_;
    std::uint64_t sequence_;
    std::vector<std::shared_ptr<StatusArray::Entries>> kept_;
    std::mutex recording_;
    ErrorRecord errors_;
    std::uint64_t first_sequence_;
};

// ---- The factory

// Owns the runtime: one thread, and the staging memory. Files and queues should go before it; those that do not are
// closed.
class Factory {
public:
    // `options` are for the log, the driver, and hooks; the factory itself sets the staging memory.
    explicit Factory(Direct3DOnVulkan *vulkan, const penstock_runtime_options *options = nullptr)
        : vulkan_(vulkan), options_(options ? *options : penstock_runtime_options()), runtime_(),
          staging_bytes_(default_staging_buffer_size) {
        options_.struct_size = sizeof options_;
        // Windows code never runs in a callback here, so there is nothing to wait for a thread of Wine's.
        options_.delivery = PENSTOCK_DELIVER_ON_RUNTIME_THREAD;
    }

    ~Factory() {
        CloseRuntime();
        for (const std::pair<void *const, penstock_device> &device : devices_) penstock_device_close(device.second);
    }
    Factory(const Factory &) = delete;
    Factory &operator=(const Factory &) = delete;

    // A path of the Unix side: what Wine makes of a DOS path.
    HResult OpenFile(const char *path, std::unique_ptr<File> &file) {
        if (!path) return result::invalid_argument;
        std::lock_guard<std::mutex> lock(mutex_);
        penstock_file handle;
        penstock_result opened = Start();
        if (opened == PENSTOCK_OK)
            opened = penstock_file_open(runtime_, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &handle);
        return opened == PENSTOCK_OK ? Own(file, handle, path) : result::from_penstock(opened);
    }

    // The descriptor of a file that Wine has opened; it stays the caller's.
    HResult AdoptFile(int descriptor, std::unique_ptr<File> &file) {
        std::lock_guard<std::mutex> lock(mutex_);
        penstock_file handle;
        penstock_result adopted = Start();
        if (adopted == PENSTOCK_OK)
            adopted = penstock_file_adopt(runtime_, descriptor, 0, PENSTOCK_CACHING_AUTOMATIC, &handle);
        return adopted == PENSTOCK_OK ? Own(file, handle, "") : result::from_penstock(adopted);
    }

    HResult CreateQueue(const QueueDesc &desc, std::unique_ptr<Queue> &queue) {
        if (desc.capacity < min_queue_capacity || desc.capacity > max_queue_capacity)
            return result::invalid_queue_capacity;
        penstock_queue_options options = penstock_queue_options();
        options.struct_size = sizeof options;
        options.capacity = desc.capacity - 1;
        options.when_full = PENSTOCK_WHEN_FULL_BLOCK;
        options.name = desc.name;
        switch (desc.priority) {
        case Priority::low: options.priority = PENSTOCK_PRIORITY_BACKGROUND; break;
        case Priority::normal: options.priority = PENSTOCK_PRIORITY_NORMAL; break;
        case Priority::high: options.priority = PENSTOCK_PRIORITY_HIGH; break;
        case Priority::realtime: options.priority = PENSTOCK_PRIORITY_URGENT; break;
        default: return result::invalid_queue_priority;
        }
        switch (desc.source_type) {
        case SourceType::file: options.source_kind = PENSTOCK_SOURCE_FILE; break;
        case SourceType::memory:
            if (desc.priority != Priority::realtime) return result::invalid_memory_queue_priority;
            options.source_kind = PENSTOCK_SOURCE_MEMORY;
            break;
        default: return result::invalid_source_type;
        }
        std::lock_guard<std::mutex> lock(mutex_);
        try {
            penstock_device device = penstock_device();
            const HResult problem = desc.device ? FindDevice(desc.device, device) : result::ok;
            return problem == result::ok ? MakeQueue(desc, options, device, queue) : problem;
        } catch (const std::bad_alloc &) {
            return result::out_of_memory;
        }
    }

    HResult CreateStatusArray(std::uint32_t capacity, std::unique_ptr<StatusArray> &array) const {
        if (capacity == 0) return result::invalid_argument;
        try {
            array.reset(new StatusArray(capacity));
            return result::ok;
        } catch (const std::bad_alloc &) {
            return result::out_of_memory;
        }
    }

    // What the staging memory of each device may be, while there is neither a queue nor a file. Larger requests are no
    // error, they go through it in pieces. Zero gives back what there is; there is a little again with the next queue.
    HResult SetStagingBufferSize(std::uint32_t size) {
        std::lock_guard<std::mutex> lock(mutex_);
        penstock_runtime_info info = penstock_runtime_info();
        info.struct_size = sizeof info;
        const bool is_running = runtime_.id != 0 && penstock_runtime_query(runtime_, &info) == PENSTOCK_OK;
        if (is_running && info.queues + info.files > 0) return result::staging_buffer_locked;
        CloseRuntime();
        staging_bytes_ = std::max(size, 4u << 20);
        return result::ok;
    }

private:
    penstock_result Start() {
        if (runtime_.id != 0) return PENSTOCK_OK;
        options_.staging_bytes = staging_bytes_;
        return penstock_runtime_create(&options_, &runtime_);
    }

    void CloseRuntime() {
        if (runtime_.id != 0) penstock_runtime_close(runtime_);
        runtime_.id = 0;
    }

    static HResult Own(std::unique_ptr<File> &file, penstock_file handle, const char *path) {
        try {
            file.reset(new File(handle, path));
            return result::ok;
        } catch (const std::bad_alloc &) {
            penstock_file_close(handle);
            return result::out_of_memory;
        }
    }

    HResult FindDevice(void *device, penstock_device &found) {
        const std::map<void *, penstock_device>::const_iterator known = devices_.find(device);
        if (known != devices_.end()) {
            found = known->second;
            return result::ok;
        }
        penstock_device_options options = penstock_device_options();
        if (!vulkan_ || !vulkan_->Device(device, options)) return result::invalid_argument;
        options.struct_size = sizeof options;
        const penstock_result adopted = penstock_device_adopt(&options, &found);
        if (adopted == PENSTOCK_OK) devices_[device] = found;
        return result::from_penstock(adopted);
    }

    HResult MakeQueue(
        const QueueDesc &desc, const penstock_queue_options &options, penstock_device device,
        std::unique_ptr<Queue> &queue) {
        const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (event < 0) return result::too_many_files;
        penstock_queue handle = penstock_queue();
        penstock_result made = Start();
        if (made == PENSTOCK_OK) made = penstock_queue_create(runtime_, &options, &handle);
        if (made == PENSTOCK_OK) {
            try {
                queue.reset(new Queue(handle, desc, device, vulkan_, event));
                return result::ok;
            } catch (const std::bad_alloc &) {
                penstock_queue_close(handle);
                made = PENSTOCK_ERROR_OUT_OF_MEMORY;
            }
        }
        close(event);
        return result::from_penstock(made);
    }

    Direct3DOnVulkan *const vulkan_;
    std::mutex mutex_;
    penstock_runtime_options options_;
    penstock_runtime runtime_;
    std::uint32_t staging_bytes_;
    std::map<void *, penstock_device> devices_;
};

}  // namespace directstorage

#endif
