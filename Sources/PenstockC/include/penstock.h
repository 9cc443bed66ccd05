// Penstock from C and C++: files to memory at the speed of the machine. C11, C++11.
//
//     penstock_runtime runtime;
//     penstock_runtime_create(NULL, &runtime);
//     penstock_queue queue;
//     penstock_queue_create(runtime, NULL, &queue);
//     penstock_file file;
//     penstock_file_open(runtime, "level1.bin", PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &file);
//
//     penstock_status status;
//     penstock_request request = {.struct_size = sizeof request, .operation = PENSTOCK_READ, .file = file,
//                                 .size = sizeof memory, .memory = memory, .status = &status};
//     penstock_enqueue(queue, &request, 1, NULL);
//     penstock_submit(queue);
//     ...
//     if (penstock_status_load(&status) == PENSTOCK_OK) use(memory);
//
// Units: sizes and offsets are bytes, times are nanoseconds.
//
// Threads: every function may be called from any thread at any time, and from callbacks, except where it says
// otherwise. No function but those that say so waits for a disk, a device or another thread. A runtime has one thread
// of its own (and more where there is no io_uring), and calls the host's code on that one only, or, if asked to, on
// none: see `penstock_dispatch`.
//
// Ownership: nothing given to a function is kept after it returns, except what a request names: its memory, its status
// word and its name must stay as they are until the request has ended. Structs are read, never written, unless they are
// results.
//
// Handles are numbers, not pointers: one that has been closed, or never was, gives PENSTOCK_ERROR_INVALID_HANDLE. Zero
// is no handle.
//
// Structs begin with their size, `sizeof` it, and may grow at their end in later versions: what is missing counts as
// zero, and zero means the default everywhere. The small ones that do not (handles, points, parts of images) stay as
// they are.
//
// Errors: a function that refuses returns a negative result and has done nothing. A request that was accepted ends
// exactly once, with its bytes or one error. `penstock_result_text` says what each means.
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The version of this header. `penstock_version` returns that of the library: one with the same major number, and a
// minor number that is no less, has everything that is declared here.
#define PENSTOCK_MAKE_VERSION(major, minor, patch) \
    (((uint32_t)(major) << 22) | ((uint32_t)(minor) << 12) | (uint32_t)(patch))
#define PENSTOCK_VERSION PENSTOCK_MAKE_VERSION(0, 1, 0)

uint32_t penstock_version(void);

// ---- Results

// What became of a call or a request. The numbers stay as they are; new ones may come.
typedef int32_t penstock_result;
enum {
    PENSTOCK_OK = 0,
    PENSTOCK_PENDING = 1,      // of a status word: not ended yet
    PENSTOCK_WOULD_BLOCK = 2,  // the queue is full; nothing was enqueued beyond what `accepted` says
    PENSTOCK_TIMEOUT = 3,      // the time has passed

    PENSTOCK_ERROR_OTHER = -1,
    // How the interface was used.
    PENSTOCK_ERROR_INVALID_ARGUMENT = -2,
    PENSTOCK_ERROR_INVALID_HANDLE = -3,
    PENSTOCK_ERROR_STRUCT_SIZE = -4,
    PENSTOCK_ERROR_WRONG_THREAD = -5,
    PENSTOCK_ERROR_INVALID_RANGE = -6,
    PENSTOCK_ERROR_QUEUE_CLOSED = -7,
    PENSTOCK_ERROR_FILE_CLOSED = -8,
    PENSTOCK_ERROR_FOREIGN_FILE = -9,
    PENSTOCK_ERROR_NOT_SUPPORTED = -10,
    PENSTOCK_ERROR_UNAVAILABLE = -11,
    // How a request was ended.
    PENSTOCK_ERROR_CANCELLED = -20,
    PENSTOCK_ERROR_DEADLINE_EXCEEDED = -21,
    // What the system said.
    PENSTOCK_ERROR_NOT_FOUND = -30,
    PENSTOCK_ERROR_PERMISSION_DENIED = -31,
    PENSTOCK_ERROR_ALREADY_EXISTS = -32,
    PENSTOCK_ERROR_IS_DIRECTORY = -33,
    PENSTOCK_ERROR_UNSUPPORTED_FILE_TYPE = -34,
    PENSTOCK_ERROR_BAD_DESCRIPTOR = -35,
    PENSTOCK_ERROR_BAD_ADDRESS = -36,
    PENSTOCK_ERROR_TOO_MANY_OPEN_FILES = -37,
    PENSTOCK_ERROR_NO_SPACE = -38,
    PENSTOCK_ERROR_FILE_TOO_LARGE = -39,
    PENSTOCK_ERROR_READ_ONLY = -40,
    PENSTOCK_ERROR_OUT_OF_MEMORY = -41,
    PENSTOCK_ERROR_MEMORY_LIMIT = -42,
    PENSTOCK_ERROR_BUSY = -43,
    PENSTOCK_ERROR_IO = -44,
    // What the data or the device said.
    PENSTOCK_ERROR_DEVICE_LOST = -60,
    PENSTOCK_ERROR_DEVICE_MEMORY = -61,
    PENSTOCK_ERROR_DEVICE = -62,
    PENSTOCK_ERROR_MALFORMED_DATA = -70,
    PENSTOCK_ERROR_CHECKSUM_MISMATCH = -71,
};

// The name of a result without its prefix, "DEVICE_LOST", and a sentence that says what happened and what to do about
// it. Never NULL, whatever the number; the strings are there for ever.
const char *penstock_result_name(penstock_result result);
const char *penstock_result_text(penstock_result result);

// ---- Runtimes

// A thread, its driver (io_uring or a pool of threads), its limits, and the files and queues that use them.
typedef struct penstock_runtime {
    uint64_t id;
} penstock_runtime;

enum {
    PENSTOCK_DRIVER_AUTOMATIC = 0,  // io_uring where it works, else threads
    PENSTOCK_DRIVER_IO_URING = 1,
    PENSTOCK_DRIVER_THREADS = 2,
};

enum {
    PENSTOCK_DELIVER_ON_RUNTIME_THREAD = 0,  // callbacks run on the runtime's thread, as soon as a request ends
    PENSTOCK_DELIVER_ON_DISPATCH = 1,        // callbacks run in `penstock_dispatch`, and wait for it
};

enum {
    PENSTOCK_LOG_TRACE = 0,
    PENSTOCK_LOG_DEBUG = 1,
    PENSTOCK_LOG_INFO = 2,
    PENSTOCK_LOG_NOTICE = 3,
    PENSTOCK_LOG_WARNING = 4,
    PENSTOCK_LOG_ERROR = 5,
    PENSTOCK_LOG_CRITICAL = 6,
};

typedef struct penstock_runtime_options {
    uint32_t struct_size;
    uint32_t driver;    // PENSTOCK_DRIVER_…
    uint32_t threads;   // for PENSTOCK_DRIVER_THREADS: how many; 0: one for each processor, from 2 to 8
    uint32_t delivery;  // PENSTOCK_DELIVER_…
    const char *name;   // of the thread (the first 15 bytes) and in logs; NULL: "penstock"
    uint64_t bytes_in_flight;  // asked of the disk at a time, at most; 0: 4 MiB
    uint64_t staging_bytes;    // memory for bytes on their way to a device, for each; at least 4 MiB; 0: 8 MiB
    // What there is to tell, a line at a time, on any thread of the runtime's or the host's; it must not call the
    // runtime.
    void (*log)(void *user_data, int32_t level, const char *message);
    void *log_user_data;
    // Called on each of the runtime's threads that calls the host's code, before it does so, and after the last time:
    // its own, and those that decode.
    void (*thread_start)(void *user_data);
    void (*thread_stop)(void *user_data);
    void *thread_user_data;
    // Where the memory for bytes on their way comes from, unless Vulkan must allocate it: blocks of some MiB, aligned
    // to `alignment`, a power of two; NULL: there is none, and what cannot go on without it ends with
    // PENSTOCK_ERROR_OUT_OF_MEMORY. All of them have come back when the runtime has been closed. Both or neither, on
    // any thread; they must not call Penstock. NULL: anonymous mappings.
    void *(*allocate)(void *user_data, size_t size, size_t alignment);
    void (*deallocate)(void *user_data, void *memory, size_t size);
    void *allocator_user_data;
} penstock_runtime_options;

typedef struct penstock_runtime_info {
    uint32_t struct_size;
    uint32_t driver;  // the one in use: PENSTOCK_DRIVER_IO_URING or PENSTOCK_DRIVER_THREADS
    uint32_t queues;  // open ones
    uint32_t files;   // open ones
} penstock_runtime_info;

// Starts a runtime, which takes a fraction of a millisecond. `options` may be NULL.
penstock_result penstock_runtime_create(const penstock_runtime_options *options, penstock_runtime *runtime);

// Closes all of a runtime's queues and files, then ends its thread. Waits for what is in flight. Not from a callback:
// PENSTOCK_ERROR_WRONG_THREAD.
penstock_result penstock_runtime_close(penstock_runtime runtime);

penstock_result penstock_runtime_query(penstock_runtime runtime, penstock_runtime_info *info);

// Writes on which rung each feature stands on this machine, and why, a line for each, cut to `capacity` bytes with a
// zero at the end. `length`, if not NULL, gets how long the whole text is without that zero; `text` may be NULL if
// `capacity` is 0.
penstock_result penstock_runtime_describe(penstock_runtime runtime, char *text, size_t capacity, size_t *length);

// One line of that, in parts. The strings are there until the runtime is closed.
typedef struct penstock_feature {
    uint32_t struct_size;
    uint32_t is_best;    // 1: it stands on the best rung
    const char *name;    // such as "driver"
    const char *rung;    // what is used
    const char *reason;  // why not the best one, or a detail worth knowing; NULL: there is nothing to say
    const char *advice;  // what to do about it; NULL: nothing
} penstock_feature;

// The feature with a number, from 0 on, in an order that does not change; PENSTOCK_ERROR_INVALID_RANGE behind the last.
penstock_result penstock_runtime_feature(penstock_runtime runtime, uint32_t number, penstock_feature *feature);

// With PENSTOCK_DELIVER_ON_DISPATCH: runs the callbacks of requests that have ended, oldest first, on the calling
// thread: `most` of them at most (0: all that there are at its start), waiting up to `timeout` ns for the first
// (UINT64_MAX: as long as it takes). `delivered`, if not NULL, gets how many. One thread at a time: while another
// dispatches, and in a callback, it is none. A request keeps its slot in its queue until then, so a thread that
// dispatches should use queues that do not block it.
penstock_result penstock_dispatch(penstock_runtime runtime, uint32_t most, uint64_t timeout, uint32_t *delivered);

// ---- Files

typedef struct penstock_file {
    uint64_t id;
} penstock_file;

enum {
    PENSTOCK_ACCESS_READ = 1,
    PENSTOCK_ACCESS_WRITE = 2,
    PENSTOCK_ACCESS_CREATE = 4,     // if there is none, as the umask allows
    PENSTOCK_ACCESS_EXCLUSIVE = 8,  // with CREATE: fail if there is one
    PENSTOCK_ACCESS_TRUNCATE = 16,
};

enum {
    PENSTOCK_CACHING_AUTOMATIC = 0,  // through the page cache; around it for large reads of what is not in it
    PENSTOCK_CACHING_BUFFERED = 1,
    PENSTOCK_CACHING_DIRECT = 2,    // around it; a read that meets the end of the file may change the memory behind its bytes
    PENSTOCK_CACHING_UNCACHED = 3,  // through it, leaving nothing behind
};

enum {
    PENSTOCK_ADOPT_AND_CLOSE = 1,  // the descriptor is closed at once; else it stays the caller's, who may close it
};

// Opens a regular file or a block device. Waits for the disk where `open` would.
penstock_result penstock_file_open(
    penstock_runtime runtime, const char *path, uint32_t access, uint32_t caching, penstock_file *file);

// Makes a file of an open descriptor, for what that is open for; it gets one of its own. The descriptor's position,
// O_APPEND and O_DIRECT are not used.
penstock_result penstock_file_adopt(
    penstock_runtime runtime, int descriptor, uint32_t flags, uint32_t caching, penstock_file *file);

// The file's size now.
penstock_result penstock_file_size(penstock_file file, uint64_t *size);

// Closes a file. Returns at once: its requests that have been submitted end first. Those that have only been enqueued
// end with PENSTOCK_ERROR_FILE_CLOSED, or as if they had been submitted.
penstock_result penstock_file_close(penstock_file file);

// ---- Queues

// Requests of one priority, with a limit on how many, and an order for what is signalled. Requests themselves run side
// by side and end in any order.
typedef struct penstock_queue {
    uint64_t id;
} penstock_queue;

enum {
    PENSTOCK_PRIORITY_NORMAL = 0,
    PENSTOCK_PRIORITY_BACKGROUND = 1,
    PENSTOCK_PRIORITY_HIGH = 2,
    PENSTOCK_PRIORITY_URGENT = 3,  // a part of the bytes in flight is kept free for these
};

enum {
    PENSTOCK_WHEN_FULL_BLOCK = 0,   // enqueueing waits for a slot; in callbacks it refuses instead
    PENSTOCK_WHEN_FULL_REFUSE = 1,  // it returns PENSTOCK_WOULD_BLOCK
    PENSTOCK_WHEN_FULL_GROW = 2,    // there are more slots, up to `capacity_limit`; then it refuses
};

enum {
    PENSTOCK_SOURCE_ANY = 0,
    PENSTOCK_SOURCE_FILE = 1,    // other requests are refused: PENSTOCK_ERROR_INVALID_ARGUMENT
    PENSTOCK_SOURCE_MEMORY = 2,  // those that have a `source`
};

typedef struct penstock_queue_options {
    uint32_t struct_size;
    uint32_t priority;        // PENSTOCK_PRIORITY_…
    uint32_t capacity;        // slots: what has been enqueued and not delivered or reached; 0: 1024; at most 1048576
    uint32_t when_full;       // PENSTOCK_WHEN_FULL_…
    uint32_t capacity_limit;  // for PENSTOCK_WHEN_FULL_GROW; 0: 1048576
    uint32_t source_kind;     // PENSTOCK_SOURCE_…: what its reads may come from
    const char *name;         // for people: in logs; NULL: none
} penstock_queue_options;

typedef struct penstock_queue_info {
    uint32_t struct_size;
    uint32_t slots;
    uint32_t slots_free;
    uint32_t reserved;
    uint64_t bytes_pending;  // of requests enqueued and not ended
    uint64_t completed;      // requests that have ended, in whatever way
    uint64_t failed;         // those of them that have not succeeded, cancelled ones included
} penstock_queue_info;

// `options` may be NULL.
penstock_result penstock_queue_create(
    penstock_runtime runtime, const penstock_queue_options *options, penstock_queue *queue);

// Submits what has been enqueued, waits until all of it has ended and been delivered, and closes the queue: afterwards
// nothing of it is called, signalled or written again. In a callback it does not wait: the last callback is the end.
// What waits for a semaphore that nobody signals has to be cancelled first.
// With PENSTOCK_DELIVER_ON_DISPATCH it dispatches, on the calling thread.
penstock_result penstock_queue_close(penstock_queue queue);

penstock_result penstock_queue_query(penstock_queue queue, penstock_queue_info *info);

// ---- Vulkan

// A device that requests stream to and from. Handles of Vulkan's are given as they are: those that are pointers as
// `void *`, a `VkBuffer` and a `VkSemaphore` as the 64 bits that they have everywhere.
typedef struct penstock_device {
    uint64_t id;
} penstock_device;

enum {
    PENSTOCK_ENABLED_MEMORY_HOST = 1,    // VK_EXT_external_memory_host: staging memory is imported instead of allocated
    PENSTOCK_ENABLED_MEMORY_BUDGET = 2,  // VK_EXT_memory_budget
};

// The host's device, made with `timelineSemaphore` and `synchronization2`, and Vulkan 1.3 or `VK_KHR_copy_commands2`.
typedef struct penstock_device_options {
    uint32_t struct_size;
    uint32_t queue_family;  // of `queue`
    void *instance;         // VkInstance
    void *physical_device;  // VkPhysicalDevice
    void *device;           // VkDevice
    void *queue;            // VkQueue: for copies
    uint32_t enabled;       // PENSTOCK_ENABLED_…: what else the device was made with
    uint32_t reserved;      // zero
    // If others use the queue: called on the runtime's thread before and after each submission, and held for that
    // alone. Both or neither; they need not be recursive, and must not call Penstock.
    void (*lock)(void *user_data);
    void (*unlock)(void *user_data);
    void *lock_user_data;
    // `vkGetInstanceProcAddr`; NULL: that of the system's loader, which is opened then.
    void (*(*get_instance_proc_addr)(void *instance, const char *name))(void);
} penstock_device_options;

typedef struct penstock_device_info {
    uint32_t struct_size;
    uint32_t queue_family;
    void *instance;
    void *physical_device;
    void *device;
    void *queue;
    uint32_t is_lost;  // 1: every request to it ends with PENSTOCK_ERROR_DEVICE_LOST
    uint32_t reserved;
} penstock_device_info;

// Uses a device of the host's; a runtime uses eight of them at most. Nothing of it is ever destroyed; it must live
// until every runtime that has used it, the `penstock_device` and its buffers have been closed.
penstock_result penstock_device_adopt(const penstock_device_options *options, penstock_device *device);

// Makes a device, for tests and tools: a discrete GPU, an integrated one, or the CPU. `PENSTOCK_VK_DEVICE` names
// another.
penstock_result penstock_device_create(penstock_device *device);

penstock_result penstock_device_query(penstock_device device, penstock_device_info *info);

// Closes the handle. What has been made for it goes when the last runtime and buffer that use it have been closed.
penstock_result penstock_device_close(penstock_device device);

// A buffer of a device's.
typedef struct penstock_buffer {
    uint64_t id;
} penstock_buffer;

// Uses a `VkBuffer` of the host's, of `size` bytes, bound to memory and made with VK_BUFFER_USAGE_TRANSFER_DST_BIT for
// reads, VK_BUFFER_USAGE_TRANSFER_SRC_BIT for writes. It is never destroyed; it must live until the requests that name
// it have ended.
penstock_result penstock_buffer_adopt(penstock_device device, uint64_t handle, uint64_t size, penstock_buffer *buffer);

// Makes a buffer, with VkBufferUsageFlags beside those for copies.
penstock_result penstock_buffer_create(penstock_device device, uint64_t size, uint32_t usage, penstock_buffer *buffer);

// Closes the handle; requests in flight go on. One that was made is destroyed after the last of them.
penstock_result penstock_buffer_close(penstock_buffer buffer);

// An image of a device's.
typedef struct penstock_image {
    uint64_t id;
} penstock_image;

typedef struct penstock_image_description {
    uint32_t struct_size;
    uint32_t format;        // VkFormat
    uint32_t width;         // of the largest level, in texels; of the others as well: 0 means 1
    uint32_t height;
    uint32_t depth;
    uint32_t mip_levels;
    uint32_t array_layers;
    uint32_t dimensions;    // 1, 2 or 3; 0: 3 if the depth is more than 1, else 2
    uint32_t is_cube;       // of `penstock_image_create`: 1: VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT
    uint32_t reserved;      // zero
} penstock_image_description;

// Uses a `VkImage` of the host's, of one sample and optimal tiling, bound to memory and made with
// VK_IMAGE_USAGE_TRANSFER_DST_BIT for reads, VK_IMAGE_USAGE_TRANSFER_SRC_BIT for writes. It is never destroyed; it must
// live until the requests that name it have ended.
penstock_result penstock_image_adopt(
    penstock_device device, uint64_t handle, const penstock_image_description *description, penstock_image *image);

// Makes an image, with VkImageUsageFlags beside those for copies.
penstock_result penstock_image_create(
    penstock_device device, const penstock_image_description *description, uint32_t usage, penstock_image *image);

// How many bytes the whole image has, all levels and layers of it, rows next to each other.
penstock_result penstock_image_size(penstock_image image, uint64_t *size);

// Closes the handle; requests in flight go on. One that was made is destroyed after the last of them.
penstock_result penstock_image_close(penstock_image image);

enum {
    PENSTOCK_ORDER_MIPS = 0,            // of a whole image, level by level, the largest first, in each its layers
    PENSTOCK_ORDER_MIPS_SMALLEST = 1,   // the same, the smallest first, as in KTX2 files
    PENSTOCK_ORDER_LAYERS = 2,          // layer by layer, in each its levels, as in DDS files
};

// A box of one level and some layers of an image.
typedef struct penstock_image_part {
    uint32_t mip;
    uint32_t first_layer;
    uint32_t layer_count;  // 0: 1
    uint32_t x, y, z;
    uint32_t width, height, depth;  // 0: to the end of the level
    uint32_t gap;                   // bytes in front of the part that are no part's; they count in the size
    uint64_t row_pitch;             // from row to row of the bytes; 0: they lie next to each other
} penstock_image_part;

// ---- Requests

// One word of the host's, for any thread to poll: PENSTOCK_PENDING from the moment the request is enqueued, then its
// result. What the request has moved can be seen by whoever has seen the result with `penstock_status_load`, or with an
// atomic load of its own that acquires. The callback comes after it.
typedef int32_t penstock_status;
penstock_result penstock_status_load(const penstock_status *status);

enum {
    PENSTOCK_READ = 0,
    PENSTOCK_WRITE = 1,
};

// How a request has ended.
typedef struct penstock_completion {
    uint32_t struct_size;
    penstock_result result;
    uint32_t operation;     // PENSTOCK_READ or PENSTOCK_WRITE
    int32_t os_error;       // the errno, if it was the kernel that refused; else 0
    int32_t device_result;  // the VkResult, if it was Vulkan; else 0
    uint32_t reserved;
    uint64_t bytes;         // moved: fewer than asked for only at the end of the file; 0 after an error
    uint64_t offset;        // what the request asked for
    uint64_t size;
    uint64_t tag;
    void *user_data;
    const char *name;
} penstock_completion;

enum {
    PENSTOCK_COMPRESSION_NONE = 0,
    PENSTOCK_COMPRESSION_GDEFLATE = 1,  // a tile stream, as DirectStorage has it
    PENSTOCK_COMPRESSION_ZSTD = 2,      // one frame
    PENSTOCK_COMPRESSION_LZ4 = 3,       // one block
    PENSTOCK_COMPRESSION_DEFLATE = 4,   // bare
    PENSTOCK_COMPRESSION_ZLIB = 5,
    PENSTOCK_COMPRESSION_GZIP = 6,
    PENSTOCK_COMPRESSION_CUSTOM = 7,  // the host's own
};

// A decoder of the host's: all of `source` into all of `destination`. Returns 0, or anything else if the bytes are not
// what they should be: the request then ends with PENSTOCK_ERROR_MALFORMED_DATA. Called on threads of the runtime's
// that are there for decoding, several at a time, each set up with `thread_start` first. It must not call Penstock.
typedef int32_t (*penstock_decoder)(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size);

// Valid during the call. It may do anything but wait: enqueue, cancel, close the queue that it runs on. Like all of the
// host's code that is called from here it must return: no exception may leave it, nor `longjmp`.
typedef void (*penstock_callback)(const penstock_completion *completion);

// A value of a timeline semaphore of the host's, a `VkSemaphore`; zero: none. Values must rise.
typedef struct penstock_point {
    uint64_t semaphore;
    uint64_t value;
} penstock_point;

typedef struct penstock_request {
    uint32_t struct_size;
    uint32_t operation;  // PENSTOCK_READ or PENSTOCK_WRITE
    penstock_file file;
    uint64_t offset;     // in the file
    uint64_t size;       // of the bytes in the file; at least 1
    void *memory;        // the host's: a read fills it, a write only reads it
    uint64_t tag;        // for `penstock_cancel`
    uint64_t timeout;    // from the submission; then it ends with PENSTOCK_ERROR_DEADLINE_EXCEEDED; 0: none
    penstock_callback callback;  // NULL: none
    void *user_data;
    penstock_status *status;  // NULL: none
    const char *name;         // for people; comes back with the completion and in the error record; NULL: none
    penstock_buffer buffer;   // the bytes go to or come from this one; `memory` is NULL then
    uint64_t buffer_offset;
    // Of reads: how the `size` bytes of the file are encoded, and how many bytes they decode to. Anything but GDeflate
    // is decoded in one piece: if it comes from a disk or goes to a device, of at most 16 MiB, encoded and decoded;
    // others end with PENSTOCK_ERROR_MEMORY_LIMIT. Such a request starts at once, and allocates.
    uint32_t compression;  // PENSTOCK_COMPRESSION_…
    uint32_t reserved;     // zero
    uint64_t uncompressed_size;
    penstock_decoder decoder;  // for PENSTOCK_COMPRESSION_CUSTOM
    void *decoder_user_data;
    // Of reads: the bytes, encoded or not, come from here, and `file` and `offset` are zero. Starts at once, and
    // allocates.
    const void *source;
    // Of requests to and from buffers and images: on the GPU. The copies wait until the first has reached its value,
    // and have the second reach its own when they are done: not after a failure. Such a request allocates, and what is
    // encoded is decoded by the CPU.
    penstock_point wait;
    penstock_point signal;
    // The bytes go to or come from this image; `memory` is NULL and `buffer` zero then, and `size`, or what is decoded,
    // the size of all the parts, one after the other. Such a request allocates.
    penstock_image image;
    const penstock_image_part *parts;  // not kept; NULL: the whole image
    uint32_t part_count;
    uint32_t order;       // of the whole image: PENSTOCK_ORDER_…
    // The VkImageLayout in which the parts are, and that in which they are left. From VK_IMAGE_LAYOUT_UNDEFINED (0) a
    // read need not keep the rest of the levels; a write has nothing to write, and is refused. Requests of one queue
    // that are in flight together may share levels and layers if they go in the same direction and leave them in their
    // layout.
    uint32_t old_layout;
    uint32_t new_layout;
} penstock_request;

// Enqueues requests, an array of structs that all have the first one's size. Does not wait, allocate, or enter the
// kernel, unless the queue is full and is to block then. They start with the next `penstock_submit`, or sooner. A
// runtime's first request to a device sets up what all others to it need, which takes milliseconds: have one made while
// the game loads.
//
// Stops at the first one that cannot be enqueued and returns why: that one and those behind it have not been enqueued
// and are never heard of again. `accepted`, if not NULL, gets how many have been.
penstock_result penstock_enqueue(
    penstock_queue queue, const penstock_request *requests, size_t count, size_t *accepted);

// Starts what has been enqueued.
penstock_result penstock_submit(penstock_queue queue);

// The next four mark a place in the queue, and submit what has been enqueued before it. With
// PENSTOCK_DELIVER_ON_RUNTIME_THREAD the callbacks of that have returned when the place is reached. All but
// `penstock_wait` take a slot until then, and do as `penstock_enqueue` does if there is none.

// Sets a status word, once everything enqueued before has ended, to the first failure since the status before, or to
// PENSTOCK_OK. PENSTOCK_PENDING until then.
penstock_result penstock_enqueue_status(penstock_queue queue, penstock_status *status);

// Adds one to the counter of an eventfd once everything enqueued before has ended, unless the counter is full. The
// descriptor is duplicated.
penstock_result penstock_enqueue_event(penstock_queue queue, int event);

// Has a timeline semaphore of the host's reach a value once everything enqueued before has ended; from the host, as
// `vkSignalSemaphore` does. The semaphore must live until then, and its value be less than this one.
penstock_result penstock_enqueue_signal(
    penstock_queue queue, penstock_device device, uint64_t semaphore, uint64_t value);

// Waits until everything enqueued before has ended, or `timeout` ns have passed: PENSTOCK_TIMEOUT. Not in a callback.
// With a timeout of 0 it only asks, and may do so every frame: of any number of such calls one mark is left behind. One
// whose time has passed leaves its own, a few hundred bytes, until the place is reached.
penstock_result penstock_wait(penstock_queue queue, uint64_t timeout);

// Has all requests enqueued afterwards that touch the device's memory wait, before they do so, for a timeline semaphore
// of the host's to reach a value, until the next such call for the device, which takes the place of this one; semaphore
// 0: for none. No other request waits, and these take no memory meanwhile. The semaphore must live until the requests
// that wait for it have ended. Meanwhile each of them allocates.
penstock_result penstock_enqueue_wait(penstock_queue queue, penstock_device device, uint64_t semaphore, uint64_t value);

// Asks all requests enqueued before to end whose tag, under the mask, is the value: `tag & mask == value & mask`.
// Returns at once; each ends with PENSTOCK_ERROR_CANCELLED when the kernel is done with its memory, or succeeds if it
// was too far on.
penstock_result penstock_cancel(penstock_queue queue, uint64_t mask, uint64_t value);

// What has failed in a queue.
typedef struct penstock_error_record {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t count;             // failures since the record was last taken
    penstock_completion first;  // the first of them, if there is one; its name is the request's own pointer
} penstock_error_record;

// Takes the record, and starts a new one.
penstock_result penstock_take_errors(penstock_queue queue, penstock_error_record *record);

#ifdef __cplusplus
}
#endif

#endif
